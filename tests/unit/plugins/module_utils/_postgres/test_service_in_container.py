# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server in a container: its start, stop and restart are the outside's, and so are the servers that a helper can't see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _inside
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _servers, _service
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster
from support.inside import work_inside
from support.scripted import Scripted


def service(root: Path) -> _service.Service:
    """A service whose runner takes no call."""
    cluster = Cluster(str(root), "/bin", "/run/pg", os_user=User.current().name, service="container")
    return _service.Service(Scripted(), cluster, str(root / "log"))


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_the_outside_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    inside = work_inside(monkeypatch)
    getattr(service(tmp_path), verb)()
    assert inside.asked == [(verb, {})]


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_there_is_no_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setattr(_inside, "_current", [])
    with pytest.raises(WalgError, match=f"only from outside of it can one {verb} it: name it in walg_container"):
        getattr(service(tmp_path), verb)()


def test_what_the_outside_fails_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_message: object, _descriptor: object) -> None:
        raise WalgError("Cannot stop the container.")

    work_inside(monkeypatch, {"stop": fail})
    with pytest.raises(WalgError, match=r"^Cannot stop the container\.$"):
        service(tmp_path).stop()


def test_nobody_in_there_starts_it(tmp_path: Path) -> None:
    made = service(tmp_path)
    assert (made.managed, made.in_container, made._log()) == (False, True, ": that of its container")
    with pytest.raises(WalgError, match="take an argument"):
        _service.parse("container:db")


def test_it_is_found_and_never_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_service._supervisor, "unit_of", lambda *_: "docker.service")
    monkeypatch.setattr(_inside, "_current", [])
    assert _service.detect(Scripted(), os.getpid()) == "systemd:docker.service"
    work_inside(monkeypatch)
    assert _service.detect(Scripted(), os.getpid()) == "container"


def test_a_helper_asks_who_else_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "data")
    (tmp_path / "data").mkdir()
    inside = work_inside(monkeypatch, {"servers": lambda _message, _descriptor: [17, 4]}, served=False)
    assert _servers.servers_on(str(tmp_path / "link")) == [17, 4]
    assert inside.asked == [("servers", {"path": str(tmp_path / "data")})]


@pytest.mark.parametrize("where", ["served", "machine"])
def test_elsewhere_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    inside = work_inside(monkeypatch, {"servers": lambda _message, _descriptor: [17]})
    if where == "machine":
        monkeypatch.setattr(_inside, "_current", [])
    assert _servers.servers_on(str(tmp_path)) == []
    assert inside.asked == []


def test_a_server_of_the_helper_is_seen_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = work_inside(monkeypatch, served=False)
    monkeypatch.setattr(_servers, "_works_on", lambda pid, *_: pid == os.getpid())
    monkeypatch.setattr(_servers._server_process, "is_server", lambda _pid: True)
    assert _servers.servers_on(str(tmp_path)) == [os.getpid()]
    assert inside.asked == []
