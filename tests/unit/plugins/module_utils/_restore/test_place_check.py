# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restored server needs of its place: its directory, sockets, a free port, logs, and the mode of a mount point."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _server_process
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _layout, _place_check
from support.restores import data_place
from support.walg_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A restore that lies beside, and a directory for sockets."""
    made = World(tmp_path)
    Path(data_place(made).work).mkdir(parents=True)
    (tmp_path / "socket").mkdir()
    return made


def refuse(world: World, settings: dict[str, str], place: _layout.Location | None = None, major: int = 14) -> None:
    _place_check.refuse(world.instance, place or data_place(world), settings, major)


def rejected(world: World, settings: dict[str, str], *more: Any) -> str:
    with pytest.raises(WalgError) as caught:
        refuse(world, settings, *more)
    return caught.value.msg


def service(world: World, name: str) -> None:
    world.instance = replace(world.instance, cluster=replace(world.instance.cluster, service=name))


def test_a_place_that_will_do(world: World) -> None:
    path, work = str(world.data_dir), Path(data_place(world).work)
    (work / "log").mkdir()
    (work / "sockets").mkdir()
    refuse(world, {})
    refuse(world, {"data_directory": path, "unix_socket_directories": f"{world.root}/socket, sockets, @abstract"})
    refuse(world, {"data_directory": ".", "logging_collector": "on"})
    refuse(world, {"logging_collector": "on", "log_directory": f"{path}/new"})
    refuse(world, {"logging_collector": "off", "log_directory": "/none/log"})


def test_another_data_directory(world: World) -> None:
    text = rejected(world, {"data_directory": "/elsewhere"})
    assert text == f"its configuration says data_directory = '/elsewhere', and not {world.data_dir}"


@pytest.mark.parametrize(
    ("who", "made"), [("pg_ctl", False), ("", False), ("systemd:postgresql@14-main.service", True)]
)
def test_sockets_that_a_service_manager_makes(world: World, who: str, made: bool) -> None:
    """With each start; nobody else does."""
    service(world, who)
    settings = {"unix_socket_directories": "/run/no-such-postgresql"}
    if made:
        refuse(world, settings)
    else:
        assert "names /run/no-such-postgresql, which does not exist or can't be written" in rejected(world, settings)
    assert "names /none" in rejected(world, {"unix_socket_directories": f"{world.root}/socket, /none"})


@pytest.mark.parametrize(
    ("who", "content", "server", "taken"),
    [
        ("pg_ctl", "PID\n/other\n", True, True),
        ("none", "PID\n/other\n", True, False),  # who starts it may say another port
        ("pg_ctl", "PID\n/other\n", False, False),  # the number is another program's by now
        ("pg_ctl", "no number\n", True, False),
        ("pg_ctl", None, True, False),
    ],
)
def test_a_port_that_another_server_has(
    world: World, monkeypatch: pytest.MonkeyPatch, who: str, content: str | None, server: bool, taken: bool
) -> None:
    service(world, who)
    monkeypatch.setattr(_server_process, "is_server", lambda _pid: server)
    directory = world.root / "socket"
    if content is not None:
        (directory / ".s.PGSQL.5433.lock").write_text(content.replace("PID", str(os.getpid())))
    settings = {"unix_socket_directories": str(directory), "port": "5433"}
    if not taken:
        refuse(world, settings)
        return
    text = rejected(world, settings)
    assert f"another server (process {os.getpid()}, on {os.getcwd()}) has port 5433 in {directory}" in text
    refuse(world, {"unix_socket_directories": str(directory)})  # 5432 is free
    with monkeypatch.context() as patched:
        patched.setattr(_place_check._servers, "servers_on", lambda _path: [os.getpid()])
        refuse(world, settings)  # it is the old cluster's own server, which is stopped by then
    environment = "PGPORT=5433"
    world.instance = replace(world.instance, cluster=replace(world.instance.cluster, start_environment=environment))
    assert "has port 5433" in rejected(world, {"unix_socket_directories": str(directory)})


def test_logs_that_can_not_be_written(world: World) -> None:
    text = rejected(world, {"logging_collector": "true", "log_directory": "/none/log"})
    assert text.startswith("logging_collector is on, and log_directory (/none/log) can't be made or written by")


@pytest.mark.parametrize(
    ("mode", "major", "fits"), [(0o700, 10, True), (0o750, 11, True), (0o750, 10, False), (0o755, 14, False)]
)
def test_a_mount_point_keeps_its_mode(world: World, mode: int, major: int, fits: bool) -> None:
    """Elsewhere the restored directory has the right one."""
    world.data_dir.mkdir()
    world.data_dir.chmod(mode)
    refuse(world, {}, None, major)
    mount = replace(data_place(world), mount=True)
    if fits:
        refuse(world, {}, mount, major)
    else:
        assert f"has the mode {mode:04o}; PostgreSQL {major} starts with" in rejected(world, {}, mount, major)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give it away")
def test_a_mount_point_of_another_user(world: World) -> None:
    world.data_dir.mkdir(mode=0o700)
    os.chown(world.data_dir, 65534, -1)
    assert "belongs to the user 65534, not to" in rejected(world, {}, replace(data_place(world), mount=True))
