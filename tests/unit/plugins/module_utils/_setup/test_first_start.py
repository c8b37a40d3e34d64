# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The empty data directory of a new container; tests/containers has it with a real one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _inside
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _whose
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _first_start

REFUSE_OTHER = _whose.refuse_other
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def inside() -> Iterator[None]:
    """Work in a container, as far as the library can tell."""
    mine, theirs = socket.socketpair()
    _inside.enter(_inside.Inside(_inside.Line(mine), "machine kit", False))
    yield
    _inside._current.clear()
    mine.close()
    theirs.close()


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own directory is closed to other users."""
    monkeypatch.setattr(_first_start, "call_as", lambda _user, call, *arguments: call(*arguments))


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.usefixtures("reachable")
def test_an_open_one_is_closed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o1777)
    if os.geteuid() == 0:
        os.chown(data, NOBODY, NOBODY)
    _first_start.close(str(data), User.by_uid(NOBODY))
    assert mode(data) == 0o700


@as_root
def test_one_of_roots_is_given_to_the_servers_user(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(0o755)
    _first_start.close(str(data), User.by_uid(NOBODY))
    assert (data.stat().st_uid, mode(data)) == (NOBODY, 0o700)


def test_one_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").touch()
    before = mode(tmp_path)
    _first_start.close(str(tmp_path), User.by_uid(NOBODY))
    _first_start.close(str(tmp_path / "none"), User.by_uid(NOBODY))
    assert (tmp_path.stat().st_uid, mode(tmp_path)) == (os.geteuid(), before)


@as_root
@pytest.mark.usefixtures("inside")
def test_an_open_one_is_believed_in_a_container_as_long_as_it_is_empty(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o1777)
    os.chown(data, NOBODY, NOBODY)
    cluster = Cluster(str(data), "/bin", "/run", os_user="nobody")
    REFUSE_OTHER(cluster)
    (data / "PG_VERSION").touch()
    with pytest.raises(WalgError, match="Everybody can make files in"):
        REFUSE_OTHER(cluster)
    (data / "PG_VERSION").unlink()
    _inside._current.clear()
    with pytest.raises(WalgError, match="Everybody can make files in"):
        REFUSE_OTHER(cluster)
