# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's layout of clusters, in directories of the tests' own, and how it tells which cluster is meant."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import (
    _data_dir,
    _debian,
    _discovery,
    _servers,
    _supervisor,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster

#: Whose a cluster of the tests' own is: root's is taken for that of Debian's user.
ME = "postgres" if os.geteuid() == 0 else User.current().name
RUNS = Cluster("/data/up", "/usr/lib/postgresql/14/bin", "/run/pg", service="pg_ctl")


@dataclass
class Host:
    """A Debian host below a directory."""

    root: Path

    def install(self, version: str) -> None:
        path = self.root / "lib" / version / "bin" / "postgres"
        path.parent.mkdir(parents=True)
        path.write_text("")
        path.chmod(0o755)

    def configure(self, version: str, name: str, text: str) -> Path:
        path = self.root / "etc" / version / name
        path.mkdir(parents=True)
        (path / "postgresql.conf").write_text(text)
        return path

    def data_dir(self, version: str, name: str) -> str:
        return str(self.root / "var" / version / name)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    for name, part in (("ETC", "etc"), ("VAR", "var"), ("LIB", "lib")):
        monkeypatch.setattr(_debian, name, str(tmp_path / part))
    monkeypatch.setattr(_supervisor, "systemd_runs", lambda: False)
    monkeypatch.setattr(_discovery, "running", lambda *_asked: [])
    monkeypatch.setattr(_servers, "working_servers", list)
    return Host(tmp_path)


def find(given: dict[str, Any] | None = None, recorded: Cluster | None = None) -> Cluster:
    return _discovery.find(Runner(), given or {}, recorded)


CONF = """\
# data_directory = '/commented'
data_directory = '{data}'   # use data in another directory
port = 5433  # (change requires restart)
Unix_Socket_Directories '/var/run/orders, @abstract'
"""


@pytest.mark.parametrize(
    ("systemd", "service"), [(True, "systemd:postgresql@13-main.service"), (False, "pg_ctlcluster:13/main")]
)
def test_the_only_cluster_is_found_though_it_is_lost(
    host: Host, monkeypatch: pytest.MonkeyPatch, systemd: bool, service: str
) -> None:
    monkeypatch.setattr(_supervisor, "systemd_runs", lambda: systemd)
    host.install("13")
    data = host.data_dir("13", "main")
    host.configure("13", "main", CONF.format(data=data))
    assert find() == Cluster(
        data,
        f"{host.root}/lib/13/bin",
        "/var/run/orders",
        port="5433",
        os_user=ME,
        service=service,
        config_file=f"{host.root}/etc/13/main/postgresql.conf",
    )
    assert find({"data_dir": data}) == find()
    assert find({"port": 5555, "service": "none"}).port == "5555"


def test_its_identifier_is_read_where_it_still_lies_there(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    look = _data_dir.inspect
    monkeypatch.setattr(
        _data_dir, "inspect", lambda path, _owner: look(path, None)
    )  # whom pytest's directories keep out
    host.install("13")
    data = Path(host.data_dir("13", "main"))
    (data / "global").mkdir(parents=True)
    (data / "global" / "pg_control").write_bytes((4711).to_bytes(8, "little") + b"\0" * 100)
    host.configure("13", "main", CONF.format(data=data))
    assert find().system_identifier == "4711"


def test_what_stands_in_conf_d_counts(host: Host) -> None:
    host.install("13")
    path = host.configure("13", "main", f"data_directory = '{host.data_dir('13', 'main')}'\ninclude_dir = 'conf.d'\n")
    (path / "conf.d").mkdir()
    (path / "conf.d" / "a.conf").write_text("port = 6000\n")
    (path / "conf.d" / "b.conf").write_text("port = 6001\nunix_socket_directories = '@only, /run/x'\n")
    (path / "conf.d" / "c.conf.off").write_text("port = 6002\n")
    assert (find().port, find().socket_dir) == ("6001", "/run/x")


@pytest.mark.parametrize(
    ("version", "text"),
    [
        ("12", "data_directory = '/var/lib/postgresql/12/main'\n"),  # its programs are gone
        ("13", "port = 5432\n"),
        ("13", "data_directory = 'relative'\n"),
        ("old", "data_directory = '/x'\n"),
    ],
)
def test_what_is_no_cluster_is_passed_over(host: Host, version: str, text: str) -> None:
    host.install("13")
    host.configure(version, "main", text)
    assert _debian.configured() == []


def test_several_are_listed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_discovery, "running", lambda *_asked: [RUNS])
    assert find() == RUNS
    host.install("13")
    host.configure("13", "main", "data_directory = '/data/down'\n")
    with pytest.raises(WalgError) as caught:
        find()
    assert caught.value.msg == (
        "Which PostgreSQL cluster should be used? Found here: /data/up (runs, port 5432, pg_ctl); /data/down (does not run, "
        "port 5432, pg_ctlcluster:13/main). Set walg_pg_data_dir to one of them."
    )
    assert caught.value.fields == {"found": ["/data/up", "/data/down"]}
    assert find({"data_dir": "/data/up"}) == RUNS
    assert find({"data_dir": "/data/down"}).service == "pg_ctlcluster:13/main"


