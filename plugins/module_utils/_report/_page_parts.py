# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page's card of one instance: light, reasons, ages against limits, base backups and chains."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from .._host._counts import many
from . import _page_charts, _page_coverage, _verdict
from ._archive_reasons import good
from ._shown import clock, line, number, rows, since, size, span, table, texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ._reason import Reason
    from ._verdict import Verdict

WORDS = {
    "ok": "Restorable",
    "warning": "Restorable, needs attention",
    "no": "Not restorable to the present",
    "unknown": "Unknown",
}
SHORT = {"ok": "Yes", "warning": "Yes, but", "no": "No", "unknown": "Unknown"}
#: Each state has a shape of its own, so that none needs its colour.
SHAPES = (
    '<svg width="0" height="0" style="position:absolute" aria-hidden="true">'
    '<symbol id="s-ok" viewBox="0 0 24 24"><circle cx="12" cy="12" r="11"/><path class="in" d="M7 12.5l3.5 3.5L17 8.5"/></symbol>'
    '<symbol id="s-warning" viewBox="0 0 24 24"><path d="M12 1.5L23.5 22H.5z"/><path class="in" d="M12 9v6M12 18.6v.2"/></symbol>'
    '<symbol id="s-no" viewBox="0 0 24 24"><path d="M7.5 1h9L23 7.5v9L16.500 23h-9L1 16.500v-9z"/>'
    '<path class="in" d="M8 8l8 8M16 8l-8 8"/></symbol>'
    '<symbol id="s-unknown" viewBox="0 0 24 24"><path d="M12 .5L23.5 12 12 23.500.5 12z"/>'
    '<path class="in" d="M9.500 9.800a2.600 2.600 0 1 1 3.700 2.400c-.8.4-1.200.8-1.200 1.700M12 17v.2"/></symbol></svg>'
)
_SHOWN_BACKUPS = 12
_NUMBERS = ("Age", "Took", "Stored", "Restored")


@dataclass
class Shown:
    """One instance of the page."""

    facts: Mapping[str, Any]
    verdict: Verdict
    name: str
    identifier: str = ""

    @classmethod
    def of(cls, item: Mapping[str, Any], now: datetime) -> Shown:
        """Return it from an item of the page; without a verdict its facts are judged here, so that old facts are unknown."""
        facts, told = table(item.get("facts")), item.get("verdict")
        verdict = _verdict.of_dict(told) if isinstance(told, dict) else _verdict.judge(facts, now)
        return cls(facts, verdict, line(item.get("name") or facts.get("host") or "?"))

    @property
    def light(self) -> str:
        return self.verdict.light

    @property
    def title(self) -> str:
        """The host, and the instance where it has a name of its own."""
        instance = line(self.facts.get("instance") or "main")
        return self.name if instance == "main" else f"{self.name} / {instance}"

    @property
    def newest(self) -> dict[str, Any]:
        """The newest base backup that can be restored."""
        usable = good(table(self.facts.get("archive")))
        return usable[-1] if usable else {}


def shape(light: str) -> str:
    """Return the picture of a state."""
    return f'<svg class="light {light}" aria-hidden="true"><use href="#s-{light}"/></svg>'


def card(one: Shown, now: datetime, *, opened: bool) -> str:
    """Return an instance's card."""
    sections = [_reasons(one.verdict.reasons)]
    if one.facts.get("archive"):
        sections += [_page_coverage.section(one.facts, one.name, now), _ages(one, now), _backups(one.facts, now)]
        sections += [_page_charts.over_time(one.facts)]
    else:
        sections += [_page_coverage.section(one.facts, one.name, now), _ages(one, now)]
    sections += [_page_charts.history(one.facts), _details(one.facts)]
    return (
        f'<details class="card instance" id="{one.identifier}"{" open" if opened else ""}><summary class={one.light}>{shape(one.light)}'
        f"<div class=head><h2>{escape(one.title)}</h2><p><span class='word {one.light}'>{WORDS[one.light]}</span></p>"
        f"<p class=until>{_until(one.verdict, now)}</p></div></summary><div class=in>{''.join(sections)}</div></details>"
    )


