# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run molecule's scenarios: whole plays on hosts with systemd and cron, made as containers.

    python3 tests/toolchain/hosts.py test [SCENARIO ...]     all of them, or the named ones, two at a time
    python3 tests/toolchain/hosts.py prepare                 only what they need: engine, image, molecule

KEEP=1 leaves hosts, files and engine for a look; what it prints says how to remove them. HOST_IMAGE=bookworm makes the hosts
from another recipe of versions.json. A scenario whose hosts differ names their recipes: ${WALG_IMAGE_TRIXIE}.
Ends with 0 when all passed, 1 when one failed, 2 when something that must be there is missing. Nothing is ever skipped.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import engine
import images
import parts
from locations import ROOT, ToolError, built_walg, digest_of, paths, static_walg, test_environment, tools_dir

SCENARIOS = sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))


def prepare_run(folder: Path) -> None:
    """Make what a run's hosts share: the storage's CA, certificate, service account's key; see tests/support/gcs_files."""
    script = ROOT / "tests" / "support" / "gcs_files.py"
    argv = [str(tools_dir() / "venv" / "bin" / "python"), str(script), str(folder)]
    env = {**test_environment(), "PYTHONPATH": str(ROOT / "tests")}
    subprocess.run(argv, env=env, check=True)


def walg_version(binary: str) -> str:
    """Return the version that a WAL-G binary says of itself, without its suffix."""
    answer = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v(\d+(?:\.\d+)*)", answer)
    if not found:
        raise ToolError(f"{binary} --version says {answer.strip()!r}: no version in it")
    return found.group(1)


def recipes(scenarios: list[str]) -> list[str]:
    """Return the recipes of hosts that these scenarios name, besides the one of the run."""
    texts = [(ROOT / "molecule" / name / "molecule.yml").read_text(encoding="utf-8") for name in scenarios]
    return sorted({found.lower() for text in texts for found in re.findall(r"\$\{WALG_IMAGE_([A-Z]+)\}", text)})


def environment(run: str, folder: Path, image: str, named: dict[str, str]) -> dict[str, str]:
    """What molecule and its scenarios are told."""
    known = paths()
    env = test_environment()
    venv = tools_dir() / "molecule-venv" / "bin"
    return {
        **env,
        "PATH": os.pathsep.join([str(venv), env["PATH"]]),
        "MOLECULE_GLOB": "molecule/*/molecule.yml",
        "MOLECULE_EPHEMERAL_DIRECTORY": str(folder / "molecule"),
        "PY_COLORS": "0",
        "NO_COLOR": "1",
        "WALG_RUN": run,
        "WALG_RUN_DIR": str(folder),
        "WALG_BINARY_BUILT": str(known["walg_static"]),
        "WALG_SHA256": digest_of(Path(known["walg_static"])),
        "WALG_VERSION": walg_version(str(known["walg_static"])),
        "WALG_GCS_SERVER": str(known["gcs_server"]),
        "WALG_IMAGE": image,
        "WALG_PG_MAJOR": str(images.major(image)),
        "WALG_CHECKOUT": str(ROOT),
        **{f"WALG_IMAGE_{name.upper()}": each for name, each in named.items()},
        **{f"WALG_PG_MAJOR_{name.upper()}": str(images.major(each)) for name, each in named.items()},
    }


def scenario(name: str, image: str, named: dict[str, str], keep: bool) -> bool:
    """Run one scenario on hosts and a network of its own; says whether it passed."""
    run = secrets.token_hex(3)
    folder = Path(tempfile.mkdtemp(prefix=f"mapswipe-walg-hosts-{run}.", dir="/var/tmp"))
    log = tools_dir() / "log" / f"hosts-{name}.log"
    start = time.monotonic()
    passed = False
    try:
        prepare_run(folder)
        argv = ["molecule", "test", "--scenario-name", name, *(["--destroy", "never"] if keep else [])]
        with log.open("wb") as stream:
            done = subprocess.run(
                argv,
                cwd=ROOT,
                env=environment(run, folder, image, named),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                check=False,
            )
        passed = done.returncode == 0
    finally:
        kept = ""
        if keep:
            kept = f"; kept: containers *-{run} (docker rm -f), {folder}"
        else:
            remove_containers(run)
            shutil.rmtree(folder, ignore_errors=True)
    state = "ok" if passed else f"FAILED, its output is in {log}; the end of it:\n{tail(log)}"
    print(f"hosts {name:<12} {time.monotonic() - start:6.1f} s  {state}{kept}", flush=True)
    return passed


def tail(log: Path) -> str:
    """The last lines of a scenario's output."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-60:])


def remove_containers(run: str) -> None:
    """Remove what a scenario that was cut off left behind; all its names end with the run's."""
    for kind, options in (("container", ["-a"]), ("network", []), ("volume", [])):
        listed = ["docker", kind, "ls", "-q", *options, "--filter", f"name=-{run}"]
        found = subprocess.run(listed, capture_output=True, text=True, check=False).stdout.split()
        if found:
            subprocess.run(["docker", kind, "rm", "-f", *found], capture_output=True, check=False)


def molecule() -> None:
    """Install molecule, and the WAL-G that hosts run, if they are not there; one run at a time."""
    walg = [parts.built_walg_part()] if static_walg() == built_walg() else []
    with (tools_dir() / "molecule.lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for part in [parts.molecule_part(), *walg]:
            if not part.current():
                part.make()


def main() -> int:
    parser = argparse.ArgumentParser(description="Run molecule's scenarios on hosts made as containers.")
    parser.add_argument("command", choices=["test", "prepare"])
    parser.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; all if none is named"
    )
    arguments = parser.parse_args()
    keep = os.environ.get("KEEP", "") not in ("", "0")
    suite = os.environ.get("HOST_IMAGE") or images.DEFAULT
    unknown = sorted(set(arguments.scenarios) - set(SCENARIOS))
    outcomes = []
    try:
        if unknown:
            raise ToolError(f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
        with engine.running(keep) as version, ThreadPoolExecutor(2) as pool:
            chosen = arguments.scenarios or SCENARIOS
            tool = pool.submit(molecule)
            image = images.ensure(suite)
            named = {name: images.ensure(name) for name in recipes(chosen)}
            tool.result()
            print(f"Docker engine {version}, images {', '.join([image, *named.values()])}", flush=True)
            if arguments.command == "test":
                outcomes = list(pool.map(lambda name: scenario(name, image, named, keep), chosen))
    except ToolError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 2
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
