# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof that a fresh segment reached the storage: when one is needed, what counts as one, and how long it is valid."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _proof
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._server import ServerFacts
from support.observe import files
from support.scripted import Call, Scripted
from support.settings_rows import Clock
from support.walg_world import SIZE, World, segment, write_cluster

SEGMENT = segment(1, 7)
STATISTICS = {"last_archived_wal": SEGMENT, "failed_count": 0, "last_failed_wal": None}


@dataclass
class Storage(Scripted):
    """WAL-G that fetches a segment of ``held`` bytes (None: it fails); the server answers by the script.

    ``last``: what its archiver has archived, however often it is asked; by the script if None.
    """

    held: int | None = SIZE
    last: str | None = None
    fetched: str = ""

    def run(self, argv: Sequence[str], **options: Any) -> Result:
        if self.last is not None and "max(last_archived_wal)" in options.get("stdin", ""):
            return Result(list(argv), 0, self.last)
        if "wal-fetch" not in argv:
            return super().run(argv, **options)
        self.fetched = argv[-2]
        if self.held is None:
            return Result(list(argv), 74, "", "ERROR: Archive does not exist\n")
        with open(argv[-1], "wb") as stream:
            stream.truncate(self.held)
        return Result(list(argv), 0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    write_cluster(made.data_dir)
    return made


def pushes(world: World) -> list[Call]:
    """The server writes a record and switches WAL; its archiver tells how far it is."""
    return [
        world.psql(f"{SEGMENT}\n0/7000000\n", stdin="pg_switch_wal"),
        world.psql(f"{SEGMENT}\n", stdin="max(last_archived_wal)"),
        world.psql(STATISTICS, stdin="row_to_json"),
    ]


def check(world: World, runner: Scripted, *, force: bool = False, dry: bool = False) -> dict[str, Any]:
    made = _proof.check(runner, world.instance, timeout=10, force=force, dry=dry)
    runner.finish()
    return made


def proved(world: World) -> dict[str, Any]:
    return check(world, Storage(calls=[world.facts(), *pushes(world)]))


def facts(world: World, **changes: Any) -> ServerFacts:
    return ServerFacts(**{**json.loads(world.facts().stdout), **changes})


def test_check_do_check_do(world: World) -> None:
    before = files(world.root)
    foretold = check(world, Storage(calls=[world.facts()]), dry=True)
    assert (foretold["changed"], files(world.root)) == (True, before)
    assert "no proof for this storage" in foretold["reason"]
    runner = Storage(calls=[world.facts(), *pushes(world)])
    done = check(world, runner)
    assert (done["changed"], done["segment"], done["archiver"], runner.fetched) == (True, SEGMENT, STATISTICS, SEGMENT)
    assert [path.name for path in Path(world.instance.state_dir).iterdir()] == ["archive-proof.json"]
    after = files(world.root)
    for dry in (True, False):
        again = check(world, Storage(calls=[world.facts(), world.present()]), dry=dry)
        assert again == {"changed": False, **{name: done[name] for name in ("segment", "latency", "checked")}}
    assert files(world.root) == after


def test_it_is_proved_again_by_force(world: World) -> None:
    proved(world)
    assert check(world, Storage(calls=[world.facts(), *pushes(world)]), force=True)["changed"] is True
    assert check(world, Storage(calls=[world.facts()]), force=True, dry=True)["changed"] is True


def test_a_standby_writes_no_wal(world: World) -> None:
    answer = check(world, Storage(calls=[world.facts(in_recovery=True)]), force=True)
    assert (answer["changed"], answer["skipped"]) == (False, True)
    assert "its primary proves the archive" in answer["reason"]


@pytest.mark.parametrize(
    ("change", "of_the_storage"),
    [
        ("settings", True),
        ("credentials", True),
        ("storage", True),
        ("identifier", False),
        ("timeline", False),
    ],
)
def test_what_it_is_no_proof_of(world: World, change: str, of_the_storage: bool) -> None:
    """Another storage, other settings or credentials, another cluster, another timeline."""
    proved(world)
    facts_now = facts(world)
    config = Path(world.instance.config_dir)
    if change == "settings":
        (config / "main.json").write_text('{"WALG_FILE_PREFIX": "/storage", "WALG_UPLOAD_CONCURRENCY": "2"}')
    elif change == "credentials":
        (config / "main.credentials.json").write_text("{}")
    elif change == "storage":
        world.instance = replace(world.instance, storage="file:///elsewhere")
    elif change == "identifier":
        facts_now = replace(facts_now, system_identifier="4711")
    else:
        facts_now = replace(facts_now, timeline=2)
    assert _proof.still_valid(Scripted(), world.instance, facts_now) is False
    assert _proof.archive_is_proved(world.instance) is not of_the_storage


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"subject": 7}', '{"subject": {}}'])
def test_what_can_not_be_read_is_no_proof(world: World, text: str) -> None:
    Path(world.instance.files.proof).write_text(text)
    assert _proof.archive_is_proved(world.instance) is False
    assert _proof.still_valid(Scripted(), world.instance, facts(world)) is False