def _until(verdict: Verdict, now: datetime) -> str:
    proved = f"Proved {clock(verdict.proved)}." if verdict.proved else "Not proved by a restore or a whole re-read."
    if verdict.to is None:
        return f"To when is not known. {proved}"
    reach = since(verdict.to, now)
    ago = f" ({span(reach)} ago)" if reach is not None and reach >= 0 else ""
    return f"To {'' if verdict.to_known else 'about '}{clock(verdict.to)}{ago}. {proved}"


def _reasons(reasons: Sequence[Reason]) -> str:
    told = "".join(
        f"<li class={one.level}><span class='level {one.level}'>{one.level.capitalize()}</span><div class=what>{escape(one.text)}"
        + (f"<div class=todo>{escape(one.remedy)}</div>" if one.remedy else "")
        + "</div></li>"
        for one in reasons
    )
    return f"<section><h3>Why</h3><ul class=reasons>{told}</ul></section>" if told else ""


def _ages(one: Shown, now: datetime) -> str:
    facts = one.facts
    health, limits, verified = table(facts.get("health")), table(facts.get("limits")), table(facts.get("verification"))
    last, room, waiting = table(verified.get("last")), table(health.get("wal")), table(health.get("waiting"))
    reread = table(last.get("reread"))
    told = [
        _age("Newest base backup", since(one.newest.get("finish_time"), now), limits.get("backup_age")),
        _age("Archive is behind by", number(health.get("behind")), limits.get("archive_age")),
        _age(
            "Storage last read back",
            since(verified.get("time"), now),
            2.5 * 86400 if limits.get("verify_days") else None,
        ),
    ]
    if number(reread.get("done_share")) is not None:
        told.append(
            _fact(
                "Re-read of this cycle",
                f"{number(reread['done_share']):.0%}",
                f"{many(len(rows(last.get('damaged'))), 'object')} damaged",
            )
        )
    if room:
        hours = number(room.get("hours_left"))
        lasts = f"full in {span(hours * 3600)} if none leaves" if hours is not None else "no rate is known"
        told.append(_fact("Free for pg_wal", size(room.get("free")), lasts))
    if waiting:
        oldest = (
            f"the oldest for {span(waiting.get('oldest'))}"
            if number(waiting.get("oldest")) is not None
            else "none is late"
        )
        told.append(_fact("WAL files waiting", str(waiting.get("files", "?")), oldest))
    return f"<section><h3>Ages against limits</h3><div class=facts>{''.join(told)}</div></section>"


def _age(title: str, age: float | None, limit: Any) -> str:
    most = number(limit)
    if age is None:
        return _fact(title, "unknown", f"limit {span(most)}" if most else "", "unknown", "Unknown")
    if not most:
        return _fact(title, span(age), "no limit")
    over = age > most
    share = min(100.0, max(0.0, 100 * age / most))
    meter = f'<span class=meter><i style="width:{share:.0f}%"></i></span>'
    return _fact(
        title,
        span(age),
        f"limit {span(most)}",
        "no" if over else "ok",
        "Over its limit" if over else "Within its limit",
        meter,
    )


def _fact(title: str, value: str, note: str = "", light: str = "", word: str = "", meter: str = "") -> str:
    level = f"<div class='level {light}'>{meter}{word}</div>" if word else ""
    return f"<div class=fact><span>{title}</span><b>{escape(line(value))}</b>{level}<span>{escape(line(note))}</span></div>"


