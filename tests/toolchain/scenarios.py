# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run molecule's scenarios: as a user types it in the checkout, or apart, with names and a folder of their own beside others."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import left_behind
from locations import ROOT, tools_dir
from molecule_env import CHECKOUT_RUN, write

BARE = "default"  # the scenario that a test runs as a user types it


def environment() -> dict[str, str]:
    """The caller's environment as if molecule's venv were active, without personal settings of Ansible and molecule."""
    dropped = ("ANSIBLE_", "MOLECULE_", "WALG_", "PYTHONPATH", "VIRTUAL_ENV")
    env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    venv = tools_dir() / "molecule-venv" / "bin"
    return {**env, "PATH": os.pathsep.join([str(venv), env.get("PATH", os.defpath)]), "NO_COLOR": "1"}


def molecule(arguments: list[str], log: Path, extra: Mapping[str, str] | None = None) -> bool:
    """Run molecule from the checkout; says whether it passed. Its output is added to a log."""
    with log.open("ab") as stream:
        done = subprocess.run(
            ["molecule", *arguments],
            cwd=ROOT,
            env={**environment(), **(extra or {})},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            check=False,
        )
    return done.returncode == 0


def run_scenario(name: str, values: Mapping[str, str], keep: bool) -> bool:
    """Run one scenario, print what became of it; says whether it passed. ``keep``: leave its hosts for a look."""
    log = tools_dir() / "log" / f"hosts-{name}.log"
    log.unlink(missing_ok=True)
    start = time.monotonic()
    how = ""
    if keep:
        passed = _kept(name, log)
        how = f"; kept: molecule login -s {name} --host ..., make hosts-clean"
    elif name == BARE:
        with _checkout_hosts(name) as free:
            passed = _bare(name, log) if free else _apart(name, log, values)
            how = f" as `molecule test -s {name}`" if free else " on hosts apart: somebody uses the checkout's"
    else:
        passed = _apart(name, log, values)
    state = f"ok{how}" if passed else f"FAILED{how}, its output is in {log}; the end of it:\n{tail(log)}"
    print(f"hosts {name:<12} {time.monotonic() - start:6.1f} s  {state}", flush=True)
    return passed


def remove(name: str, run: str = CHECKOUT_RUN) -> bool:
    """Remove what there is of a scenario's hosts; says whether there was anything."""
    return left_behind.remove_named(_ours(name, run))


def _bare(name: str, log: Path) -> bool:
    """Run it by the command that a user types."""
    return molecule(["test", "-s", name], log)


def _kept(name: str, log: Path) -> bool:
    """Run it as a user does who wants to look at its hosts afterwards."""
    return molecule(["destroy", "-s", name], log) and molecule(["test", "-s", name, "--destroy", "never"], log)


def _apart(name: str, log: Path, values: Mapping[str, str]) -> bool:
    """Run it in the same way with a file for molecule, names and a folder of its own."""
    run = secrets.token_hex(3)
    folder = Path(tempfile.mkdtemp(prefix=f"mapswipe-walg-hosts-{run}.", dir="/var/tmp"))
    try:
        write(folder / "env.yml", {**values, "WALG_RUN": run})
        arguments = ["--env-file", str(folder / "env.yml"), "test", "-s", name]
        return molecule(arguments, log, {"MOLECULE_EPHEMERAL_DIRECTORY": str(folder / "molecule")})
    finally:
        remove(name, run)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _checkout_hosts(name: str) -> Iterator[bool]:
    """Says whether the bare command may make its hosts: nobody else uses those of the checkout. None of them is left behind.

    What the lock's file says for the time of a test tells the next one that hosts still there are of one that was killed.
    """
    with (tools_dir() / f"hosts-{name}.lock").open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        lock.seek(0)
        killed = bool(lock.read())
        if not killed and left_behind.present(_ours(name, CHECKOUT_RUN)):
            yield False
            return
        lock.write("a test runs\n")
        lock.flush()
        try:
            yield True
        finally:
            remove(name)
            lock.truncate(0)


def _ours(name: str, run: str) -> re.Pattern[str]:
    """Return what the names of all of a scenario's hosts match: they end with the scenario's and the run's."""
    return re.compile(rf".*-{re.escape(name)}-{re.escape(run)}")


def tail(log: Path) -> str:
    """Return the last lines of a scenario's output."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-60:])
