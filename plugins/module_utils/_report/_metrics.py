# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics of an instance, as node_exporter's textfile collector reads them. Pure.

What is not known is left out, never 0 or -1; walg_unknown_facts counts what is missing, and an alert on absence shows the rest. No label
names a segment; that of a base backup is in walg_backup_info and its like only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._host import _exit_codes
from . import _archive_reasons
from ._metric_names import HELP
from ._shown import moment, number, rows, table, texts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ._verdict import Verdict

_STATES = ("yes", "no", "unknown")
_LEVELS = ("critical", "warning", "unknown")


@dataclass
class _Samples:
    """The samples so far, by metric; ``unknown``: how many values are not known."""

    instance: str
    found: dict[str, list[tuple[dict[str, str], float]]] = field(default_factory=dict)
    unknown: int = 0

    def add(self, name: str, value: Any, **labels: str) -> None:
        """Add a sample; a value that is none is left out and counted."""
        known = number(value) if not isinstance(value, bool) else float(value)
        if known is None:
            self.unknown += 1
            return
        self.found.setdefault(name, []).append(({"walg_instance": self.instance, **labels}, known))

    def time(self, name: str, value: Any, **labels: str) -> None:
        """Add a time as seconds since 1970."""
        when = moment(value)
        self.add(name, when.timestamp() if when else None, **labels)


def text(facts: Mapping[str, Any], verdict: Verdict, now: datetime) -> str:
    """Return the metrics file's text. Times are seconds since 1970."""
    samples = _Samples(str(facts.get("instance") or "?"))
    samples.add("walg_metrics_timestamp_seconds", now.timestamp())
    samples.time("walg_facts_timestamp_seconds", facts.get("time"))
    for state in _STATES:
        samples.add("walg_restorable", float(verdict.restorable == state), state=state)
    for level in _LEVELS:
        samples.add("walg_reasons", float(sum(one.level == level for one in verdict.reasons)), level=level)
    samples.time("walg_restorable_to_timestamp_seconds", verdict.to)
    if verdict.proved:
        samples.time("walg_proved_timestamp_seconds", verdict.proved)
    _runs(samples, facts)
    _server(samples, table(facts.get("health")))
    _storage(samples, facts)
    _kept(samples, facts)
    samples.add("walg_unknown_facts", samples.unknown)
    return "".join(_family(name, samples.found[name]) for name in HELP if name in samples.found)


def _runs(samples: _Samples, facts: Mapping[str, Any]) -> None:
    for verb, told in sorted((str(name), run) for name, run in table(facts.get("runs")).items()):
        run = table(told)
        samples.time("walg_job_last_run_timestamp_seconds", run.get("ended"), verb=verb)
        samples.add("walg_job_last_exit_code", run.get("code"), verb=verb)
        samples.add("walg_job_last_duration_seconds", run.get("seconds"), verb=verb)
        good = [
            one for one in rows(facts.get("history")) if one.get("verb") == verb and one.get("code") == _exit_codes.OK
        ]
        if run.get("code") == _exit_codes.OK or good:
            ended = run.get("ended") if run.get("code") == _exit_codes.OK else good[-1].get("ended")
            samples.time("walg_job_last_success_timestamp_seconds", ended, verb=verb)


def _server(samples: _Samples, health: Mapping[str, Any]) -> None:
    waiting, room = table(health.get("waiting")), table(health.get("wal"))
    samples.add("walg_server_up", health.get("server") in ("primary", "standby") if health.get("server") else None)
    if health.get("server") != "standby":
        samples.add("walg_archiver_failing", health.get("failing"))
        samples.add("walg_wal_behind_seconds", health.get("behind"))
    samples.add("walg_wal_waiting_files", waiting.get("files"))
    if waiting.get("files"):
        samples.add("walg_wal_waiting_oldest_seconds", waiting.get("oldest"))
    samples.add("walg_wal_bytes", room.get("bytes"))
    samples.add("walg_wal_free_bytes", room.get("free"))
    if room.get("hours_left") is not None:  # an idle server writes nothing, and fills nothing
        samples.add("walg_wal_hours_left", room.get("hours_left"))
    samples.add("walg_wal_lost_segments", len(texts(health.get("lost"))) if health else None)
    samples.add("walg_wal_dropped_segments", len(texts(health.get("dropped"))) if health else None)


