# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restored directory is registered with Debian's cluster tools, which never touch the directory itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _debian, _debian_entry
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster
from support.scripted import Call, Scripted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result

ME = User.current()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A restored cluster on a Debian host that never had it, we being root; no cluster is configured, /tmp is empty."""
    for name, part in (("ETC", "etc"), ("VAR", "var"), ("LIB", "lib")):
        monkeypatch.setattr(_debian, name, str(tmp_path / part))
    program = tmp_path / "lib" / "13" / "bin" / "postgres"
    for folder in (program.parent, tmp_path / "tmp", tmp_path / "var", tmp_path / "etc"):
        folder.mkdir(parents=True)
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setattr(_debian_entry.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(_debian_entry.os, "geteuid", lambda: 0)
    monkeypatch.setattr(_debian_entry, "_TEMPORARY", str(tmp_path / "tmp"))
    monkeypatch.setattr(_debian, "SOCKET_DIR", str(tmp_path))
    return Cluster(str(tmp_path / "var/13/main"), str(program.parent), str(tmp_path), "5433", os_user=ME.name)


def configure(name: str, text: str) -> None:
    folder = Path(_debian.ETC, "13", name)
    folder.mkdir(parents=True)
    (folder / "postgresql.conf").write_text(text)


def point(cluster: Cluster) -> Call:
    return Call(["pg_conftool", "13", "main", "set", "data_directory", cluster.data_dir], user=ME.name)


@dataclass
class Making(Scripted):
    """pg_createcluster's call has a directory in it that is made up at run time: it is `DATA` in `made`."""

    made: Sequence[str] = ()
    rc: int = 0

    def run(self, argv: Sequence[str], **options: Any) -> Result:
        if argv[0] == "pg_createcluster":
            data = Path(argv[argv.index("--datadir") + 1])
            assert data.parent.stat().st_mode & 0o777 == 0o700
            assert Path(_debian.ETC, "13", "main").is_dir()
            self.made = ["DATA" if word == str(data) else word for word in argv]
            self.calls.insert(len(self.timeouts), Call(argv, rc=self.rc, stderr="initdb: no locale", user=ME.name))
        return super().run(argv, **options)


def test_registered_by_a_cluster_made_elsewhere(cluster: Cluster, tmp_path: Path) -> None:
    runner = Making(calls=[point(cluster)])
    made = {"cluster": "13/main", "config_dir": f"{_debian.ETC}/13/main", "port": "5433"}
    assert _debian_entry.register(runner, cluster) == {"registered": made}
    assert runner.made == ["pg_createcluster", "--datadir", "DATA", "--port", "5433", "--user", ME.name, "13", "main"]
    runner.finish()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_socket_directory_of_its_own_is_handed_on(cluster: Cluster) -> None:
    other = Cluster(cluster.data_dir, cluster.bin_dir, "/srv/sockets", os_user=ME.name)
    runner = Making(calls=[point(cluster)])
    _debian_entry.register(runner, other)
    assert list(runner.made[-4:]) == ["--socketdir", "/srv/sockets", "13", "main"]


def test_what_is_registered_is_left_alone(cluster: Cluster) -> None:
    configure("main", "data_directory = '/srv/elsewhere'\n")
    assert _debian_entry.register(Scripted(), cluster) == {}


def test_a_killed_registration_is_finished(cluster: Cluster) -> None:
    configure("main", "port = 5433\ndata_directory = '/tmp/mapswipe-walg-register-x7/data'\t# use data in another\n")
    runner = Scripted(calls=[point(cluster)])
    assert _debian_entry.register(runner, cluster)["registered"]["cluster"] == "13/main"
    runner.finish()


def test_other_layouts_and_hosts_need_none(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _debian_entry.register(Scripted(), Cluster("/srv/pg", cluster.bin_dir, cluster.socket_dir)) == {}
    monkeypatch.setattr(_debian_entry.shutil, "which", lambda name: None)
    assert _debian_entry.register(Scripted(), cluster) == {}


def test_a_taken_port_is_refused(cluster: Cluster) -> None:
    configure("other", "data_directory = '/srv/pg'\nport = 5433\n")
    with pytest.raises(WalgError, match=r"port 5433 belongs to the cluster 13/other \(/srv/pg\)\. Set walg_pg_port"):
        _debian_entry.wanted(cluster)


def test_only_root_can(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_debian_entry.os, "geteuid", lambda: 1000)
    with pytest.raises(WalgError, match=r"only root can make it: run as root"):
        _debian_entry.wanted(cluster)


def test_a_failure_leaves_nothing_behind_and_says_why(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(WalgError, match=r"Debian's tools: `pg_createcluster .*` ended with 1: initdb: no locale"):
        _debian_entry.register(Making(rc=1), cluster)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_parent_that_debian_would_make_is_made(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_debian_entry.os, "geteuid", os.geteuid)
    parent = Path(cluster.data_dir).parent
    assert _debian_entry.parent_can_be_made(cluster)
    _debian_entry.make_parent(cluster)
    _debian_entry.make_parent(cluster)
    assert parent.stat().st_mode & 0o777 == 0o755
    elsewhere = Cluster(f"{_debian.VAR}/12/main", cluster.bin_dir, cluster.socket_dir, os_user=ME.name)
    _debian_entry.make_parent(elsewhere)
    assert sorted(Path(_debian.VAR).iterdir()) == [parent]
    parent.rmdir()
    Path(_debian.VAR).rmdir()
    assert not _debian_entry.parent_can_be_made(cluster)
