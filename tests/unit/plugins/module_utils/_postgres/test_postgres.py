# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to PostgreSQL through psql: the exact call, and what becomes of a bad answer."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _server
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._server import Server, ServerFacts
from support.scripted import Call, Scripted

ME = User.current().name
FACTS: dict[str, Any] = {
    "version_num": 140023,
    "system_identifier": "18446744073709551557",
    "timeline": 2,
    "in_recovery": False,
    "data_directory": "/data",
    "config_file": "/data/postgresql.conf",
    "segment_size": 16777216,
    "start_time": "2026-01-01 00:00:00+00",
}


@pytest.fixture
def bin_dir(tmp_path: Path) -> Path:
    made = tmp_path / "bin"
    made.mkdir()
    (made / "psql").write_text("#!/bin/sh\n")
    (made / "psql").chmod(0o755)
    return made


def argv(bin_dir: Path) -> list[str]:
    return [str(bin_dir / "psql"), "-XAtqw", "-v", "ON_ERROR_STOP=1", "-f", "-"]


def server(bin_dir: Path, *calls: dict[str, Any], data_dir: str = "/data") -> tuple[Server, Scripted]:
    runner = Scripted(calls=[Call(argv(bin_dir), **call) for call in calls])
    return Server(runner, Cluster(data_dir, str(bin_dir), "/run/pg", "5433", "admin", ME), 9.0), runner


def environment(options: str) -> dict[str, str]:
    return {
        "PGREQUIREPEER": ME,
        "PGHOST": "/run/pg",
        "PGPORT": "5433",
        "PGUSER": "admin",
        "PGDATABASE": "postgres",
        "PGCONNECT_TIMEOUT": "10",
        "PGAPPNAME": "mapswipe.walg",
        "PGCLIENTENCODING": "SQL_ASCII",
        "PGOPTIONS": options,
    }


def test_the_question_goes_by_the_socket_as_the_owner(bin_dir: Path) -> None:
    """By stdin: a statement in argv could be read by everybody in the process list."""
    env = environment(_server.OPTIONS)
    asked, runner = server(bin_dir, {"stdout": " 1 \n", "env": env, "user": ME})
    assert asked.ask("SELECT 1") == "1"
    assert runner.stdins[0].endswith("\nSELECT 1")
    assert runner.timeouts == [9.0]


def test_psql_beside_the_server_or_on_path(bin_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster("/data", str(tmp_path / "other"), "/run/pg")
    monkeypatch.setenv("PATH", str(bin_dir))
    assert Server(Scripted(), cluster).psql() == str(bin_dir / "psql")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WalgError, match="psql is missing"):
        Server(Scripted(), cluster).psql()
    assert Server(Scripted(), Cluster("/data", str(bin_dir), "/run/pg")).psql() == str(bin_dir / "psql")


@pytest.mark.parametrize("rc", [1, 2, 3, -15])
def test_an_error_names_the_server_and_quotes_it(bin_dir: Path, rc: int) -> None:
    message = "psql:<stdin>:1: ERROR:  permission denied for function pg_switch_wal\n"
    asked, _runner = server(bin_dir, {"rc": rc, "stderr": message})
    with pytest.raises(WalgError, match="permission denied for function pg_switch_wal") as caught:
        asked.ask("SELECT 1")
    assert all(word in caught.value.msg for word in ("/run/pg", "5433", "admin", ME))
    assert caught.value.fields["rc"] == rc


