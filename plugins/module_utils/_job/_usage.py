# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job's command line: its verbs and their options."""

from __future__ import annotations

import argparse

from .._host import _exit_codes

#: Verbs that only look and print.
LOOKING = ("status", "report")
#: All verbs, with what they do.
VERBS = {
    "run": "do what is due: check, base backup, retention, verification",
    "backup": "take a base backup",
    "check": "look whether the archive can be restored to the present",
    "expire": "delete what the retention does not keep",
    "verify": "read back the slice of the storage that is due",
    "status": "say whether the archive can be restored, and what needs attention",
    "report": "print a page in HTML",
    "confirm": "ask the storage whose archive it is, before WAL is sent",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    codes = "\n".join(f"  {code:2}  {meaning}" for code, meaning in _exit_codes.MEANINGS.items())
    made = argparse.ArgumentParser(
        prog="walg-job",
        description="Scheduled work of the Ansible collection mapswipe.walg.",
        epilog=f"exit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = made.add_subparsers(dest="verb", required=True)
    parsers = {}
    for name, meaning in VERBS.items():
        verb = parsers[name] = verbs.add_parser(name, help=meaning, description=meaning)
        verb.add_argument("--instance", default="main")
        verb.add_argument("--config-dir", default="/etc/mapswipe-walg")
        verb.set_defaults(scheduled=False)
    for name in ("run", "check"):
        parsers[name].add_argument(
            "--scheduled",
            action="store_true",
            help="called by cron or a timer: tell the same failure every 6 hours only",
        )
    _backup(parsers["backup"])
    parsers["expire"].add_argument("--check", action="store_true", help="show the plan, delete nothing")
    parsers["expire"].add_argument(
        "--confirm", action="store_true", help="delete although the plan was not shown before"
    )
    parsers["verify"].add_argument(
        "--all", action="store_true", help="read everything back now, not the slice that is due"
    )
    parsers["status"].add_argument("--json", action="store_true", help="print all facts and the verdict as JSON")
    parsers["status"].add_argument("--watch", action="store_true", help="show how far what runs is, until it ends")
    parsers["report"].add_argument("--output", help="write the page to this file instead")
    parsers["confirm"].add_argument("--data-dir", required=True)
    parsers["confirm"].add_argument("--file", required=True, help="name of the WAL file to send")
    return made


def _backup(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--max-age",
        type=float,
        default=0.0,
        help="seconds; do nothing when a restorable backup is younger (0: always take one)",
    )
    verb.add_argument("--full", action="store_true", help="take a full one even if WAL-G would take a delta")
