# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each verb of the job does. Run as the cluster's owner; where the server is in a container, inside of it."""

from __future__ import annotations

import json
import logging
import os
import random
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from .._archive import _pressure
from .._backup import _due, _expire, _take, _verify
from .._errors import WalgError
from .._host import _exit_codes, _history, _locks, _times
from .._host._files import read_state, write_atomic
from .._instance._job_spec import BackupRule
from .._report import _facts, _metrics, _verdict
from .._walg import _corruption
from .._walg._client import Walg
from . import _outcome
from ._outcome import Outcome

#: Seconds that the primary leaves to a standby that should take the base backup.
_STANDBY_FIRST = 7200.0
#: Verbs with a progress file, which shows afterwards that they were killed.
_KILLED = ("backup", "expire", "verify")

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from .._host._process import Runner
    from .._instance._job_spec import JobSpec
    from .._instance._record import Instance


@dataclass
class Work:
    """One start of the job. ``told``: what crosses to the process that speaks to the hooks; ``troubles``: what could not be recorded."""

    runner: Runner
    instance: Instance
    spec: JobSpec
    options: argparse.Namespace
    log: logging.Logger
    told: list[dict[str, Any]]
    troubles: list[str]

    def do(self, verb: str, act: Callable[[], Outcome]) -> Outcome:
        """Do a verb, log it, add it to the history, and note what the hooks should know."""
        outcome, run = _outcome.done(verb, act, self.log)
        for line in outcome.log:
            fine = outcome.code in (_exit_codes.OK, _exit_codes.WARNING)
            self.log.log(logging.INFO if fine else logging.ERROR, "%s", line)
        level = logging.INFO if outcome.code in (_exit_codes.OK, _exit_codes.LOCKED) else logging.ERROR
        self.log.log(level, "%s: %s", verb, outcome.text)
        before = _history.last(_history.read(self.instance.files.history)).get(verb)
        parts = "parts" in outcome.details  # each of them has told its own
        occasion = _outcome.NOTHING if parts else _outcome.occasion(run, before, self.options.scheduled)
        self.tell(run, occasion)
        return outcome

    def tell(self, run: _history.Run, occasion: str) -> None:
        """Add a run to the history, and to what the hooks are told."""
        if run.code != _exit_codes.LOCKED:
            self.keep(lambda: _outcome.record(self.instance, run))
        self.told.append({**_outcome.as_dict(run), "occasion": occasion})

    def own_state(self) -> bool:
        """Have hooks, status and metrics know that something could not be written down, or can be again. The last of all."""
        last = _history.last(_history.read(self.instance.files.history)).get(_outcome.STATE)
        if self.troubles:
            text = " ".join(self.troubles)
            self.do(_outcome.STATE, lambda: Outcome(_exit_codes.HOOK, False, text))
        elif last is not None and last.code != _exit_codes.OK:
            self.do(_outcome.STATE, lambda: Outcome(_exit_codes.OK, False, "state and log can be written again"))
        else:
            return False
        return True

    def keep(self, act: Callable[[], None]) -> None:
        """Write something down; that it can't be is said at the end, and stops no work."""
        try:
            act()
        except (WalgError, OSError) as exc:
            trouble = exc.msg if isinstance(exc, WalgError) else str(exc)
            self.troubles += [trouble] if trouble not in self.troubles else []

    def facts(self, heartbeat: bool) -> tuple[dict[str, Any], _verdict.Verdict]:
        """Look at server, pg_wal, storage and what the job has kept, and judge it."""
        now = datetime.now(timezone.utc)
        facts = _facts.gather(self.runner, self.instance, self.spec, now, heartbeat=heartbeat)
        this = {"verb": "check", "started": _times.text(now), "ended": _times.text(now), "code": _exit_codes.OK}
        facts["runs"] = {**facts["runs"], "check": this}  # the one that looks now
        return facts, _verdict.judge(facts, now)

    def refresh(self, heartbeat: bool = False) -> tuple[dict[str, Any], _verdict.Verdict]:
        """Look, and write down what was seen for status, metrics and page."""
        facts, verdict = self.facts(heartbeat)
        files, now = self.instance.files, datetime.now(timezone.utc)
        walg = Walg.of(self.runner, self.instance)
        self.keep(lambda: _pressure.relieve(walg, self.instance, self.spec, facts["health"], now))
        kept = {**facts, "verdict": _verdict.as_dict(verdict)}
        self.keep(lambda: write_atomic(files.health, json.dumps(facts["health"], indent=1) + "\n", 0o644))
        self.keep(lambda: write_atomic(files.facts, json.dumps(kept, indent=1, sort_keys=True) + "\n", 0o644))
        return facts, verdict

    def metrics(self) -> str:
        """Return the metrics of what was seen last, with the newest runs."""
        facts = kept_facts(self.instance)
        if not facts:
            return ""
        now = datetime.now(timezone.utc)
        runs = _history.last(_history.read(self.instance.files.history))
        facts["runs"] = {verb: asdict(run) for verb, run in runs.items()}
        return _metrics.text(facts, _verdict.judge(facts, now), now)


