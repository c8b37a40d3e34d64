# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The WAL-G client: exact calls, and answers of several versions. WAL-G itself runs in the integration tests."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result, Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _client
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._client import Walg
from support.scripted import Call, Scripted

DATA = Path(__file__).resolve().parents[3] / "data"
OWNER = User("postgres", 999, 999, "/var/lib/postgresql")
ENVIRONMENT = {"HTTPS_PROXY": "http://proxy:3128"}
BASE = ["/bin/wal-g", "--config", "/etc/walg/main.json"]
DETAILED, PLAIN = [*BASE, "backup-list", "--detail", "--json"], [*BASE, "backup-list", "--json"]
SHOW = [*BASE, "wal-show", "--detailed-json", "--without-backups"]
NAME = "base_000000010000000000000002"


def recorded(version: str, name: str) -> str:
    return (DATA / f"walg-{version}" / f"{name}.json").read_text()


def client(*calls: Call) -> tuple[Walg, Scripted]:
    runner = Scripted(calls=list(calls))
    return Walg(runner, BASE[0], BASE[2], OWNER, "gs://b/p", ENVIRONMENT, ask_timeout=7.0), runner


@pytest.mark.parametrize("version", ["1.1.3", "3.0.8"])
def test_backups(version: str) -> None:
    """One question, as the owner, with the network's variables and nothing else."""
    walg, runner = client(
        Call(DETAILED, stdout=recorded(version, "backup-list-detail"), env=ENVIRONMENT, user="postgres")
    )
    assert [one.name for one in walg.backups()] == [
        NAME,
        "base_000000010000000000000004_D_000000010000000000000002",
        "base_000000020000000000000008",
    ]
    runner.finish()
    assert (runner.timeouts, runner.cwds) == ([_client.LIST_TIMEOUT], ["/"])


@pytest.mark.parametrize("detailed", ["", "[]\n"])
@pytest.mark.parametrize("plain", ["", "[]\n"])
def test_no_backups_is_believed_only_when_the_plain_list_says_so_too(detailed: str, plain: str) -> None:
    """Empty text up to WAL-G 3.0.5 and 3.0.7, [] from there on."""
    chatter = "INFO: 2026/11/22 23:39:22.640358 No backups found\n"
    walg, runner = client(Call(DETAILED, stdout=detailed, stderr=chatter), Call(PLAIN, stdout=plain, stderr=chatter))
    assert walg.backups() == []
    runner.finish()


def test_a_dead_storage_is_not_an_empty_one() -> None:
    """Up to 2.0.1 the detailed list of a dead storage is empty with exit 0; the plain one fails."""
    error = "ERROR: 2026/11/22 23:39:23.254144 403 Forbidden\n"
    walg, runner = client(Call(DETAILED), Call(PLAIN, rc=1, stderr=error))
    with pytest.raises(WalgError, match="403 Forbidden") as caught:
        walg.backups()
    runner.finish()
    assert "gs://b/p" in caught.value.msg
    assert "No backups" not in caught.value.msg
    assert caught.value.fields == {"cmd": PLAIN, "rc": 1, "stdout": "", "stderr": error}


@pytest.mark.parametrize("rc", [1, 2, 74, -9])
def test_a_failing_list(rc: int) -> None:
    """Whatever is on stdout then is not looked at."""
    walg, _runner = client(Call(DETAILED, rc=rc, stdout="[]", stderr="INFO: x\nERROR: one bad backup\n"))
    with pytest.raises(WalgError, match=rf"ended with {rc}: ERROR: one bad backup"):
        walg.backups()


@pytest.mark.parametrize("rc", [-15, -9, 0])
def test_time_out(rc: int) -> None:
    walg, _runner = client(Call(DETAILED, rc=rc, timed_out=True, stderr="retrying"))
    with pytest.raises(WalgError, match=r"within 7 s.*missing bucket, a blocked network") as caught:
        walg.backups()
    assert caught.value.fields["stderr"] == "retrying"


def test_log_lines_on_stderr_are_never_parsed() -> None:
    walg, _runner = client(Call(DETAILED, stdout="INFO: noise\n[]"))
    with pytest.raises(WalgError, match="not JSON"):
        walg.backups()


