# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused before anything is installed; with real servers in tests/integration/test_preflight.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _data_dir
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._data_dir import DataDir
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._server import Server
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _preflight
from support.scripted import Call, Scripted

UP = DataDir("/d", "cluster", major=14, pid=4711)
STATES = [
    # (what lies there, what is said, what it advises)
    (UP, None, None),
    (DataDir("/d", "absent"), "There is no data directory /d", "mapswipe.walg.restore"),
    (DataDir("/d", "empty"), "/d is empty", "mapswipe.walg.restore"),
    (DataDir("/d", "other"), "/d holds no PostgreSQL cluster", "correct walg_pg_data_dir"),
    (DataDir("/d", "damaged", major=14), "/d holds only parts of a PostgreSQL cluster", "mapswipe.walg.restore"),
    (
        DataDir("/d", "cluster", major=13, pid=1),
        "/d is of PostgreSQL 13, but the programs in /bin are of 14",
        "walg_pg_bin",
    ),
    (DataDir("/d", "cluster", major=14), "No server runs on /d", "Start it (systemd:pg.service)"),
]


@pytest.mark.parametrize(("there", "text", "advice"), STATES, ids=[f"{row[0].kind}-{row[0].major}" for row in STATES])
def test_a_data_directory_without_a_server(
    monkeypatch: pytest.MonkeyPatch, there: DataDir, text: str | None, advice: str | None
) -> None:
    cluster = Cluster("/d", "/bin", "/run", os_user=User.current().name, service="systemd:pg.service")
    monkeypatch.setattr(_data_dir, "inspect", lambda _path, _user: there)
    monkeypatch.setattr(Server, "ready", lambda _self: False)
    if text is None or advice is None:
        _preflight.refuse_no_server(Scripted(), cluster, 14)
        return
    with pytest.raises(WalgError) as caught:
        _preflight.refuse_no_server(Scripted(), cluster, 14)
    assert text in caught.value.msg
    assert advice in caught.value.msg


def test_a_server_of_another_container_answers_at_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_data_dir, "inspect", lambda _path, _user: DataDir("/d", "cluster", major=14))
    monkeypatch.setattr(Server, "ready", lambda _self: True)
    _preflight.refuse_no_server(Scripted(), Cluster("/d", "/bin", "/run", os_user=User.current().name), 14)


def test_a_restore_may_find_nothing_and_a_prepared_host_too(tmp_path: Path) -> None:
    cluster = Cluster(str(tmp_path / "gone"), "/bin", "/run", os_user=User.current().name)
    version = Call(["/bin/postgres", "-V"], stdout="postgres (PostgreSQL) 14.23\n")
    for purpose in ("restore", None):
        _preflight.check(Scripted(calls=[version]), cluster, "3.0.8", "file:///x", purpose)
    with pytest.raises(WalgError, match="There is no data directory"):
        _preflight.check(Scripted(calls=[version]), cluster, "3.0.8", "file:///x", "backup")


def test_a_manager_does_not_hinder_a_host_that_is_only_prepared(tmp_path: Path) -> None:
    (tmp_path / "patroni.dynamic.json").write_text("")
    cluster = Cluster(str(tmp_path), "/bin", "/run", os_user=User.current().name)
    version = Call(["/bin/postgres", "-V"], stdout="postgres (PostgreSQL) 14.23\n")
    _preflight.check(Scripted(calls=[version]), cluster, None, None, None)
    with pytest.raises(WalgError, match="is managed by Patroni"):
        _preflight.check(Scripted(calls=[version]), cluster, None, None, "restore")
