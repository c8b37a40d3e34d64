# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who answers where the server that was started should: only that server counts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _servers
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._service import Service
from support.scripted import Call, Scripted
from support.walg_world import IDENTIFIER, write_cluster

NOW = 1700000000


@pytest.mark.parametrize(
    ("told", "servers", "service", "other"),
    [
        ({}, [4711], "pg_ctl", ""),
        ({"started": NOW + 0.4}, [4711], "pg_ctl", ""),
        (
            {"system_identifier": "7", "data_directory": "/other"},
            [4711],
            "pg_ctl",
            "the server on /other (system identifier 7)",
        ),
        (
            {"started": NOW - 3600.0},
            [4711],
            "pg_ctl",
            "which is not the one of",
        ),  # the same path, another mount namespace
        ({}, [], "pg_ctl", "none of whose processes works in"),
        ({}, [], "command:/opt/pg", ""),  # a container's, which is not seen from here
    ],
)
def test_who_answers(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: dict[str, object],
    servers: list[int],
    service: str,
    other: str,
) -> None:
    data = tmp_path / "data"
    write_cluster(data)
    (data / "postmaster.pid").write_text(f"4711\n{data}\n{NOW}\n5432\n/run/pg\n")
    (tmp_path / "psql").write_text("#!/bin/sh\n")
    (tmp_path / "psql").chmod(0o755)
    monkeypatch.setattr(_servers, "servers_on", lambda _path: servers)
    answer = json.dumps({"system_identifier": IDENTIFIER, "data_directory": str(data), "started": NOW, **told})
    call = Call([f"{tmp_path}/psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-f", "-"], stdout=answer)
    cluster = Cluster(str(data), str(tmp_path), "/run/pg", os_user=User.current().name, service=service)
    found = Service(Scripted(calls=[call]), cluster, "/log")._other()
    assert (other in found, bool(found)) == (True, bool(other))
    silent = Service(
        Scripted(calls=[replace(call, rc=2, stderr="psql: error: Is the server running locally?")]), cluster, "/log"
    )
    assert silent._other() == ""