def test_wal() -> None:
    told = {**ENVIRONMENT, "WALG_PG_WAL_SIZE": "16"}
    walg, runner = client(Call(SHOW, stdout=recorded("1.1.3", "wal-show"), env=told, user="postgres"))
    found = walg.wal(16 * 1024 * 1024)
    runner.finish()
    assert sorted(found.timelines) == [1, 2]
    assert found.last(2) == "000000020000000000000008"


def test_a_question_is_told_not_to_collect_and_a_listing_is_not() -> None:
    """It is over before there is anything; a listing may be large."""
    told: list[dict[str, str]] = []

    class Noted(Runner):
        def run(self, argv: Sequence[str], **options: Any) -> Result:
            told.append(dict(options["env"]))
            return Result(list(argv), 0, "[]")

    walg = Walg(Noted(), BASE[0], BASE[2], OWNER, "gs://b/p", ENVIRONMENT)
    walg.remove("a")
    walg.backups()
    own = replace(walg, environment={"GOGC": "7"})
    own.remove("a")
    assert told == [{"GOGC": "400", **ENVIRONMENT}, ENVIRONMENT, ENVIRONMENT, {"GOGC": "7"}]


@pytest.mark.parametrize("text", ["", "[]", "[]\n", "null"])
def test_wal_of_an_empty_storage(text: str) -> None:
    walg, _runner = client(Call(SHOW, stdout=text))
    assert walg.wal(1024 * 1024).timelines == {}


def test_wal_that_is_not_json() -> None:
    walg, _runner = client(Call(SHOW, stdout="+-----+"))
    with pytest.raises(WalgError, match="did not answer with JSON"):
        walg.wal(1024 * 1024)


def test_wal_of_a_dead_storage() -> None:
    walg, _runner = client(Call(SHOW, rc=1, stderr="ERROR: dial tcp: connection refused"))
    with pytest.raises(WalgError, match="connection refused"):
        walg.wal(1024 * 1024)


def test_segment_is_fetched_without_a_prefetch_child() -> None:
    segment = "000000010000000000000002"
    argv = [*BASE, "wal-fetch", segment, "/state/check/x"]
    walg, runner = client(Call(argv, rc=74, env={**ENVIRONMENT, "WALG_DOWNLOAD_CONCURRENCY": "1"}, user="postgres"))
    assert walg.fetch_segment(segment, "/state/check/x", 16 * 1024 * 1024).rc == 74
    assert runner.cwds == ["/state/check"]


def test_sentinel() -> None:
    argv = [*BASE, "st", "cat", f"basebackups_005/{NAME}_backup_stop_sentinel.json"]
    walg, _runner = client(Call(argv, stdout='{"Spec": {"tablespaces": ["16388"]}}'), Call(argv, stdout="<html>"))
    assert walg.sentinel(NAME) == {"Spec": {"tablespaces": ["16388"]}}
    with pytest.raises(WalgError, match=f"{NAME} is not JSON"):
        walg.sentinel(NAME)


@pytest.mark.parametrize(("full", "last"), [(True, ["--full"]), (False, [])])
def test_backup_push(full: bool, last: list[str]) -> None:
    data: dict[str, Any] = {"b": 'quote " and ü', "a": {"n": 1}}
    argv = [*BASE, "backup-push", "/data", *last]
    env = {
        **ENVIRONMENT,
        "WALG_SENTINEL_USER_DATA": json.dumps(data, sort_keys=True),
        "WALG_LOG_LEVEL": "NORMAL",
        "WALG_LOG_DESTINATION": "stderr",
    }  # arguments are everybody's to read
    walg, runner = client(Call(argv, rc=3, env=env, user="postgres"))
    assert walg.backup_push("/data", data, full, 99.0).rc == 3
    assert (runner.timeouts, runner.cwds) == ([99.0], ["/data"])


def test_backup_fetch_names_the_backup() -> None:
    """Never LATEST: that is the newest object, which a copied bucket changes."""
    walg, runner = client(Call([*BASE, "backup-fetch", "/pg/data.restore-x", NAME], env=ENVIRONMENT, user="postgres"))
    assert walg.backup_fetch("/pg/data.restore-x", NAME, 99.0).rc == 0
    assert (runner.timeouts, runner.cwds) == ([99.0], ["/pg"])


VERSION = [BASE[0], "--version"]


