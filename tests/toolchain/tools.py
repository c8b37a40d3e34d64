# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Install the toolchain of this checkout, and say where it is.

    python3 tests/toolchain/tools.py install     everything, into .tools (or WALG_TOOLS_DIR)
    python3 tests/toolchain/tools.py paths       where things are, as JSON
    python3 tests/toolchain/tools.py remove      all of it again

WAL-G is the release that the collection installs by default, and is built only where that can't be had; then RETRY=1 asks again
before a day is over. WALG_RELEASES names another server of releases (none: ask nowhere), WALG_BINARY a WAL-G of your own.
PG_MAJOR chooses the PostgreSQL (10 to 18), several coexist.
Other programs import paths(), link_root() and test_environment() from locations.py beside this file.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor

OLDEST = (3, 11)
if sys.version_info[:2] < OLDEST:
    sys.exit(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: try make PYTHON=python3.12")

import lookers
import parts
import released
from locations import ToolError, paths, pg_major, tools_dir


def make_group(group: list[parts.Part]) -> list[str]:
    """Bring parts up to date one after another; returns a line for each that had to be made."""
    lines = []
    for part in group:
        if not part.current():
            start = time.monotonic()
            part.make()
            lines.append(f"{part.name}: installed in {time.monotonic() - start:.0f} s")
            print(lines[-1], flush=True)
    return lines


def servers_and_walg() -> list[parts.Part]:
    """What depends on which WAL-G is used."""
    walg = parts.walg_part()
    return [parts.pg_part(pg_major()), *([walg] if walg else [])]


def make_chosen(venv: Future[list[str]]) -> list[str]:
    """Find out which WAL-G is used, for which the venv is needed, and bring it up to date with its PostgreSQL."""
    if venv.exception():
        return []
    if released.due():
        print(f"walg: asking for the release {released.wanted_version()}", flush=True)
        released.obtain()
    return make_group(servers_and_walg())


def make_looker(name: str) -> None:
    """Fetch a program that tests do without where it can't be had."""
    start = time.monotonic()
    if lookers.obtain(name):
        print(f"{name}: installed in {time.monotonic() - start:.0f} s", flush=True)


def install() -> int:
    """Bring every part up to date, independent ones at the same time. One run at a time works on a tools folder."""
    os.umask(0o022)
    tools = tools_dir()
    tools.mkdir(parents=True, exist_ok=True)
    with (tools / "lock").open("w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another run that works on {tools}", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        groups = [[parts.venv_part(), parts.pip_wheel_part()], [parts.gcs_part()]]
        wanted = [name for name in lookers.NAMES if lookers.due(name)]
        if wanted or not all(part.current() for group in [*groups, servers_and_walg()] for part in group):
            print(f"installing into {tools}; logs in {tools / 'log'}", flush=True)
        failures = []
        made: list[str] = []
        with ThreadPoolExecutor() as pool:
            futures = [pool.submit(make_group, group) for group in groups]
            futures.append(pool.submit(make_chosen, futures[0]))
            looking = [pool.submit(make_looker, name) for name in wanted]
            for future in futures:
                try:
                    made += future.result()
                except ToolError as error:
                    failures.append(str(error))
        for looker in looking:
            looker.result()
        for line in lookers.missing():
            print(line, flush=True)
        if not failures:
            try:
                parts.link_clients(pg_major())
                if made:
                    parts.prove_servers(pg_major())
            except ToolError as error:
                failures.append(str(error))
    for failure in failures:
        print(f"ERROR: {failure}", file=sys.stderr)
    return 1 if failures else 0


def remove() -> int:
    """Remove the tools folder with everything in it, caches included."""
    shutil.rmtree(tools_dir(), ignore_errors=True)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Install the toolchain of this checkout, and say where it is.")
    parser.add_argument("command", choices=["install", "paths", "remove"])
    try:
        command = parser.parse_args().command
        if command == "install":
            return install()
        if command == "remove":
            return remove()
        print(json.dumps(paths(), indent=2))
    except ToolError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
