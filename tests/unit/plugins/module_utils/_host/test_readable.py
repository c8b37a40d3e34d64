# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that end a base backup: those that its owner can't read, and sockets; not those that WAL-G leaves out."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _readable
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("data/base/1", "data/pg_tblspc", "data/pg_wal", "data/log", "space/PG_14_1", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "data" / "pg_tblspc" / "16390").symlink_to(tmp_path / "space")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    return tmp_path / "data"


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is called so can't be read; root could read anything."""
    monkeypatch.setattr(os, "access", lambda path, _mode: os.path.basename(path) not in ("closed", "lost+found"))


def rejected(data: Path) -> WalgError:
    with pytest.raises(WalgError) as caught:
        _readable.refuse_closed(str(data), User.current())
    return caught.value


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize("where", ["base/1/closed", "closed", "pg_tblspc/16390/PG_14_1/closed"])
def test_a_file_that_is_closed(data: Path, where: str) -> None:
    (data / where).touch()
    error = rejected(data)
    assert error.fields["found"] == [str(data / where)]
    assert error.msg.endswith(
        f"Move it out of the data directory, or let {User.current().name!r} read what belongs to the cluster."
    )


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize("where", ["pg_wal/closed", "log/closed", "base/pgsql_tmp", "link/closed"])
def test_what_wal_g_leaves_out_may_be_closed(data: Path, where: str) -> None:
    (data / where).touch()
    _readable.refuse_closed(str(data), User.current())


@pytest.mark.usefixtures("closed")
def test_several_are_named_but_not_all(data: Path) -> None:
    for number in range(9):
        (data / "base" / str(number + 10)).mkdir()
        (data / "base" / str(number + 10) / "closed").touch()
    error = rejected(data)
    assert len(error.fields["found"]) == 5
    assert "Move them out of the data directory" in error.msg


@pytest.mark.usefixtures("closed")
def test_the_file_systems_own_directory(data: Path) -> None:
    (data / "lost+found").mkdir()
    assert "While it is empty, remove it as root with rmdir" in rejected(data).msg


def test_a_socket(data: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(data / "s"))
        error = rejected(data)
    assert f"{data}/s: WAL-G ends a base backup at a socket" in error.msg
    (data / "s").unlink()
    _readable.refuse_closed(str(data), User.current())
