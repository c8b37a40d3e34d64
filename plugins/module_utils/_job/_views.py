# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs that only look: status and report."""

from __future__ import annotations

import json
import shutil
import sys
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TextIO

from .._host import _exit_codes
from .._host._files import write_atomic
from .._report import _facts, _page, _status, _verdict

if TYPE_CHECKING:
    import argparse

    from .._host._process import Runner
    from .._instance._job_spec import JobSpec
    from .._instance._record import Instance

_EVERY = 2.0  # seconds between two looks at what runs


def show(runner: Runner, instance: Instance, spec: JobSpec, options: argparse.Namespace) -> int:
    """Print a status or a page. Returns the exit code: the verdict's for a status."""
    if options.verb == "status" and options.watch:
        return _watch(instance)
    now = datetime.now(timezone.utc)
    facts = _facts.gather(runner, instance, spec, now)
    verdict = _verdict.judge(facts, now)
    if options.verb == "report":
        page = _page.page([{"facts": facts, "verdict": _verdict.as_dict(verdict)}], now)
        if options.output:
            write_atomic(options.output, page, 0o644)
        else:
            sys.stdout.write(page)
        return _exit_codes.OK
    if options.json:
        sys.stdout.write(json.dumps({**facts, "verdict": _verdict.as_dict(verdict)}, indent=2, sort_keys=True) + "\n")
    else:
        lines = _status.lines(facts, verdict, now, colour=sys.stdout.isatty(), width=_width())
        sys.stdout.write("\n".join(lines) + "\n")
    return verdict.exit_code


def _width() -> int:
    """Return how many characters a line may have."""
    return min(shutil.get_terminal_size((100, 24)).columns, 120)


def _watch(instance: Instance) -> int:
    """Show how far what runs is, until nothing does or whoever looks has seen enough (Ctrl-C)."""
    out, shown = sys.stdout, 0
    try:
        while True:
            lines = _status.watched(instance, datetime.now(timezone.utc), _width(), ascii_only=not _draws(out))
            if not lines:
                out.write("done\n" if shown else "nothing runs\n")
                return _exit_codes.OK
            if out.isatty() and shown:
                out.write(f"\x1b[{shown}A\x1b[J")  # up to the first line of before, and nothing of it is left
            out.write("".join(f"{line}\n" for line in lines))
            out.flush()
            shown = len(lines)
            time.sleep(_EVERY)
    except KeyboardInterrupt:
        if out.isatty():
            out.write("\n")
        return _exit_codes.OK


def _draws(stream: TextIO) -> bool:
    """Say whether a terminal can show the characters of a bar."""
    try:
        "█░".encode(stream.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True
