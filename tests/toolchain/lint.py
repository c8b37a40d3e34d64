# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The linters: what each runs on the staged copy, two at a time, one line for each.

Sessions of nox and antsibull-nox are linters like the others. This driver stays since nox runs one session after another, in the
checkout itself, and prints no line that says only whether each passed; antsibull-nox.toml says which linters stay ours.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import parts
import stage
from locations import COLLECTION, HERE, ToolError, test_environment, tools_dir


@dataclass
class Context:
    """Where and with what the linters run."""

    root: Path
    env: dict[str, str]
    home: Path
    pythons: dict[str, Path]
    reports: Path

    @property
    def collection(self) -> Path:
        return self.root / COLLECTION


@dataclass
class Linter:
    """One linter: `argv` makes its command; those of the same `lane` run one after another, on a copy of their own.

    Lines that begin like `complaint`, an expression, fail it whatever its exit code.
    """

    name: str
    lane: int
    argv: Callable[[Context], Sequence[str]]
    env: Callable[[Context], dict[str, str]] = field(default=lambda context: {})
    complaint: str = ""


@dataclass
class Outcome:
    name: str
    passed: bool
    seconds: float
    output: str


def own_python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def sanity_env(context: Context) -> dict[str, str]:
    """ansible-test keeps its environments under HOME, and looks for other Pythons on the PATH."""
    own = str(tools_dir() / "venv" / "bin")
    folders = [str(folder) for version, folder in context.pythons.items() if version != own_python()]
    rest = [part for part in context.env["PATH"].split(os.pathsep) if not part.endswith("/.pyenv/shims")]
    return {"HOME": str(context.home), "PATH": os.pathsep.join(dict.fromkeys([own, *folders, *rest]))}


def sanity_argv(context: Context) -> list[str]:
    # Pylint is a third of the time, so it runs beside the rest, as a linter of its own.
    return ["ansible-test", "sanity", "--color", "no", "--python", own_python(), "--skip-test", "pylint"]


def sanity_pylint_argv(context: Context) -> list[str]:
    return ["ansible-test", "sanity", "--color", "no", "--python", own_python(), "--test", "pylint"]


def sanity_pythons_argv(context: Context) -> list[str]:
    # One run serves all versions found on the PATH; ansible-test leaves out, with a warning, those that are absent.
    return ["ansible-test", "sanity", "--color", "no", "--test", "compile", "--test", "import"]


def mypy_argv(context: Context) -> list[str]:
    cache = ["--cache-dir", str(tools_dir() / "cache" / "mypy")]
    return ["mypy", *cache, "-p", "ansible_collections.mapswipe.walg.plugins"]


def mypy_tests_argv(context: Context) -> list[str]:
    cache = ["--cache-dir", str(tools_dir() / "cache" / "mypy-tests")]
    return ["mypy", *cache, "--python-version", "3.11", "tests/conftest.py", "tests/toolchain", "tests/lint"]


def antsibull_docs_argv(context: Context) -> list[str]:
    return ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "self", "."]


def nox(session: str) -> Callable[[Context], Sequence[str]]:
    """A session of noxfile.py, with its scratch files beside the tools."""
    return lambda context: ["nox", "--envdir", str(tools_dir() / "nox"), "-e", session]


def importer_env(context: Context) -> dict[str, str]:
    """Galaxy's importer pins what the linters want newer, so its programs have an environment of their own."""
    return {"PATH": os.pathsep.join([str(tools_dir() / "importer-venv" / "bin"), context.env["PATH"]])}


def shellcheck_argv(context: Context) -> list[str]:
    scenario = [f"molecule/container/files/{name}" for name in ("entry", "pg-service")]
    official = "tests/toolchain/official/docker-entrypoint.sh"
    return ["python", "tests/toolchain/shellcheck.py", *scenario, official, ".ci/run"]


def tests_argv(context: Context) -> list[str]:
    report = context.reports / "lint.xml"
    return ["python", "-m", "pytest", "-q", "tests/lint", f"--junitxml={report}"]