def kept_facts(instance: Instance) -> dict[str, Any]:
    """Return what the last check kept; empty if there is none that can be read."""
    return read_state(instance.files.facts)


def check(work: Work) -> Outcome:
    """Look whether the archive could be restored to the present."""
    with _locks.locked(work.instance.files.check_lock, f"A check of the instance {work.instance.name!r}"):
        _facts_now, verdict = work.refresh(heartbeat=work.spec.heartbeat)
    codes = sorted(one.code for one in verdict.reasons if one.level != "info")
    details = {"restorable": verdict.restorable, "to": verdict.to, "codes": codes}
    return Outcome(verdict.exit_code, False, _verdict.line(verdict), details)


def backup(work: Work, max_age: float | None) -> Outcome:
    """Take a base backup if one is needed."""
    _be_nice(work)
    work.log.info("run for a base backup of %s to %s begins", work.instance.cluster.data_dir, work.instance.storage)
    rule = work.spec.backup or BackupRule()
    answer = _take.ensure(
        work.runner,
        work.instance,
        max_age=max_age,
        full=bool(getattr(work.options, "full", False)) or _facts.newest_is_damaged(work.instance),
        page_checksums=rule.page_checksums,
        source=rule.source,
    )
    lines = [f"wal-g: {line}" for line in answer.pop("log").splitlines()]
    made, corrupt = answer.get("backup") or {}, answer["corrupt_blocks"]
    text = f"base backup done: {made.get('name')}" if answer["changed"] else f"nothing done: {answer['reason']}"
    text = f"{text}. {_corruption.told(corrupt)}" if corrupt else text
    details = {
        "reason": answer["reason"],
        "backup": made.get("name"),
        "bytes": made.get("compressed_size"),
        "uncompressed_bytes": made.get("uncompressed_size"),
        "delta": made.get("delta"),
        "corrupt_blocks": corrupt,
    }
    code = _exit_codes.WARNING if corrupt else _exit_codes.OK
    return Outcome(code, answer["changed"], text, details, [*lines, json.dumps(answer, sort_keys=True)])


def _be_nice(work: Work) -> None:
    """Take a lower priority for processor and disk, as far as the host allows. WAL is pushed by the server, which keeps its own."""
    if work.spec.backup is None or not work.spec.backup.nice:
        return
    try:
        os.nice(work.spec.backup.nice - os.nice(0))
        work.runner.run(["ionice", "-c", "2", "-n", "7", "-p", str(os.getpid())])
    except (OSError, WalgError) as exc:
        work.log.warning("no lower priority: %s", exc)