def test_servers_of_others_are_named_not_taken(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_servers, "working_servers", lambda: [(4711, "/home/other/data", 65534)])
    monkeypatch.setattr(_discovery._whose, "believed", set)
    with pytest.raises(WalgError, match=r"servers work in '/home/other/data' of nobody\.$"):
        find()


def test_a_running_one_is_not_counted_twice(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_discovery, "running", lambda *_asked: [RUNS])
    host.install("14")
    host.configure("14", "main", "data_directory = '/data/up/'\n")
    assert find() == RUNS


@pytest.mark.parametrize(
    ("installed", "text"),
    [
        (
            [],
            r"Found here: none\. Set walg_pg_data_dir \(and walg_pg_bin_dir, walg_pg_socket_dir\), or start the server",
        ),
        (
            ["9.6", "13", "9", "15"],
            r"PostgreSQL 9, 13, 15 is installed: set walg_pg_data_dir, for example .*/var/15/main",
        ),
    ],
)
def test_none(host: Host, installed: list[str], text: str) -> None:
    for version in installed:
        host.install(version)
    with pytest.raises(WalgError, match=text):
        find()


def test_a_host_that_never_had_the_cluster(host: Host) -> None:
    host.install("13")
    data = host.data_dir("13", "main")
    assert find({"data_dir": f"{data}/"}) == Cluster(
        data_dir=f"{data}/",
        bin_dir=f"{host.root}/lib/13/bin",
        socket_dir="/var/run/postgresql",
        service="pg_ctlcluster:13/main",
    )
    host.configure("13", "other", "data_directory = '/data/other'\nport = 5432\n")
    assert find({"data_dir": data}).port == "5433"  # as pg_createcluster would choose


@pytest.mark.parametrize("path", ["/elsewhere/13/main", "{var}/13", "{var}/13/main/x", "{var}/x/main", "{var}/13/a b"])
def test_other_paths_say_nothing(host: Host, path: str) -> None:
    host.install("13")
    assert _debian.by_convention(path.format(var=host.root / "var")) is None


def test_missing_packages_are_named(host: Host) -> None:
    host.install("15")
    with pytest.raises(WalgError, match=r"it is of PostgreSQL 13, but 15 is installed here: install postgresql-13\."):
        find({"data_dir": host.data_dir("13", "main")})
    with pytest.raises(WalgError, match=r"set walg_pg_bin_dir and walg_pg_socket_dir too, or start it\.$"):
        find({"data_dir": "/elsewhere"})


def test_a_recorded_one_that_does_not_run_is_as_recorded(host: Host) -> None:
    host.install("13")
    host.configure("13", "main", "data_directory = '/data/down'\n")
    recorded = Cluster("/data/down", "/bin", "/run", service="systemd:pg.service", system_identifier="1")
    assert find({}, recorded) == recorded
    assert find({"data_dir": "/data/down"}, recorded) == recorded
    debian = replace(recorded, service="pg_ctlcluster:13/main")
    completed = replace(debian, config_file=f"{host.root}/etc/13/main/postgresql.conf")
    assert find({}, debian) == find({}, completed) == completed


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-c config_file={etc}/13/main/postgresql.conf", "pg_ctlcluster:13/main"),
        ("-c 'unix_socket_directories=/r' -c config_file={etc}/13/main/postgresql.conf", "pg_ctlcluster:13/main"),
        ("-c config_file={etc}/13/main/postgresql.conf -c archive_mode=off", ""),  # it would be lost
        ("-c config_file={etc}/13/main/postgresql.conf -p 5433", ""),
        ("-c config_file=/elsewhere/postgresql.conf", ""),
        ("", ""),
    ],
)
def test_who_started_a_running_one(host: Host, monkeypatch: pytest.MonkeyPatch, options: str, expected: str) -> None:
    host.install("13")
    host.configure("13", "main", "data_directory = '/data/up'\n")
    cluster = Cluster("/data/up", "/bin", "/run", start_options=options.format(etc=host.root / "etc"))
    assert _debian.of_running(cluster) == expected
    monkeypatch.setattr(_supervisor, "systemd_runs", lambda: True)
    assert _debian.of_running(cluster) == ""
