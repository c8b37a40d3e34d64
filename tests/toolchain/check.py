# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run steps of the test suite: tools, lint, unit, integration, attacks, hosts, soak, matrix, cores, docs, build.

Environment: ONLY names one linter (or `list`), ARGS holds arguments for pytest. With more than one step the last line
sums up the tests; --coverage measures which lines of plugins/ they reach, in all steps together. A failed step does not
keep the later ones from running, except that nothing runs without tools. nox does not take this program's place: it runs
nothing beside a session, counts no tests, and doesn't pass on an exit code.
Ends with 0 when all passed, 2 when the hosts lack something that must be there, else 1.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path

import matrix
import measured
import released
from lint import lint
from locations import COLLECTION, HERE, ROOT, ToolError, test_environment, tools_dir
from stage import copy_root

from docs import make_pages

HOSTS = (sys.executable, str(HERE / "hosts.py"))
STEPS = ("tools", "lint", "unit", "integration", "attacks", "hosts", "soak", "matrix", "cores", "docs", "build")


def run_lint(reports: Path) -> bool:
    """Lint, one run at a time: ansible-test's environments and the staged copy are shared."""
    with (tools_dir() / "lint.lock").open("w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another lint run", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        return lint(os.environ.get("ONLY", ""), reports)


def run_pytest(folder: str, reports: Path, files: Sequence[str] = ("",)) -> bool:
    """Run one folder of tests, or files in it, with the venv's Python; no test at all is a failure (pytest's exit code 5)."""
    python = tools_dir() / "venv" / "bin" / "python"
    report = reports / f"{folder}.xml"
    argv = [str(python), "-m", "pytest", *(f"tests/{folder}/{file}" for file in files), f"--junitxml={report}"]
    # The tests of one file tell a story and stay together. Those with servers wait half of their time.
    argv += ["-n", "3" if folder == "integration" else "2", "--dist", "loadfile"]
    if folder == "integration":
        # One that hangs is named, with the stacks of its threads, and its servers are stopped; the longest takes a quarter of this.
        argv += ["--timeout", "600"]
    argv += shlex.split(os.environ.get("ARGS", ""))
    return subprocess.run(argv, cwd=ROOT, env=pytest_environment(), check=False).returncode == 0


def pytest_environment() -> dict[str, str]:
    """The environment of the tests, with the hook of coverage.py if this run is measured."""
    env = test_environment()
    if "WALG_COVERAGE_HOOK" in env:
        env["PYTHONPATH"] = os.pathsep.join([env["WALG_COVERAGE_HOOK"], env["PYTHONPATH"]])
    return env


def run_matrix(reports: Path) -> bool:
    """Run what is tested with each PostgreSQL, and end with a table of that."""
    passed = run_pytest("integration", reports, [f"{name}.py" for name in matrix.COLUMNS])
    lines, complete = matrix.table(reports / "integration.xml")
    print(*lines, sep="\n", flush=True)
    return passed and complete


def run_soak() -> bool:
    """Live random lives of a cluster, or what WHAT names (odd, kills, attacks): SEEDS of them, from the seed FIRST on."""
    if os.environ.get("WHAT") == "attacks":
        return soak_attacks(int(os.environ.get("SEEDS") or "200") * 100)
    script = {"odd": "odd.py", "kills": "kills.py"}.get(os.environ.get("WHAT") or "", "soak.py")
    argv = [str(tools_dir() / "venv" / "bin" / "python"), f"tests/soak/{script}"]
    argv += [os.environ.get("SEEDS") or "200", os.environ.get("FIRST") or "1"]
    return subprocess.run(argv, cwd=ROOT, env=test_environment(), check=False).returncode == 0


def soak_attacks(tries: int) -> bool:
    """Race root many times with a partner who exchanges paths."""
    argv = [str(tools_dir() / "venv" / "bin" / "python"), "-m", "pytest", "tests/attacks/test_races.py", "-q"]
    environment = {**test_environment(), "ATTACKS": str(tries)}
    return subprocess.run(argv, cwd=ROOT, env=environment, check=False).returncode == 0


def run_build() -> bool:
    """Build the collection's archive from committed and other not ignored files, into the checkout."""
    root = copy_root()
    argv = ["ansible-galaxy", "collection", "build", "--force", "--output-path", str(ROOT)]
    shutil.rmtree(root / COLLECTION / ".git")
    return subprocess.run(argv, cwd=root / COLLECTION, env=test_environment(), check=False).returncode == 0


def run_step(step: str, reports: Path) -> int:
    """Run one step; returns 0 when it passed, 2 when the hosts lack something that must be there, else 1."""
    if step == "tools":
        return subprocess.run([sys.executable, str(HERE / "tools.py"), "install"], check=False).returncode
    if step == "hosts":
        return subprocess.run([*HOSTS, "test"], check=False).returncode
    if step == "lint":
        passed = run_lint(reports)
    elif step == "build":
        passed = run_build()
    elif step == "soak":
        passed = run_soak()
    elif step == "matrix":
        passed = run_matrix(reports)
    elif step == "docs":
        passed = make_pages()
    else:
        passed = run_pytest(step, reports)
    return 0 if passed else 1


@contextlib.contextmanager
def preparing_hosts(wanted: bool) -> Iterator[None]:
    """Make what the hosts need beside the other steps: it waits for packages much of the time. The step tells what failed."""
    if wanted:
        null = subprocess.DEVNULL
        with subprocess.Popen([*HOSTS, "prepare"], stdin=null, stdout=null, stderr=null):
            yield
    else:
        yield


def totals(reports: Path) -> str:
    """The plain closing line over all pytest runs of this call."""
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for report in reports.glob("*.xml"):
        for suite in ET.parse(report).getroot().iter("testsuite"):
            for name in counts:
                counts[name] += int(suite.get(name, "0"))
    failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - failed - counts["skipped"]
    return f"{passed} passed, {failed} failed" + (f", {counts['skipped']} skipped" if counts["skipped"] else "")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run steps of the test suite.")
    parser.add_argument("steps", nargs="+", choices=STEPS)
    parser.add_argument("--coverage", action="store_true", help="measure which lines of plugins/ the tests reach")
    arguments = parser.parse_args()
    steps = arguments.steps
    lines = []
    worst = 0
    try:
        if "tools" not in steps and not (tools_dir() / "venv" / "bin" / "python").exists():
            raise ToolError("the tools are not installed yet: make tools")
        reports = tools_dir() / "reports" / str(os.getpid())
        if arguments.coverage:
            measured.start()
            os.environ.update(measured.environment())
        with contextlib.ExitStack() as stack:
            for step in steps:
                if len(steps) > 1 and step != "tools":  # the first line says which WAL-G
                    print(f"=== {step}", flush=True)
                start = time.monotonic()
                code = run_step(step, reports)
                lines.append(f"{step:<12} {time.monotonic() - start:6.0f} s  {'FAILED' if code else 'ok'}")
                worst = max(worst, abs(code))
                if step == "tools":
                    if code:
                        break
                    print(released.first_line(), flush=True)
                    stack.enter_context(preparing_hosts("hosts" in steps))
        if arguments.coverage:
            lines.append(measured.figure())
        if len(steps) > 1:
            print("===", *lines, totals(reports), sep="\n", flush=True)
        shutil.rmtree(reports, ignore_errors=True)
    except ToolError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    return worst


if __name__ == "__main__":
    sys.exit(main())
