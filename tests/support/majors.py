# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PostgreSQLs that a test file runs with, one after the other. The collection's own rule says which of them the WAL-G
under test can't back up; those are skipped with its words, so that the end of a run shows them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _compatibility, _releases
from locations import pg_majors

from .sandbox import CHECKOUT, load_tools


@cache
def _version() -> tuple[int, int, int] | None:
    argv = [load_tools()["walg_binary"], "--version"]
    return _releases.parse_version_output(
        subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    ).version


def refusal(major: int) -> str:
    """Return why the WAL-G under test can't back up this PostgreSQL; empty if it can."""
    return " ".join(_compatibility.check_pair(_version(), major, "file", _compatibility.BACKUP))


def each_major(left_out: Mapping[int, str] | None = None) -> list[Any]:
    """Return a test's parameters: one for each PostgreSQL, skipped with the reason where it is refused or left out."""
    parameters = []
    for major in pg_majors():
        why = refusal(major) or (left_out or {}).get(major)
        parameters.append(pytest.param(major, id=f"pg{major}", marks=[pytest.mark.skip(reason=why)] if why else []))
    return parameters


def tools_for(major: int) -> dict[str, Any]:
    """Return the tools with this PostgreSQL, which is installed first where it is missing."""
    argv = [sys.executable, str(CHECKOUT / "tests" / "toolchain" / "tools.py"), "install"]
    # A run that began with one WAL-G ends with it: nothing is asked for meanwhile.
    env = {**os.environ, "PG_MAJOR": str(major), "WALG_BINARY": load_tools()["walg_binary"]}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"PostgreSQL {major} can't be installed: {done.stderr}"
    tools = load_tools()
    return {**tools, "pg_bin_dir": tools["pg_bin_dirs"][str(major)], "pg_major": major}
