# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock on a base backup, held by real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _locks


def test_second_holder_is_refused_and_told_which_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "backup.lock")
    message = "A base backup is already running"
    with (
        _locks.locked(path, "A base backup"),
        pytest.raises(_locks.LockedError, match=message),
        _locks.locked(path, "A base backup"),
    ):
        raise AssertionError("held twice")
    with _locks.locked(path, "A base backup"):
        pass


def test_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    path = str(tmp_path / "backup.lock")
    with pytest.raises(ValueError, match="x"), _locks.locked(path, "It"):
        raise ValueError("x")
    with _locks.locked(path, "It"):
        pass


def test_the_kernel_gives_it_back_when_the_holder_is_killed(tmp_path: Path) -> None:
    path = str(tmp_path / "backup.lock")
    code = "import fcntl, os, sys, time; h = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600); fcntl.flock(h, 2); "
    code += "print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(_locks.LockedError), _locks.locked(path, "It"):
            raise AssertionError("held twice")
        holder.kill()
    with _locks.locked(path, "It"):
        pass


def test_a_program_started_meanwhile_does_not_keep_it(tmp_path: Path) -> None:
    """WAL-G may leave a child behind; with an inherited descriptor it would hold the lock on."""
    path = str(tmp_path / "backup.lock")
    with _locks.locked(path, "It"):
        argv = ["/bin/sh", "-c", "echo started; exec sleep 60"]
        child = subprocess.Popen(argv, close_fds=False, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "started\n"
    try:
        with _locks.locked(path, "It"):
            pass
    finally:
        child.kill()
        child.communicate()


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "backup.lock").symlink_to(victim)
    with pytest.raises((OSError, WalgError)), _locks.locked(str(tmp_path / "backup.lock"), "It"):
        raise AssertionError("followed")
    assert victim.read_text() == "precious"
