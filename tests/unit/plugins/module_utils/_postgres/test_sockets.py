# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a running server is reached: its own socket before an address, and never an abstract one alone."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _sockets
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._data_dir import DataDir

ME = User.current()


@pytest.fixture
def looked(tmp_path: Path) -> DataDir:
    """A server that this process stands in for; it says where its first socket is, and listens nowhere."""
    for name in ("data", "first", "second"):
        (tmp_path / name).mkdir()
    return DataDir(str(tmp_path / "data"), "cluster", pid=os.getpid(), port="5433", socket_dir=str(tmp_path / "first"))


def pid_file(looked: DataDir, address: str) -> None:
    Path(looked.path, "postmaster.pid").write_text(f"{os.getpid()}\n{looked.path}\n0\n5433\n\n{address}\n")


def listen(directory: Path, port: str = "5433") -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(directory / f".s.PGSQL.{port}"))
    made.listen()
    return made


def test_the_first_socket_of_its_pid_file(looked: DataDir, tmp_path: Path) -> None:
    with listen(tmp_path / "first"), listen(tmp_path / "second"):
        assert _sockets.reached(looked, ME) == str(tmp_path / "first")


def test_another_of_its_sockets(looked: DataDir, tmp_path: Path) -> None:
    """The pid file names the first one alone, which may be abstract, or gone with its directory."""
    with listen(tmp_path / "second"):
        for first in (looked.socket_dir, "@abstract", ""):
            assert _sockets.reached(replace(looked, socket_dir=first), ME) == str(tmp_path / "second")
        assert _sockets.reached(replace(looked, port="5434"), ME) == looked.socket_dir, "of another port it is not"


@pytest.mark.parametrize(
    ("address", "host"), [("*", "localhost"), ("0.0.0.0", "localhost"), ("::", "localhost"), ("10.0.0.7", "10.0.0.7")]
)
def test_else_its_address(looked: DataDir, address: str, host: str) -> None:
    pid_file(looked, address)
    assert _sockets.reached(replace(looked, socket_dir="@abstract"), ME) == host


def test_where_nothing_else_is_known_the_abstract_one_is_shown_and_rejected(looked: DataDir) -> None:
    assert _sockets.reached(replace(looked, socket_dir="@abstract"), ME) == "@abstract"
    pid_file(looked, "")
    assert _sockets.reached(replace(looked, socket_dir="@abstract", pid=0), ME) == "@abstract"
    cluster = Cluster("/data", "/bin", "@abstract")
    with pytest.raises(WalgError, match="for example '@abstract, /tmp'"):
        _sockets.refuse_abstract(cluster)
    _sockets.refuse_abstract(replace(cluster, socket_dir="/run"))
