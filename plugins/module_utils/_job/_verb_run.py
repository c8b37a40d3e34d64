# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb run: what is due, in order."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from .._backup import _due, _known_damage
from .._errors import WalgError
from .._host import _exit_codes, _history, _locks, _times
from .._report import _facts
from . import _outcome, _verb_backup, _verb_check, _verb_expire, _verb_verify
from ._outcome import Outcome
from ._work import kept_facts

#: Seconds that the primary leaves to a standby that should take the base backup.
_STANDBY_FIRST = 7200.0
#: Verbs with a progress file, which shows afterwards that they were killed.
_KILLED = ("backup", "expire", "verify")

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._work import Work


def act(work: Work) -> Outcome:
    """Do what is due, in order: check, base backup, retention, verification; and look again at the end."""
    with _locks.locked(work.instance.files.run_lock, f"The work that is due of the instance {work.instance.name!r}"):
        return _in_order(work)


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


def _in_order(work: Work) -> Outcome:
    _note_killed(work)
    history, spec, codes, did = work.instance.files.history, work.spec, [], []

    def part(verb: str, act: Callable[[], Outcome]) -> Outcome:
        outcome = work.do(verb, act)
        codes.append(_exit_codes.OK if outcome.code == _exit_codes.LOCKED else outcome.code)
        did.append(verb)
        return outcome

    if _due.check_due(spec, _history.read(history), time.time()):
        part("check", lambda: _verb_check.act(work))
    reason, max_age = "", None
    if spec.backup is not None:
        kept = kept_facts(work.instance)
        health = kept.get("health")
        server = health.get("server") if isinstance(health, dict) else None
        late = _STANDBY_FIRST if spec.backup.source == "standby" and server == "primary" else 0.0
        damage = _known_damage.load(work.instance.files.verification).cuts_seen(kept.get("archive"))
        runs, reasons = _history.read(history), _due.codes(kept)
        reason, max_age = _due.backup_due(spec.backup, runs, reasons, time.time(), late, damage)
    if reason and spec.backup is not None:
        work.log.info("a base backup is due: %s", reason)
        time.sleep(random.uniform(0, spec.backup.jitter))
        part("backup", lambda: _verb_backup.backup(work, max_age))
    if spec.retention is not None and _due.expire_due(_history.read(history), time.time()):
        part("expire", lambda: _verb_expire.expire(work))
    if _due.verify_due(spec, _history.read(history), time.time()):
        part("verify", lambda: _verb_verify.verify(work))
    if set(did) - {"check"}:
        part("check", lambda: _verb_check.act(work))
    return Outcome(_outcome.worst(codes), False, f"done: {', '.join(did)}" if did else "nothing is due", {"parts": did})
