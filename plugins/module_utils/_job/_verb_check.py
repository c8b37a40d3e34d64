# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb check: can the archive be restored to the present? It comes every few minutes, so it loads little."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from .._archive import _pressure
from .._host import _exit_codes, _locks, _times
from .._host._files import write_atomic
from .._report import _facts, _verdict
from .._walg._client import Walg
from ._outcome import Outcome

if TYPE_CHECKING:
    from ._work import Work


def act(work: Work) -> Outcome:
    """Look whether the archive could be restored to the present."""
    with _locks.locked(work.instance.files.check_lock, f"A check of the instance {work.instance.name!r}"):
        verdict = _refresh(work)
    codes = sorted(one.code for one in verdict.reasons if one.level != "info")
    details = {"restorable": verdict.restorable, "to": verdict.to, "codes": codes}
    return Outcome(verdict.exit_code, False, _verdict.line(verdict), details)


def _refresh(work: Work) -> _verdict.Verdict:
    """Look at server, pg_wal, storage and what the job has kept, judge it, and write it down for status, metrics and page."""
    now = datetime.now(timezone.utc)
    facts = _facts.gather(work.runner, work.instance, work.spec, now, heartbeat=work.spec.heartbeat)
    this = {"verb": "check", "started": _times.text(now), "ended": _times.text(now), "code": _exit_codes.OK}
    facts["runs"] = {**facts["runs"], "check": this}  # the one that looks now
    verdict = _verdict.judge(facts, now)
    files, now = work.instance.files, datetime.now(timezone.utc)
    walg = Walg.of(work.runner, work.instance)
    work.keep(lambda: _pressure.relieve(walg, work.instance, work.spec, facts["health"], now))
    kept = {**facts, "verdict": _verdict.as_dict(verdict)}
    work.keep(lambda: write_atomic(files.health, json.dumps(facts["health"], indent=1) + "\n", 0o644))
    work.keep(lambda: write_atomic(files.facts, json.dumps(kept, indent=1, sort_keys=True) + "\n", 0o644))
    return verdict
