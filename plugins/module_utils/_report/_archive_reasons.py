# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reasons in what the storage holds: base backups, windows, gaps, ages and damage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._host._counts import agree, many
from ._reason import CRITICAL, INFO, UNKNOWN, WARNING, Reason
from ._shown import clock, line, moment, number, rows, since, span, table, texts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_BACKUP_NOW = (
    "Take a full base backup: run the role mapswipe.walg.walg_backup, or `walg-job backup --instance NAME` on the host."
)
_PROOF_AGE = 90 * 86400
_DAY = 86400


def newest(archive: Mapping[str, Any]) -> dict[str, Any]:
    """Return the last window of the timeline that "latest" follows; an empty one where none is."""
    trunk = table(archive.get("trunk")).get("timeline")
    found = [one for one in rows(archive.get("windows")) if one.get("timeline") == trunk and trunk is not None]
    return max(found, key=lambda one: number(table(one.get("last")).get("lsn_int")) or 0.0) if found else {}


def good(archive: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the base backups of this cluster that can be restored, the oldest first."""
    return [one for one in rows(archive.get("backups")) if one.get("restorable") is True and not one.get("foreign")]


def storage(facts: Mapping[str, Any], now: datetime) -> list[Reason]:
    """Return what the listing of the storage says."""
    archive = table(facts.get("archive"))
    problem = facts.get("archive_problem")
    if problem or not archive:
        text = line(problem) if problem else "No look at the storage is known."
        remedy = "Fix the way to the storage (credentials, network, rights), then run `walg-job check --instance NAME`."
        return [Reason("storage_unreadable", UNKNOWN, text, remedy, hides=True)]
    found = _old(facts, now)
    usable = good(archive)
    if not usable:
        listed = len(rows(archive.get("backups")))
        text = _none_of(listed) if listed else "The storage holds no base backup."
        return [*found, Reason("no_backup", CRITICAL, text, _BACKUP_NOW, denies=True)]
    return [*found, *_reach(archive), *_ages(facts, archive, now), *_oddities(facts, archive)]


def _none_of(listed: int) -> str:
    return (
        "The only base backup can't be restored." if listed == 1 else f"None of {listed} base backups can be restored."
    )


def _old(facts: Mapping[str, Any], now: datetime) -> list[Reason]:
    """Return whether the storage was asked too long ago, though other facts are fresh."""
    age, limit = since(facts.get("archive_time"), now), number(table(facts.get("limits")).get("check"))
    if age is not None and limit is not None and 0 <= age <= 3 * limit:
        return []
    text = (
        f"The storage was last read {span(age)} ago." if age is not None else "When the storage was read is not known."
    )
    return [Reason("archive_old", UNKNOWN, text, "Run `walg-job check --instance NAME`, and see its log.", hides=True)]


def _reach(archive: Mapping[str, Any]) -> list[Reason]:
    """Return whether the newest window reaches the archive's end."""
    trunk = table(archive.get("trunk"))
    if trunk.get("timeline") is None:
        names = ", ".join(texts(trunk.get("candidates")))
        text = f"Which timeline is the cluster's own is ambiguous (candidates: {line(names)}): {line(trunk.get('reason') or '')}"
        remedy = "Name one with walg_restore_timeline in a restore; see walg_backup_info for what each holds."
        return [Reason("trunk_unknown", UNKNOWN, text, remedy, hides=True)]
    window = newest(archive)
    if not window:
        text = f"No base backup leads into timeline {trunk['timeline']}, which the cluster follows."
        return [Reason("no_backup", CRITICAL, text, _BACKUP_NOW, denies=True)]
    if window.get("missing"):
        last = clock(table(window.get("last")).get("time"))
        text = f"WAL is missing after the newest base backup: {line(window['missing'])}. Recovery ends there ({last})."
        return [Reason("gap", CRITICAL, text, _BACKUP_NOW, denies=True)]
    return []


def _ages(facts: Mapping[str, Any], archive: Mapping[str, Any], now: datetime) -> list[Reason]:
    found = []
    limit = number(table(facts.get("limits")).get("backup_age"))
    ages = [age for age in (since(one.get("finish_time"), now) for one in good(archive)) if age is not None]
    if limit and ages and min(ages) > limit:
        text = f"The newest base backup is {span(min(ages))} old; the limit is {span(limit)}."
        found.append(Reason("backup_old", WARNING, text, "See the last backup run's log; then " + _lower(_BACKUP_NOW)))
    if ages and min(ages) < -3600:
        text = f"The newest base backup ended {span(min(ages))} in the future: a clock is wrong."
        found.append(Reason("clock", WARNING, text, "Compare the clocks of the hosts that take base backups."))
    return found


def _oddities(facts: Mapping[str, Any], archive: Mapping[str, Any]) -> list[Reason]:
    found = []
    if facts.get("owner_trouble"):
        remedy = "Give one of them a prefix of its own (walg_storage). Base backups and retention of this host wait."
        found.append(Reason("owner_foreign", CRITICAL, line(facts["owner_trouble"]), remedy, denies=True))
    if archive.get("owner_problem"):
        text = f"Whose the archive is can't be read: {line(archive['owner_problem'])}"
        found.append(Reason("owner_unreadable", WARNING, text, "See docs/storages.md on the owner's marker."))
    foreign = texts(archive.get("foreign"))
    if foreign:
        text = f"The storage also holds base backups of other clusters ({line(', '.join(foreign))})."
        found.append(Reason("foreign", WARNING, text, "Give each cluster a prefix of its own."))
    bad = [one for one in rows(archive.get("backups")) if one.get("restorable") is False and not one.get("foreign")]
    if bad:
        text = f"{many(len(bad), 'base backup')} can't be restored: {line(bad[-1].get('name'))}: {line(bad[-1].get('reason'))}"
        found.append(
            Reason(
                "backup_broken", WARNING, text, "Retention removes them; take a full one if the newest is among them."
            )
        )
    trunk = table(archive.get("trunk")).get("timeline")
    gaps = [
        gap for one in rows(archive.get("timelines")) if one.get("timeline") == trunk for gap in rows(one.get("gaps"))
    ]
    if gaps and not newest(archive).get("missing"):
        missing = sum(int(number(gap.get("segments")) or 0) for gap in gaps)
        holes = f"{many(len(gaps), 'hole')} ({many(missing, 'segment')})"
        text = f"The timeline has {holes} before the newest window: no moment in them can be restored."
        found.append(Reason("old_gap", INFO, text))
    notes = table(facts.get("notes"))
    if notes.get("problem"):
        text = f"The notes on base backups can't be read, so corrupt pages and given-up WAL may be untold: {line(notes['problem'])}"
        found.append(Reason("notes_unreadable", WARNING, text, "Fix the way to the storage, then `walg-job check`."))
    corrupt = {name: note for name, note in table(notes.get("backups")).items() if table(note).get("corrupt_blocks")}
    if corrupt:
        last = good(archive)[-1].get("name") in corrupt  # an old one will expire, and is no alarm until then
        text = f"{agree(len(corrupt), 'base backup', 'holds', 'hold')} pages with wrong checksums: {line(sorted(corrupt)[-1])}."
        remedy = "The cluster itself is damaged: see pg_amcheck, and restore a base backup without them beside it to compare."
        found.append(Reason("corrupt_pages", CRITICAL if last else INFO, text, remedy))
    return found


def soundness(facts: Mapping[str, Any], now: datetime) -> list[Reason]:
    """Return what the re-read of the storage found, and what was proved."""
    found: list[Reason] = []
    verified = table(facts.get("verification"))
    last, days = table(verified.get("last")), number(table(facts.get("limits")).get("verify_days"))
    damaged = rows(last.get("damaged"))
    if damaged:
        found.append(_damage(table(facts.get("archive")), verified, damaged))
    elif last.get("sound") is False:
        found.append(Reason("not_sound", WARNING, line(last.get("text") or ""), "See `walg_verify`."))
    elif last and last.get("sound") is None:
        text = f"Whether the stored objects are sound is not known: {line(last.get('text') or '')}"
        found.append(
            Reason("verification_unknown", UNKNOWN, text, "Run `walg-job verify --instance NAME`, and see its log.")
        )
    if days:
        found += _pace(verified, last, days, now)
    return [*found, _proof(facts, now)]


def _damage(archive: Mapping[str, Any], verified: Mapping[str, Any], damaged: list[dict[str, Any]]) -> Reason:
    """Return the damage, and whether it takes the way to the present; a full base backup that was taken since opens one."""
    first, last = damaged[0], table(verified.get("last"))
    count = agree(len(damaged), "stored object", "is", "are")
    text = f"{count} damaged. {line(first.get('object'))}: {line(first.get('what'))}; {line(first.get('costs'))}."
    names = {name for one in damaged for name in texts(one.get("backups"))}
    chain = table(last.get("chain"))
    left = chain.get("left")
    gone = bool(good(archive)) and all(one.get("name") in names for one in good(archive))
    cut = isinstance(left, list) and not any(one.get("missing") is None for one in rows(left))
    found = moment(verified.get("time"))
    since_then = [one for one in good(archive) if not one.get("delta") and one.get("name") not in names]
    times = [moment(one.get("start_time")) for one in since_then]
    healed = found is not None and any(when is not None and when > found for when in times)
    denies = (gone or cut) and not healed
    return Reason("damage", CRITICAL, text, line(first.get("remedy") or _BACKUP_NOW), denies=denies)


def _pace(verified: Mapping[str, Any], last: Mapping[str, Any], days: float, now: datetime) -> list[Reason]:
    age, behind = since(verified.get("time"), now), number(table(last.get("reread")).get("behind"))
    if age is None:
        return [
            Reason("verification_never", INFO, "No stored object was read back yet.", "The job reads a share a day.")
        ]
    if age > 2.5 * _DAY or (behind or 0) > 2 * _DAY:
        late = span(behind) if behind and behind > 2 * _DAY else span(age)
        text = f"The re-read of the storage is behind by {late}; all of it is due within {many(round(days), 'day')}."
        return [Reason("verification_behind", WARNING, text, "Raise its rate (walg_backup_verify), or the days.")]
    return []


def _proof(facts: Mapping[str, Any], now: datetime) -> Reason:
    age, how = since(facts.get("proved"), now), facts.get("proved_by")
    if age is None or how not in ("restore", "verification"):
        more = f" A segment came back from it {span(age)} ago." if age is not None else ""
        text = f"No restore and no whole re-read has proved this archive.{more}"
        return Reason("never_proved", INFO, text, "Restore it beside: docs/restore.md, walg_restore_action=pause.")
    to = _proved_to(facts) if how == "restore" else ""
    text = f"Last proved by a {how} {span(age)} ago{to}."
    remedy = "Restore it beside again: docs/restore.md, walg_restore_action=pause." if age > _PROOF_AGE else ""
    return Reason("proved", INFO, text, remedy)


def _proved_to(facts: Mapping[str, Any]) -> str:
    """Return to what the restore came: the last commit that it replayed, and what was asked for."""
    last = f", to the commit of {clock(facts['proved_to'])}" if facts.get("proved_to") else ""
    return last + (f" ({line(facts['proved_target'])})" if facts.get("proved_target") else "")


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]
