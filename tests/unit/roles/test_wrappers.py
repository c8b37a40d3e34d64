# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both wrappers as they are installed: put together from parts, each one file, and replaced while PostgreSQL calls them."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._job import _wal_head, _wrappers
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _wal_page
from host_wrappers import SHELLS

TEXTS = _wrappers.texts()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", TEXTS)
def test_every_shell_can_read_it(name: str, shell: str) -> None:
    answer = subprocess.run(
        [*SHELLS[shell], "-n"], input=TEXTS[name], capture_output=True, text=True, check=False, timeout=30
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


@pytest.mark.parametrize("name", TEXTS)
def test_it_is_one_file_that_says_what_it_is(name: str) -> None:
    text = TEXTS[name]
    top = text[: text.index("set -uf")].splitlines()
    assert top[0] == "#!/bin/sh"
    assert any(line.startswith("# Managed by the Ansible collection mapswipe.walg") for line in top)
    assert any(line.startswith(f"# {name} ") for line in top)
    sourced = set(re.findall(r"^\s*\. (.*?) \|\|", text, re.MULTILINE))
    assert sourced == {'"$envfile"', '"$planfile"'} & sourced
    assert re.findall(r"^\s*(?:source|\.) ", text, re.MULTILINE) == ["    . "] * len(sourced)


def test_what_both_do_is_written_once() -> None:
    for text in TEXTS.values():
        assert text.count(_wal_head.TEXT) == 1
    defined = {name: re.findall(r"^(\w+)\(\) \{", text, re.MULTILINE) for name, text in TEXTS.items()}
    shared = re.findall(r"^(\w+)\(\) \{", _wal_head.TEXT, re.MULTILINE)
    assert set(defined["wal-push"]) & set(defined["wal-fetch"]) == set(shared)
    for functions in defined.values():
        assert len(functions) == len(set(functions))


def test_the_header_of_a_wal_page_is_described_once() -> None:
    """Shell has no numbers of its own for it."""
    assert f"sysid_at={_wal_page.IDENTIFIER_AT}\nsysid_size={_wal_page.IDENTIFIER_SIZE}\n" in TEXTS["wal-push"]
    assert "od " not in TEXTS["wal-fetch"]
    (reading,) = re.findall(r"\bod .*", TEXTS["wal-push"])
    assert re.findall(r"\d+", reading) == []


# A shell reads a script bit by bit: one that was written over in place would go on in the midst of another line.
INSTALL = """
import os, sys
from ansible_collections.mapswipe.walg.plugins.module_utils._job import _programs, _wrappers
number = int(sys.argv[2])
text = "#!/bin/sh\\n" + f": {number}\\n" * (2000 + number) + f"echo {number} $#\\n"
_wrappers.texts = lambda: {"wal-push": text}
for plan in _programs.plan(sys.argv[1], sys.executable, os.geteuid(), os.getegid()):
    if plan.differs():
        plan.apply()
"""


def test_a_call_during_an_upgrade_runs_one_version_whole(tmp_path: Path) -> None:
    """The archiver's calls follow each other while eight versions are installed, each over the one before and longer than it."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    wrapper = tmp_path / "wal-push"

    def install(number: int) -> None:
        subprocess.run([sys.executable, "-c", INSTALL, str(tmp_path), str(number)], check=True, env=env, cwd="/")

    install(0)
    answers: list[tuple[int, str]] = []
    done = threading.Event()

    def call() -> None:
        while not done.is_set():
            argv = [str(wrapper), "/etc/main.env", "pg_wal/A"]
            got = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            answers.append((got.returncode, got.stdout))

    callers = [threading.Thread(target=call) for _number in range(2)]
    for caller in callers:
        caller.start()
    for number in range(1, 9):
        install(number)
    done.set()
    for caller in callers:
        caller.join()
    assert len(answers) > 8
    assert set(answers) <= {(0, f"{number} 2\n") for number in range(9)}
    assert stat.S_IMODE(wrapper.stat().st_mode) == 0o755
