# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb backup: take a base backup if one is needed."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from .._backup import _take
from .._errors import WalgError
from .._host import _exit_codes
from .._instance._job_spec import BackupRule
from .._walg import _corruption
from ._outcome import Outcome

if TYPE_CHECKING:
    from ._work import Work


def act(work: Work) -> Outcome:
    """Take one unless the newest is younger than the command line says."""
    return backup(work, work.options.max_age)


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
