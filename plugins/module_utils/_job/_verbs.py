# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each verb of the job does. Run as the cluster's owner; where the server is in a container, inside of it."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from .._backup import _expire, _take, _verify
from .._errors import WalgError
from .._host import _exit_codes, _locks
from .._instance._job_spec import BackupRule
from .._report import _verdict
from .._walg import _corruption
from ._outcome import Outcome

if TYPE_CHECKING:
    from ._work import Work


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
        full=bool(getattr(work.options, "full", False)),
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
