# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a cluster is; with other users' processes and links in tests/attacks/test_whose_cluster.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _whose
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster

REFUSE_OTHER = _whose.refuse_other
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def cluster(path: Path, user: str) -> Cluster:
    return Cluster(str(path), "/bin", "/run", os_user=user)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made = tmp_path / "d"
    made.mkdir()
    (made / "PG_VERSION").write_text("14\n")
    return made


def test_nobody_owns_what_is_not_there(tmp_path: Path) -> None:
    assert _whose.owner_of(str(tmp_path / "none")) is None
    REFUSE_OTHER(cluster(tmp_path / "none", "nobody"))


@as_root
def test_what_root_made_for_a_restore_is_nobodys_yet(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    assert _whose.owner_of(str(tmp_path)) is None
    (tmp_path / "base").mkdir()
    with pytest.raises(WalgError, match=r"belongs to root, and PostgreSQL does not run as root.*chown nobody"):
        REFUSE_OTHER(cluster(tmp_path, "nobody"))


@as_root
def test_the_directory_itself_counts_and_not_what_is_in_it(data: Path) -> None:
    os.chown(data, NOBODY, -1)
    found = _whose.owner_of(str(data))
    assert found
    assert found.uid == NOBODY
    REFUSE_OTHER(cluster(data, "nobody"))
    REFUSE_OTHER(cluster(data, str(NOBODY)))
    with pytest.raises(WalgError, match=r"belongs to 'nobody', not to 'daemon'\. Leave walg_pg_os_user out, or set"):
        REFUSE_OTHER(cluster(data, "daemon"))


@pytest.mark.parametrize("name", ["root", "0"])
def test_root_owns_no_cluster(data: Path, name: str) -> None:
    with pytest.raises(WalgError, match="PostgreSQL does not run as root: name the user"):
        REFUSE_OTHER(cluster(data, name))


def test_whose_clusters_are_found_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    me = os.geteuid()
    if me != 0:
        assert _whose.believed() == {me}
    monkeypatch.setattr(_whose.os, "geteuid", lambda: 0)
    monkeypatch.setattr(_whose, "PACKAGED", ("root", "daemon", "no such user"))
    monkeypatch.setattr(_whose, "user_of", lambda _pid: 1001)
    assert _whose.believed() == {1001, User.by_name("daemon").uid}