LINTERS = [
    Linter("sanity", 0, sanity_argv, sanity_env),
    Linter("sanity-pythons", 0, sanity_pythons_argv, sanity_env),
    Linter("sanity-pylint", 1, sanity_pylint_argv, sanity_env),
    Linter("ansible-lint", 0, lambda context: ["ansible-lint", "--profile", "production", "--offline", "--nocolor"]),
    Linter("antsibull-docs", 1, antsibull_docs_argv),
    Linter("extra-checks", 1, nox("extra-checks")),
    Linter("nox-config", 1, nox("antsibull-nox-config")),
    Linter("docs", 1, lambda context: ["python", str(HERE / "docs.py")]),
    Linter("antsibull-changelog", 1, lambda context: ["antsibull-changelog", "lint"]),
    Linter("mypy", 1, mypy_argv, lambda context: {"MYPYPATH": str(context.root)}),
    Linter("mypy-tests", 1, mypy_tests_argv, lambda context: {"MYPYPATH": str(context.root)}),
    Linter("ruff", 1, lambda context: ["ruff", "check", "--no-cache", "--output-format", "concise", "."]),
    Linter("shellcheck", 1, shellcheck_argv),
    Linter("yamllint", 1, nox("yamllint")),
    Linter("house", 1, tests_argv),
    # The session passes with what the importer only warns of.
    Linter("importer", 1, nox("build-import-check"), importer_env, r"\s*(WARNING|ERROR)"),
]


def run_one(linter: Linter, context: Context) -> Outcome:
    """Run one linter. A linter that cannot be started has failed."""
    start = time.monotonic()
    answer = subprocess.run(
        list(linter.argv(context)),
        cwd=context.collection,
        env={**context.env, **linter.env(context)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    complains = bool(linter.complaint and re.search(f"^{linter.complaint}", answer.stdout, re.MULTILINE))
    passed = answer.returncode == 0 and not complains
    return Outcome(linter.name, passed, time.monotonic() - start, answer.stdout)


def lint(only: str, reports: Path) -> bool:
    """Run all linters, or the one named `only`; prints a line for each, and the output of those that failed."""
    names = [linter.name for linter in LINTERS]
    if only == "list":
        print("\n".join(names))
        return True
    if only and only not in names:
        raise ToolError(f"ONLY={only}: no such linter; known: {', '.join(names)}")
    chosen = [linter for linter in LINTERS if only in ("", linter.name)]
    home = stage.lint_home(tools_dir() / "venv/bin/python")
    pythons = stage.target_pythons()

    importer = parts.importer_part()
    if any(linter.name == "importer" for linter in chosen) and not importer.current():
        importer.make()

    def run_lane(lane: int) -> list[Outcome]:
        root = stage.copy_root(f"lint{lane}")
        env = test_environment()
        env.update(
            PYTHONPATH=str(root),
            ANSIBLE_COLLECTIONS_PATH=str(root),
            ANSIBLE_HOME=str(tools_dir() / "lint-home" / f"ansible{lane}"),
            NO_COLOR="1",
        )
        context = Context(root, env, home, pythons, reports)
        outcomes = []
        for linter in chosen:
            if linter.lane == lane:
                outcome = run_one(linter, context)
                outcomes.append(outcome)
                note = f" (Python {', '.join(context.pythons)})" if linter.name == "sanity-pythons" else ""
                state = "ok" if outcome.passed else "FAILED"
                print(f"lint {outcome.name + note:<48} {outcome.seconds:6.1f} s  {state}", flush=True)
        return outcomes

    with ThreadPoolExecutor() as pool:
        outcomes = [outcome for lane in pool.map(run_lane, sorted({each.lane for each in chosen})) for outcome in lane]
    failed = [outcome for outcome in outcomes if not outcome.passed]
    for outcome in failed:
        print(f"\n--- {outcome.name} ---\n{outcome.output.rstrip()}")
    return not failed