@pytest.mark.parametrize(
    ("line", "tag", "version"),
    [
        ("wal-g version v1.1.3-rc\tdevel\tdevel\tPostgreSQL\n", "v1.1.3-rc", (1, 1, 3)),
        ("wal-g version v3.0.8\t0db1c8d8\t2025.10.01_12:00:00\tPostgreSQL\n", "v3.0.8", (3, 0, 8)),
        ("wal-g version devel\tdevel\tdevel\tPostgreSQL\n", "devel", None),
    ],
)
def test_binary_version(line: str, tag: str, version: tuple[int, int, int] | None) -> None:
    found = _client.binary_version(Scripted(calls=[Call(VERSION, stdout=line, user="postgres")]), BASE[0], OWNER)
    assert (found.tag, found.version) == (tag, version)


def test_binary_of_another_database() -> None:
    runner = Scripted(calls=[Call(VERSION, stdout="wal-g version v3.0.8\tx\ty\tMySQL\n")])
    with pytest.raises(WalgError, match="MySQL"):
        _client.binary_version(runner, BASE[0])


def test_binary_that_does_not_start() -> None:
    message = "/bin/wal-g: /lib/libc.so.6: version `GLIBC_2.34' not found (required by /bin/wal-g)"
    with pytest.raises(WalgError, match=r"GLIBC_2\.34.*build of WAL-G for this host") as caught:
        _client.binary_version(Scripted(calls=[Call(VERSION, rc=1, stderr=message)]), BASE[0])
    assert caught.value.fields["cmd"] == VERSION


def test_this_scripted_runner_can_fail() -> None:
    """The tests above rest on it: a wrong call, one too many and one too few."""
    with pytest.raises(AssertionError):
        Scripted(calls=[Call(["a"])]).run(["b"])
    with pytest.raises(AssertionError, match="unexpected call"):
        Scripted().run(["a"])
    with pytest.raises(AssertionError):
        Scripted(calls=[Call(["a"])]).finish()
    with pytest.raises(AssertionError):
        Scripted(calls=[Call(["a"], env={"X": "1"})]).run(["a"], env={"X": "2"})
    with pytest.raises(AssertionError):
        Scripted(calls=[Call(["a"], user="postgres")]).run(["a"])


def test_upload_times_are_asked_once() -> None:
    listing = (DATA / "walg-3.0.8" / "archive-objects.out").read_text()
    walg, runner = client(Call([*BASE, "st", "ls", "wal_005"], stdout=listing, env=ENVIRONMENT, user="postgres"))
    wanted = "000000010000000000000001"
    assert walg.uploaded({wanted}) == {wanted: "2026-11-24T14:11:12.872785Z"}
    runner.finish()


@pytest.mark.parametrize("version", ["1.1.3", "3.0.8"])
def test_no_history_is_fetched_unless_a_timeline_hangs_in_the_air(version: str) -> None:
    whole = json.dumps(json.loads(recorded(version, "archive-wal"))[:2])
    walg, runner = client(Call(SHOW, stdout=whole))
    assert sorted(walg.archive(1 << 24).timelines) == [1, 2]
    runner.finish()


def stand_in(directory: Path, listing: str, small: str) -> Walg:
    """WAL-G as a shell script: what it does for a listing and for the small question."""
    binary = directory / "wal-g"
    binary.write_text(f'#!/bin/sh\ncase "$*" in *"st ls"*) {small} ;; *) {listing} ;; esac\n')
    binary.chmod(0o755)
    return Walg(Runner(tick_every=0.1), str(binary), "/c.json", User.current(), "gs://b/p", ask_timeout=1.0)


def test_a_listing_may_take_longer_than_a_question(tmp_path: Path) -> None:
    walg = stand_in(tmp_path, "sleep 3; echo '[]'", "echo wal_005/")
    assert walg.wal(16 << 20).timelines == {}
    assert walg.runner.tick is None


@pytest.mark.parametrize("small", ["sleep 60", "exit 1"])
def test_a_storage_that_dies_while_it_lists_is_told_soon(tmp_path: Path, small: str) -> None:
    walg, began = stand_in(tmp_path, "echo ERROR: retry >&2; sleep 60", small), time.monotonic()
    with pytest.raises(
        WalgError, match="did not answer `wal-g wal-show --detailed-json --without-backups` within 1 s: "
    ):
        walg.wal(16 << 20)
    assert time.monotonic() - began < 10