def _storage(samples: _Samples, facts: Mapping[str, Any]) -> None:
    archive = table(facts.get("archive"))
    samples.add("walg_storage_up", bool(archive) and not facts.get("archive_problem"))
    samples.time("walg_storage_read_timestamp_seconds", facts.get("archive_time"))
    if not archive:
        return
    listed, usable = rows(archive.get("backups")), _archive_reasons.good(archive)
    for kind, delta in (("full", False), ("delta", True)):
        samples.add("walg_backups", sum(bool(one.get("delta")) is delta for one in listed), backup_type=kind)
        of_kind = [one for one in usable if bool(one.get("delta")) is delta]
        samples.add("walg_restorable_backups", len(of_kind), backup_type=kind)
        if of_kind:
            samples.time("walg_backup_newest_timestamp_seconds", of_kind[-1].get("finish_time"), backup_type=kind)
    if usable:
        samples.time("walg_backup_oldest_timestamp_seconds", usable[0].get("finish_time"))
    samples.add("walg_backups_stored_bytes", sum(number(one.get("compressed_size")) or 0 for one in listed))
    samples.add("walg_backup_age_limit_seconds", table(facts.get("limits")).get("backup_age"))
    for one in listed:
        _backup(samples, one)
    _timelines(samples, archive)


def _backup(samples: _Samples, one: Mapping[str, Any]) -> None:
    name, kind = str(one.get("name")), "delta" if one.get("delta") else "full"
    labels = {"backup_name": name, "backup_type": kind}
    told = {
        "pg_version": one.get("pg_version"),
        "start_lsn": one.get("start_lsn"),
        "finish_lsn": one.get("finish_lsn"),
        "is_permanent": "true" if one.get("permanent") else "false",
        "delta_origin": one.get("delta_base") or "",
    }
    samples.add("walg_backup_info", 1, **labels, **{key: str(value) for key, value in told.items()})
    samples.time("walg_backup_start_timestamp", one.get("start_time"), **labels)
    samples.time("walg_backup_finish_timestamp", one.get("finish_time"), **labels)
    samples.add("walg_backup_compressed_size_bytes", one.get("compressed_size"), **labels)
    samples.add("walg_backup_uncompressed_size_bytes", one.get("uncompressed_size"), **labels)


def _timelines(samples: _Samples, archive: Mapping[str, Any]) -> None:
    for window in _widest(archive):
        timeline = str(window.get("timeline"))
        samples.time("walg_window_from_timestamp_seconds", table(window.get("first")).get("time"), timeline=timeline)
        samples.time("walg_window_to_timestamp_seconds", table(window.get("last")).get("time"), timeline=timeline)
    for one in rows(archive.get("timelines")):
        timeline, gaps = str(one.get("timeline")), rows(one.get("gaps"))
        missing = sum(number(gap.get("segments")) or 0 for gap in gaps)
        samples.add("walg_wal_gaps", len(gaps), timeline=timeline)
        samples.add("walg_wal_gap_segments", missing, timeline=timeline)


def _widest(archive: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the newest window of each timeline: with holes before it, the older ones don't lead to the present."""
    found: dict[str, dict[str, Any]] = {}
    for window in rows(archive.get("windows")):
        timeline = str(window.get("timeline"))
        end = number(table(window.get("last")).get("lsn_int")) or 0.0
        if timeline not in found or end >= (number(table(found[timeline].get("last")).get("lsn_int")) or 0.0):
            found[timeline] = window
    return list(found.values())


def _kept(samples: _Samples, facts: Mapping[str, Any]) -> None:
    """Add verification and retention, where they have run."""
    verified, state = table(facts.get("verification")), table(facts.get("retention"))
    last = table(verified.get("last"))
    reread = table(last.get("reread"))
    if verified:
        samples.time("walg_verification_timestamp_seconds", verified.get("time"))
        samples.add("walg_verification_sound", last.get("sound") if isinstance(last.get("sound"), bool) else None)
        samples.add("walg_verification_done_ratio", reread.get("done_share"))
        samples.add("walg_verification_behind_seconds", reread.get("behind"))
        samples.add("walg_verification_damaged_objects", len(rows(last.get("damaged"))))
        cycle = table(verified.get("last_cycle"))
        if cycle:
            samples.time("walg_verification_cycle_end_timestamp_seconds", cycle.get("ended"))
    ended = table(state.get("last"))
    if ended:
        samples.time("walg_retention_timestamp_seconds", ended.get("time"))
        samples.add("walg_retention_deleted_objects", ended.get("deleted", 0))
        if ended.get("bytes") is not None:
            samples.add("walg_retention_deleted_bytes", ended.get("bytes"))
        samples.add("walg_retention_locked_objects", len(texts(ended.get("locked"))))


def _family(name: str, samples: list[tuple[dict[str, str], float]]) -> str:
    rows_of = "".join(f"{name}{{{_labels(labels)}}} {_number(value)}\n" for labels, value in samples)
    return f"# HELP {name} {HELP[name]}\n# TYPE {name} gauge\n{rows_of}"


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    shown = value.encode("utf-8", "replace").decode("utf-8")
    return shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 6))
