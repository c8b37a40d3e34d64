# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What molecule's scenarios need: whole plays on hosts with systemd and cron, made as containers. And the tests of containers.

    python3 tests/toolchain/hosts.py make                    engine, images, molecule, .env.yml: then a bare `molecule test` works
    python3 tests/toolchain/hosts.py clean                   its hosts and .env.yml go, and an engine that was started for them
    python3 tests/toolchain/hosts.py test [SCENARIO ...]     run all of them, or the named ones, two at a time
    python3 tests/toolchain/hosts.py prepare                 as make, but the engine doesn't stay

The test runs the scenario `default` as a user types it, `molecule test -s default` in the checkout, unless somebody uses the
hosts of that; the others with names and folders of their own. KEEP=1 runs them all as a user types it and leaves their hosts.
HOST_IMAGE=bookworm makes the hosts from another recipe of versions.json. A scenario whose hosts differ names their recipes:
${WALG_IMAGE_TRIXIE}. SCENARIO "containers" is no scenario of molecule: tests/containers, on this machine (see container_tests.py).
Ends with 0 when all passed, 1 when one failed, 2 when something that must be there is missing. Nothing is ever skipped.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import container_tests
import engine
import images
import parts
from locations import ROOT, ToolError, built_walg, static_walg, test_environment, tools_dir
from molecule_env import CHECKOUT_FILE, CHECKOUT_RUN, SCENARIOS, recipes, variables, write
from scenarios import molecule, remove, run_scenario

_FILES = ("ca.crt", "server.crt", "server.key", "serviceAccountKey.json", "readOnlyKey.json")
_FILES_LAST = 180 * 86400.0  # seconds; the certificate is valid for twice that time


def storage_files() -> None:
    """Make what the hosts share, if it isn't there or is old: the storage's CA, certificate, service accounts' keys."""
    folder = tools_dir() / "hosts"
    with contextlib.suppress(FileNotFoundError):
        if time.time() - folder.stat().st_mtime < _FILES_LAST and all((folder / name).is_file() for name in _FILES):
            return
    part = folder.with_name("hosts.part")
    for stale in (part, folder):
        shutil.rmtree(stale, ignore_errors=True)
    part.mkdir(mode=0o700)
    script = ROOT / "tests" / "support" / "gcs_files.py"
    argv = [str(tools_dir() / "venv" / "bin" / "python"), str(script), str(part)]
    subprocess.run(argv, env={**test_environment(), "PYTHONPATH": str(ROOT / "tests")}, check=True)
    part.replace(folder)


def tools_and_files() -> None:
    """Install molecule, and the WAL-G that hosts run, and make the storage's files, if they are not there; one run at a time."""
    walg = [parts.built_walg_part()] if static_walg() == built_walg() else []
    with (tools_dir() / "molecule.lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for part in [parts.molecule_part(), *walg]:
            if not part.current():
                part.make()
        storage_files()


def make(scenarios: Sequence[str]) -> dict[str, str]:
    """Make what scenarios need on a running engine, and the checkout's file for molecule; return what that says."""
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(tools_and_files)
        image = images.ensure(os.environ.get("HOST_IMAGE") or images.DEFAULT)
        needed = recipes(scenarios)
        named = {name: (images.ensure if name in needed else images.tag)(name) for name in recipes(SCENARIOS)}
        other.result()
    values = variables(image, named)
    write(CHECKOUT_FILE, values)
    return values


def tell(version: str, values: Mapping[str, str]) -> None:
    """Say what the hosts are made of."""
    made = ", ".join(value for key, value in values.items() if key.startswith("WALG_IMAGE"))
    print(f"Docker engine {version}, images {made}, WAL-G {values['WALG_VERSION']}", flush=True)


def tell_next() -> None:
    """Say what to type next."""
    activate = tools_dir() / "molecule-venv" / "bin" / "activate"
    print(f"source {os.path.relpath(activate) if activate.is_relative_to(ROOT) else activate}")
    print(
        "molecule test -s default          or: list, converge, login --host db, destroy, with -s", "|".join(SCENARIOS)
    )
    print("make hosts-clean                  removes the hosts, and the engine if it was started for them")


def clean() -> int:
    """Remove the hosts that were made by hand, the file for molecule, and an engine that nobody else uses."""
    if engine.answers():
        for name in SCENARIOS:
            if remove(name):
                # Molecule believes that they are there until it is told.
                with contextlib.suppress(OSError):
                    molecule(["destroy", "-s", name], tools_dir() / "log" / "hosts-clean.log")
    CHECKOUT_FILE.unlink(missing_ok=True)
    engine.let_go(CHECKOUT_RUN)
    return 0


def run(command: str, scenarios: list[str]) -> int:
    """Do a command on a running engine."""
    keep = os.environ.get("KEEP", "") not in ("", "0")
    with engine.running() as version:
        values = make([name for name in scenarios if name in SCENARIOS] if command == "test" else SCENARIOS)
        tell(version, values)
        containers = container_tests.make() if container_tests.NAME in scenarios else {}
        if command == "make" or keep:
            engine.keep(ROOT, CHECKOUT_RUN)
        if command == "make":
            tell_next()
        if command == "test":

            def one(name: str) -> bool:
                if name == container_tests.NAME:
                    return container_tests.run(containers)
                return run_scenario(name, values, keep)

            with ThreadPoolExecutor(2) as pool:
                return 0 if all(list(pool.map(one, scenarios))) else 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Run molecule's scenarios on hosts made as containers.")
    parser.add_argument("command", choices=["make", "clean", "test", "prepare"])
    parser.add_argument(
        "scenarios",
        nargs="*",
        metavar="SCENARIO",
        help=f"of {', '.join([container_tests.NAME, *SCENARIOS])}; all if none is named",
    )
    arguments = parser.parse_args()
    known = [container_tests.NAME, *SCENARIOS]
    unknown = sorted(set(arguments.scenarios) - set(known))
    try:
        if unknown:
            raise ToolError(f"no such scenario: {', '.join(unknown)}; there are {', '.join(known)}")
        return clean() if arguments.command == "clean" else run(arguments.command, arguments.scenarios or known)
    except ToolError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
