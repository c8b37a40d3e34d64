# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a container's processes are, and where its data directory is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._container import _container_check, _engine
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from support.fake_engine import recorded

NO_SUCH = 2**22 + 1  # above what the kernel gives


def container(**changes: Any) -> _engine.Container:
    return replace(_engine._parsed("/usr/bin/docker", recorded("docker-20.10")), **changes)


@pytest.mark.parametrize("known", [False, True])
def test_a_process_of_another_machine(*, known: bool) -> None:
    """Its number says nothing here: nobody has it, or somebody who is in no container."""
    pid = os.getpid() if known else NO_SUCH
    with pytest.raises(WalgError, match=f"The process {pid} of the container maps-db-1 is not on this machine"):
        _container_check.refuse_elsewhere(container(pid=pid))


def test_users_of_its_own_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    @contextlib.contextmanager
    def opened(pid: int) -> Iterator[None]:
        asked.append(pid)
        yield

    monkeypatch.setattr(_container_check._namespaces, "opened", opened)
    monkeypatch.setattr(os.path, "exists", lambda _path: True)
    numbers = iter([1, 2])
    monkeypatch.setattr(os, "stat", lambda _path: os.stat_result((0, next(numbers), *[0] * 8)))
    _container_check.refuse_elsewhere(container(pid=77))
    assert asked == [77]


def test_one_that_is_stopped_is_nowhere() -> None:
    _container_check.refuse_elsewhere(container(pid=0))


@pytest.mark.parametrize(
    ("command", "variable", "given", "found"),
    [
        (("docker-entrypoint.sh", "postgres"), "/var/lib/postgresql/data", "", "/var/lib/postgresql/data"),
        (("postgres", "-D", "/a"), "/b", "", "/a"),
        (("postgres", "-D/a"), "/b", "", "/a"),
        (("postgres", "--pgdata", "/a"), "/b", "", "/a"),
        (("postgres", "-c", "data_directory=/a"), "/b", "", "/a"),
        (("postgres", "-cdata_directory=/a"), "/b", "", "/a"),
        (("postgres", "--data_directory=/a"), "/b", "", "/a"),
        (("postgres", "-D", "/a"), "/b", "/c", "/c"),
        (("postgres",), "/b", "/c", "/c"),
        (("postgres", "-D"), "", "", "/var/lib/postgresql/data"),
    ],
)
def test_where_the_data_directory_is(command: tuple[str, ...], variable: str, given: str, found: str) -> None:
    assert _container_check.data_dir_of(container(command=command, data_dir=variable), given) == found


def test_nothing_tells_where_it_is() -> None:
    empty = container(command=("postgres",), data_dir="", mounts=())
    assert _container_check.data_dir_of(empty, "") == ""
    _container_check.refuse_data_place(empty, "")
