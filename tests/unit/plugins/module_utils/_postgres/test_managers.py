# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who owns a data directory: files, processes, units and configurations of the tests' own, and none on a plain host."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _proc
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _ha_managers, _servers
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster


@dataclass
class Host:
    """A host whose configuration lies below a directory."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "var" / "13" / "main"

    def cluster(self, service: str = "pg_ctl") -> Cluster:
        return Cluster(str(self.data), "/bin", "/run", os_user=User.current().name, service=service)

    def write(self, path: str, text: str) -> str:
        """Write a file; DATA stands for the data directory, ROOT for the host's root."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("DATA", str(self.data)).replace("ROOT", str(self.root)))
        return str(file)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    (made.data / "base").mkdir(parents=True)
    below = [
        replace(one, configs=[str(tmp_path) + pattern for pattern in one.configs]) for one in _ha_managers.MANAGERS
    ]
    monkeypatch.setattr(_ha_managers, "MANAGERS", below)
    monkeypatch.setattr(_ha_managers, "_UNIT_FILES", [str(tmp_path / "units" / "*.service")])
    monkeypatch.setattr(_ha_managers, "_processes", lambda *_who: [])
    return made


@pytest.mark.parametrize("name", ["", "pg_ctl", "systemd:postgresql@13-main.service"])
def test_a_plain_host_has_none(host: Host, name: str) -> None:
    assert _ha_managers.find(host.cluster(name)) is None
    _ha_managers.refuse(host.cluster(name))


def test_this_very_host_has_none(tmp_path: Path) -> None:
    assert _ha_managers.find(Cluster(str(tmp_path), "/bin", "/run", os_user=User.current().name)) is None


OWN_FILES = [
    ("patroni.dynamic.json", "Patroni"),
    ("postgresql-auto-failover.conf", "pg_auto_failover"),
    ("postgresql-auto-failover-standby.conf", "pg_auto_failover"),
]


@pytest.mark.parametrize(("name", "manager"), OWN_FILES)
def test_its_own_file_in_the_data_directory(host: Host, name: str, manager: str) -> None:
    (host.data / name).write_text("")
    with pytest.raises(WalgError) as caught:
        _ha_managers.refuse(host.cluster())
    assert caught.value.msg.startswith(f"{host.data} is managed by {manager} ({host.data / name}): it")
    assert caught.value.msg.endswith(f". If {manager} no longer manages it, remove what the brackets name.")
    assert caught.value.fields == {"manager": manager, "evidence": str(host.data / name)}


def test_stolons_files_lie_beside(host: Host) -> None:
    (host.data.parent / "keeperstate").write_text("")
    assert _ha_managers.find(host.cluster()) is None
    (host.data.parent / "dbstate").write_text("")
    found = _ha_managers.find(host.cluster())
    assert found
    assert (found[0].name, found[1]) == ("Stolon", str(host.data.parent / "keeperstate"))


CONFIGS = [
    # (path, text, service, the manager)
    ("etc/patroni/config.yml", "postgresql:\n  data_dir: DATA\n", "", "Patroni"),
    ("etc/patroni.yml", 'postgresql: {data_dir: "DATA/"}\n', "", "Patroni"),
    ("etc/patroni/config.yml", "postgresql:\n  data_dir: DATA2\n", "", None),
    ("etc/patroni/config.yml", "postgresql:\n  data_dir: /mntDATA\n", "", None),
    ("etc/patroni/config.yml", "postgresql:\n  data_dir: DATA/sub\n", "", None),
    ("etc/patroni/config.yml", "postgresql:\n  # data_dir: DATA\n", "", None),
    ("etc/patroni/config.yml.in", "postgresql:\n  data_dir: DATA\n", "", None),
    ("etc/repmgr.conf", "node_id=1\ndata_directory='DATA'\n", "", "repmgr"),
    ("etc/repmgr/14/repmgr.conf", "data_directory=DATA\n", "", "repmgr"),
    ("etc/repmgr.conf", "#data_directory='DATA'\n", "", None),
    ("var/lib/pacemaker/cib/cib.xml", '<nvpair name="pgdata" value="DATA"/>', "", "Pacemaker"),
    (
        "var/lib/pacemaker/cib/cib.xml",
        '<primitive class="systemd" type="postgresql@13-main"/>',
        "systemd:postgresql@13-main.service",
        "Pacemaker",
    ),
    (
        "var/lib/pacemaker/cib/cib.xml",
        '<primitive class="systemd" type="postgresql@13-main2"/>',
        "systemd:postgresql@13-main.service",
        None,
    ),
    ("var/lib/pacemaker/cib/cib.xml", '<primitive class="ocf" type="IPaddr2"/>', "pg_ctl", None),
    ("etc/edb/efm-4.9/efm.properties", "db.data.dir=DATA\n", "", "EDB Failover Manager"),
]