def test_a_login_trigger_that_keeps_us_out(bin_dir: Path) -> None:
    """Another try without triggers, and no other where the trouble is another, or that does not help."""
    kept_out = {
        "rc": 2,
        "stderr": "psql: error: connection to server failed: FATAL:  cannot execute INSERT in a read-only transaction\n",
    }
    without = environment(f"{_server.OPTIONS} -c event_triggers=off")
    asked, runner = server(bin_dir, kept_out, {"stdout": "1\n", "env": without})
    assert asked.ask("SELECT 1") == "1"
    runner.finish()
    unknown = {"rc": 2, "stderr": 'psql: error: FATAL:  unrecognized configuration parameter "event_triggers"\n'}
    asked, runner = server(bin_dir, kept_out, unknown)
    with pytest.raises(WalgError, match="cannot execute INSERT"):
        asked.ask("SELECT 1")
    for text in ('relation "public.logins" does not exist', "too many of us", "kein Zutritt"):
        asked, runner = server(bin_dir, {**kept_out, "stderr": f"psql: error: FATAL:  {text}\n"}, {"stdout": "1\n"})
        assert asked.ask("SELECT 1") == "1"
    for text in (
        "psql: error: FATAL:  the database system is starting up",
        'psql: error: FATAL:  role "x" does not exist',
        "psql: error: FATAL:  sorry, too many clients already",
        "psql:<stdin>:7: FATAL:  terminating connection due to administrator command",
    ):
        asked, runner = server(bin_dir, {"rc": 2, "stderr": f"{text}\n"})
        with pytest.raises(WalgError, match=text.split()[-1]):
            asked.ask("SELECT 1")
        runner.finish()


def test_a_server_that_does_not_answer(bin_dir: Path) -> None:
    asked, _runner = server(bin_dir, {"rc": 0, "timed_out": True})
    with pytest.raises(WalgError, match="did not answer in time"):
        asked.ask("SELECT 1")


def test_json(bin_dir: Path) -> None:
    asked, _runner = server(bin_dir, {"stdout": '{"a": 1}\n'}, {"stdout": "\n"})
    assert asked.ask_json("SELECT") == {"a": 1}
    assert asked.ask_json("SELECT") is None


def test_facts(bin_dir: Path) -> None:
    asked, runner = server(bin_dir, {"stdout": json.dumps(FACTS), "stdin": "pg_control_system()"})
    assert asked.facts() == ServerFacts(**FACTS)
    runner.finish()


@pytest.mark.parametrize(("number", "major"), [(100023, 10), (110022, 11), (140023, 14), (180004, 18)])
def test_major(number: int, major: int) -> None:
    assert ServerFacts(**{**FACTS, "version_num": number}).major == major


def test_the_server_of_another_directory_is_refused(bin_dir: Path) -> None:
    """WAL-G and psql fall back to whatever listens; a backup of that cluster would be filed under this one's name."""
    asked, _runner = server(bin_dir, {"stdout": json.dumps({**FACTS, "data_directory": "/other"})})
    with pytest.raises(WalgError, match="runs on /other, not on /data") as caught:
        asked.own_facts()
    assert caught.value.fields == {"found": "/other", "wanted": "/data"}


def test_the_same_directory_by_a_link_is_ours(bin_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    answer = json.dumps({**FACTS, "data_directory": str(tmp_path / "data")})
    asked, _runner = server(bin_dir, {"stdout": answer}, data_dir=str(tmp_path / "link"))
    assert asked.own_facts().data_directory == str(tmp_path / "data")


def test_settings(bin_dir: Path) -> None:
    rows = [{"name": "archive_mode", "setting": "on"}]
    asked, runner = server(bin_dir, {"stdout": json.dumps(rows)}, {"stdout": ""})
    assert asked.settings(("archive_mode", "archive_library")) == {"archive_mode": rows[0]}
    assert "name IN ('archive_mode', 'archive_library')" in runner.stdins[0]
    assert asked.settings(("none",)) == {}


def test_ready(bin_dir: Path) -> None:
    asked, _runner = server(bin_dir, {"rc": 2, "stderr": "the database system is starting up"}, {"stdout": "1"})
    assert [asked.ready(), asked.ready()] == [False, True]


@pytest.mark.parametrize(("value", "quoted"), [("a", "'a'"), ("", "''"), ("it's", "'it''s'"), ("ü", "'ü'")])
def test_literal(value: str, quoted: str) -> None:
    assert _server.literal(value) == quoted


@pytest.mark.parametrize("value", ["\\", "a\\'; DROP", "\0"])
def test_literal_refuses(value: str) -> None:
    with pytest.raises(WalgError, match="Cannot quote"):
        _server.literal(value)


def test_psql_that_is_not_executable_is_passed_over(
    bin_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "psql").write_text("")
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), str(bin_dir)]))
    assert Server(Scripted(), Cluster("/data", str(broken), "/run/pg")).psql() == str(bin_dir / "psql")