def expire(work: Work, dry: bool = False, confirmed: bool = False) -> Outcome:
    """Delete what the rules don't keep."""
    if work.spec.retention is None:
        return Outcome(_exit_codes.OK, False, "nothing done: retention is off (walg_backup_retention)")
    now = datetime.now(timezone.utc)
    answer = _expire.run(work.runner, work.instance, work.spec.retention, now, dry=dry, confirmed=confirmed)
    lines = [f"retention: {line}" for line in answer.get("warnings") or ()]
    plan = answer["plan"]
    details = {
        "shown_only": answer["shown_only"],
        "deleted": [one["name"] for one in plan["delete"]],
        "bytes": plan["bytes"],
        "segments": plan["wal"]["segments"],
        "locked": len(answer["locked"]),
    }
    return Outcome(_exit_codes.OK, answer["changed"], answer["text"], details, lines)


def verify(work: Work, everything: bool = False) -> Outcome:
    """Read back the slice of the storage that is due."""
    now = datetime.now(timezone.utc)
    answer = _verify.run(work.runner, work.instance, work.spec.verification, now, everything=everything)
    code = {True: _exit_codes.OK, False: _exit_codes.WARNING}.get(answer["sound"], _exit_codes.UNKNOWN)
    details = {"sound": answer["sound"], "damaged": len(answer["damaged"]), "reread": answer["reread"]}
    return Outcome(code, False, answer["text"], details)


def run(work: Work) -> Outcome:
    """Do what is due, in order: check, base backup, retention, verification; and look again at the end."""
    with _locks.locked(work.instance.files.run_lock, f"The work that is due of the instance {work.instance.name!r}"):
        return _due_work(work)


def _note_killed(work: Work) -> None:
    """Add to the history what could not do it itself. So it is told, and rests a while before it is tried again."""
    known = _history.last(_history.read(work.instance.files.history))
    for one in _facts.interrupted(work.instance):
        verb, before = str(one.get("what")), known.get(str(one.get("what")))
        try:
            began, ended = _times.moment(str(one.get("started"))), _times.moment(str(one.get("updated")))
        except WalgError:
            continue
        if verb not in _KILLED or (before is not None and _times.moment(before.ended) >= ended):
            continue
        seconds = max(0.0, (ended - began).total_seconds())
        text = f"it was killed, or the host went down, during {one.get('phase')}; it is done again"
        run = _history.Run(verb, _times.text(began), _times.text(ended), seconds, _exit_codes.FAILED, False, text, {})
        work.log.error("%s: %s", verb, text)
        work.tell(run, _outcome.occasion(run, before, work.options.scheduled))


def _due_work(work: Work) -> Outcome:
    _note_killed(work)
    history, spec, codes, did = work.instance.files.history, work.spec, [], []

    def part(verb: str, act: Callable[[], Outcome]) -> Outcome:
        outcome = work.do(verb, act)
        codes.append(_exit_codes.OK if outcome.code == _exit_codes.LOCKED else outcome.code)
        did.append(verb)
        return outcome

    if _due.check_due(spec, _history.read(history), time.time()):
        part("check", lambda: check(work))
    reason, max_age = "", None
    if spec.backup is not None:
        kept = kept_facts(work.instance)
        health = kept.get("health")
        server = health.get("server") if isinstance(health, dict) else None
        late = _STANDBY_FIRST if spec.backup.source == "standby" and server == "primary" else 0.0
        reason, max_age = _due.backup_due(spec.backup, _history.read(history), _due.codes(kept), time.time(), late)
    if reason and spec.backup is not None:
        work.log.info("a base backup is due: %s", reason)
        time.sleep(random.uniform(0, spec.backup.jitter))
        part("backup", lambda: backup(work, max_age))
    if spec.retention is not None and _due.expire_due(_history.read(history), time.time()):
        part("expire", lambda: expire(work))
    if _due.verify_due(spec, _history.read(history), time.time()):
        part("verify", lambda: verify(work))
    if set(did) - {"check"}:
        part("check", lambda: check(work))
    return Outcome(_outcome.worst(codes), False, f"done: {', '.join(did)}" if did else "nothing is due", {"parts": did})