def test_it_is_valid_while_the_archiver_is_well(world: World) -> None:
    proved(world)
    assert _proof.archive_is_proved(world.instance) is True
    runner = Scripted(calls=[world.present()])
    assert _proof.still_valid(runner, world.instance, facts(world)) is True
    runner.finish()
    assert _proof.still_valid(Scripted(), world.instance, facts(world, in_recovery=True)) is True


@pytest.mark.parametrize(
    ("waits", "changes", "valid"),
    [
        (False, {"fails": True, "failed_wal": SEGMENT}, True),  # what it failed at arrived since
        (True, {"fails": True, "failed_wal": SEGMENT}, False),
        (True, {"idle": 901.0}, False),
        (True, {"idle": 899.0}, True),
        (False, {"idle": 86400.0}, True),
    ],
)
def test_an_archiver_in_trouble_ends_it(world: World, waits: bool, changes: dict[str, Any], valid: bool) -> None:
    proved(world)
    status = world.data_dir / "pg_wal" / "archive_status"
    status.mkdir(parents=True)
    (status / f"{SEGMENT}.done").touch()
    if waits:
        (status / f"{SEGMENT}.ready").touch()
    assert _proof.still_valid(Scripted(calls=[world.present(**changes)]), world.instance, facts(world)) is valid
    runner = Storage(calls=[world.facts(), world.present(**changes)])
    assert check(world, runner, dry=True)["changed"] is not valid


@pytest.mark.parametrize(("size", "seconds"), [(SIZE, 10), (1 << 30, 160)])
def test_a_segment_that_does_not_leave_the_server(
    world: World, monkeypatch: pytest.MonkeyPatch, size: int, seconds: int
) -> None:
    """A big one gets more time."""
    clock = Clock(monkeypatch)
    statistics = {"last_archived_wal": segment(1, 6), "failed_count": 3, "last_failed_wal": SEGMENT}
    record, told = pushes(world)[0], world.psql(statistics, stdin="row_to_json")
    with pytest.raises(WalgError) as caught:
        check(world, Storage(calls=[world.facts(segment_size=size), record, told], last=segment(1, 6)))
    assert f"The segment {SEGMENT} did not leave the server within {seconds} s." in caught.value.msg
    assert f"last archived {segment(1, 6)}, failed 3 times, last {SEGMENT}" in caught.value.msg
    assert caught.value.fields["archiver"] == statistics
    assert 100 + seconds <= clock.now <= 101 + seconds
    assert not Path(world.instance.files.proof).exists()


@pytest.mark.parametrize(
    ("held", "text"),
    [(None, "ended with 74 and 0 bytes: ERROR: Archive does not exist"), (SIZE - 1, f"and {SIZE - 1} bytes")],
)
def test_what_is_counted_as_archived_but_not_there(world: World, held: int | None, text: str) -> None:
    """WAL-G's archive-status cache says "done" for what the storage never got."""
    proved(world)
    before = Path(world.instance.files.proof).read_text()
    with pytest.raises(WalgError) as caught:
        check(world, Storage(calls=[world.facts(), *pushes(world)], held=held), force=True)
    assert f"PostgreSQL counts {SEGMENT} as archived, but fetching it back from file:///storage" in caught.value.msg
    assert text in caught.value.msg
    assert caught.value.fields["segment"] == SEGMENT
    assert Path(world.instance.files.proof).read_text() == before
    assert [path.name for path in Path(world.instance.state_dir).iterdir()] == ["archive-proof.json"]