@pytest.mark.parametrize(("path", "text", "service", "manager"), CONFIGS)
def test_its_configuration_names_the_directory(
    host: Host, path: str, text: str, service: str, manager: str | None
) -> None:
    written = host.write(path, text)
    found = _ha_managers.find(host.cluster(service))
    assert (found and (found[0].name, found[1])) == (manager and (manager, written))


def test_a_directory_that_is_reached_by_a_link(host: Host) -> None:
    (host.root / "link").symlink_to(host.data)
    host.write("etc/patroni.yml", "data_dir: DATA")
    assert _ha_managers.find(replace(host.cluster(), data_dir=str(host.root / "link")))


CALLS = [
    # (command line, environment, the manager); HERE is a configuration that names the directory, THERE one that does not
    ("/usr/bin/python3 /usr/bin/patroni ROOT/here", "", "Patroni"),
    ("/usr/bin/python3 /usr/bin/patroni ROOT/there", "", None),
    ("/usr/bin/python3 /usr/bin/patroni", "PATRONI_POSTGRESQL_DATA_DIR=DATA", "Patroni"),
    ("patroni", "PATRONI_POSTGRESQL_DATA_DIR=/elsewhere", None),
    ("/usr/bin/vi ROOT/here", "", None),
    ("/usr/lib/postgresql/14/bin/repmgrd -f ROOT/here --daemonize", "", "repmgr"),
    ("repmgrd --config-file=ROOT/here", "", "repmgr"),
    ("stolon-keeper keeper --data-dir ROOT/var/13", "", "Stolon"),
    ("stolon-keeper keeper --data-dir ROOT/var/14", "", None),
    ("/usr/bin/pg_autoctl run --pgdata DATA", "", "pg_auto_failover"),
    ("/usr/bin/pg_autoctl run", "PGDATA=DATA", "pg_auto_failover"),
    ("/usr/bin/pg_autoctl run --pgdata /elsewhere", "", None),
]


@pytest.mark.parametrize("by", ["process", "unit"])
@pytest.mark.parametrize(("line", "environment", "manager"), CALLS)
def test_its_process_or_unit_names_the_directory(
    host: Host, monkeypatch: pytest.MonkeyPatch, by: str, line: str, environment: str, manager: str | None
) -> None:
    host.write("here", "data_dir: DATA\n")
    host.write("there", "data_dir: /elsewhere\n")
    line, environment = (
        text.replace("DATA", str(host.data)).replace("ROOT", str(host.root)) for text in (line, environment)
    )
    if by == "process":
        call = _ha_managers._Call("it", 4711, line.split(), [environment])
        monkeypatch.setattr(_ha_managers, "_processes", lambda *_who: [call])
        where = "it"
    else:
        where = host.write("units/it.service", f"[Service]\nEnvironment='{environment}'\nExecStart=-{line}\n")
    found = _ha_managers.find(host.cluster())
    assert (found and (found[0].name, found[1])) == (manager and (manager, where))


def test_the_servers_parent_needs_no_configuration(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    parents = {30: (20, 1), 20: (10, 1), 10: (1, 1)}
    monkeypatch.setattr(_servers, "servers_on", lambda _path: [30])
    monkeypatch.setattr(_proc, "family", lambda pid: parents.get(pid, (0, 0)))
    monkeypatch.setattr(
        _ha_managers, "_processes", lambda *_who: [_ha_managers._Call("process 10", 10, ["patroni"], [])]
    )
    found = _ha_managers.find(host.cluster())
    assert found
    assert found[1] == "process 10"
    monkeypatch.setattr(
        _ha_managers, "_processes", lambda *_who: [_ha_managers._Call("process 11", 11, ["patroni"], [])]
    )
    assert _ha_managers.find(host.cluster()) is None


@pytest.mark.parametrize("path", ["fifo", "gone", "large", "there"])
def test_files_that_are_not_read(host: Host, path: str) -> None:
    """A process's arguments are anybody's: root must not hang on a pipe nor read a huge file."""
    os.mkfifo(host.root / "fifo")
    host.write("large", "x" * 1024 * 1024 + "DATA")
    host.write("there", "# DATA\n; DATA")
    assert not _ha_managers._file_names(str(host.root / path), [str(host.data)])