def _backups(facts: Mapping[str, Any], now: datetime) -> str:
    """Return the table, the newest first, each delta below the base backup that it is based on; the older ones are folded."""
    listed = {str(one.get("name")): one for one in rows(table(facts.get("archive")).get("backups"))}
    if not listed:
        return ""
    notes = table(table(facts.get("notes")).get("backups"))
    told: list[str] = []
    for chain in reversed(_chains(facts, listed)):
        told += [_backup(one, now, table(notes.get(str(one.get("name"))))) for one in chain]
    head = (
        "<thead><tr><th>Base backup<th>Kind<th>Ended"
        + "".join(f"<th class=n>{one}" for one in _NUMBERS)
        + "<th>State</thead>"
    )
    shown, rest = told[:_SHOWN_BACKUPS], told[_SHOWN_BACKUPS:]
    more = (
        f"<details class=more><summary>{many(len(rest), 'older base backup')}</summary>"
        f"<div class=scroll><table class='stacked backups'>{head}<tbody>{''.join(rest)}</tbody></table></div></details>"
        if rest
        else ""
    )
    newest = f"<div class=scroll><table class='stacked backups'>{head}<tbody>{''.join(shown)}</tbody></table></div>"
    return f"<section><h3>Base backups and chains</h3>{newest}{more}</section>"


def _chains(facts: Mapping[str, Any], listed: Mapping[str, dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the chains, each with its full base backup first; what is in none comes by itself."""
    found: list[list[dict[str, Any]]] = []
    seen: set[str] = set()
    for chain in rows(table(facts.get("archive")).get("chains")):
        names = [chain.get("full"), *texts(chain.get("deltas"))]
        members = [listed[str(name)] for name in names if str(name) in listed and str(name) not in seen]
        seen.update(str(one.get("name")) for one in members)
        if members:
            found.append(members)
    return [*found, *([one] for name, one in listed.items() if name not in seen)]


def _backup(one: Mapping[str, Any], now: datetime, note: Mapping[str, Any]) -> str:
    delta = bool(one.get("delta"))
    begin, end = since(one.get("start_time"), now), since(one.get("finish_time"), now)
    took = span(begin - end) if begin is not None and end is not None else "?"
    state, light = _state(one, note)
    return (
        f"<tr><td class='name{' delta' if delta else ''}'>{'└&nbsp;' if delta else ''}{escape(line(one.get('name')))}"
        f"<td>{'delta' if delta else 'full'}"
        f"<td>{clock(one.get('finish_time'))}<td class=n>{span(end)}<td class=n>{took}<td class=n>{size(one.get('compressed_size'))}"
        f"<td class=n>{size(one.get('uncompressed_size'))}<td class={light}>{escape(state)}"
    )


def _state(one: Mapping[str, Any], note: Mapping[str, Any]) -> tuple[str, str]:
    if one.get("foreign"):
        return "of another cluster", "unknown"
    if one.get("restorable") is not True:
        return f"not restorable: {line(one.get('reason') or 'unknown')}", "no"
    if note.get("corrupt_blocks"):
        return "restorable, has corrupt pages", "warning"
    kept = f", until {clock(note['keep_until'])}" if note.get("keep_until") else ""
    return f"restorable, permanent{kept}" if one.get("permanent") else "restorable", "ok"


def _details(facts: Mapping[str, Any]) -> str:
    if not facts.get("storage"):
        return ""
    policy = table(facts.get("policy"))
    keeps = ", ".join(f"{line(name)} {line(value)}" for name, value in policy.items() if value) or "nothing is deleted"
    rule = table(facts.get("schedule"))
    when = (
        f"hour {line(rule.get('hour'))}, minute {line(rule.get('minute'))}, weekday {line(rule.get('weekday'))}"
        if rule
        else "not scheduled"
    )
    pairs = {
        "Storage": facts.get("storage"),
        "Data directory": facts.get("data_dir"),
        "System identifier": facts.get("system_identifier"),
        "Base backups": when,
        "Kept": keeps,
        "Facts of": clock(facts.get("time")),
    }
    told = "".join(f"<tr><th>{title}<td class=w>{escape(line(value))}" for title, value in pairs.items() if value)
    return f"<section class=scroll><table><tbody>{told}</tbody></table></section>"
