# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks are counted: how many were tried, how many were won. The sum is printed at the end; one that is won fails its test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.attackers import Tally, attackers
from support.forked import ForkingSandbox
from support.sandbox import Sandbox, load_tools
from support.victims import Victims, victims

#: Only root can be led to do what the attacker can't.
NEED_ROOT = ["races", "places", "held_up", "secrets_readable", "whose_cluster"]
NEED_ROOT += ["restore_places", "restore_memory", "restore_held_up"]
LEFT_OUT = [] if os.geteuid() == 0 else [f"test_{name}.py" for name in NEED_ROOT]
collect_ignore = list(LEFT_OUT)


HERE = Tally()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add up what the workers of pytest-xdist report."""
    tried, won = getattr(node, "workeroutput", {}).get("attacks", (0, 0))
    HERE.tried, HERE.won = HERE.tried + tried, HERE.won + won


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["attacks"] = (HERE.tried, HERE.won)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"attacks: {HERE.tried} tried, {HERE.won} won")
    if LEFT_OUT:
        terminalreporter.write_line(f"not run without root: {', '.join(LEFT_OUT)}")


@pytest.fixture
def tally() -> Iterator[Tally]:
    """The test's own count; all that it won is told at its end."""
    mine = Tally()
    yield mine
    HERE.tried, HERE.won = HERE.tried + mine.tried, HERE.won + mine.won
    assert mine.tried > 0, "no attack was tried"
    assert mine.won == 0, f"{mine.won} of {mine.tried} attacks were won"


@pytest.fixture(params=attackers(), ids=str)
def attacker(request: pytest.FixtureRequest) -> str:
    """The database user, and another one."""
    return str(request.param)


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    """A directory of root's that everybody can pass."""
    for one in (tmp_path, *tmp_path.parents):
        if one.stat().st_uid == os.geteuid() and one.name.startswith(("pytest", "popen", "test")):
            one.chmod(0o755)
    return tmp_path


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Modules are run in it as they are in a play."""
    made = ForkingSandbox(load_tools())
    yield made
    made.close()


@pytest.fixture(scope="module")
def them(sandbox: Sandbox) -> Iterator[Victims]:
    """What a restore must leave alone."""
    with victims(sandbox.root / "victims", sandbox.user) as made:
        yield made
