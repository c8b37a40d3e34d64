# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The marker's way to and from the storage; who is asked, where, and what an answer means. WAL-G answers by a script."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _confirm, _owner, _ownership
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._server import ServerFacts
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _client, _owner_seen
from support.scripted import Call, Scripted
from support.walg_world import IDENTIFIER, World, segment, shown, write_cluster

BESIDE = {"WALG_GS_PREFIX": "gs://bucket/path.owner"}
INSIDE: dict[str, str] = {}
HEAD = "type size last modified name\n"
LISTED = f"{HEAD}obj 3 2026-01-01 00:00:00 +0000 UTC {_owner.OBJECT}\n"
FORBIDDEN = {"rc": 1, "stderr": "ERROR: googleapi: Error 403: no access, forbidden\n"}
MISSING = {"rc": 1, "stderr": "ERROR: object 'x' not found in storage\n"}
DEAD = {"rc": 1, "stderr": "ERROR: dial tcp: connection refused\n"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A host whose archive is in a bucket."""
    made = World(tmp_path)
    Path(made.instance.settings_file).write_text('{"WALG_GS_PREFIX": "gs://bucket/path"}')
    return made


def walg(world: World, runner: Scripted) -> _client.Walg:
    instance = world.instance
    return _client.Walg(runner, instance.binary, instance.settings_file, instance.cluster.owner(), "gs://bucket/path")


def cat(world: World, place: dict[str, str], **answer: Any) -> Call:
    return world.walg("st", "cat", _owner.OBJECT, env=place, **answer)


def ls(world: World, place: dict[str, str], **answer: Any) -> Call:
    return world.walg("st", "ls", env=place, **{"stdout": HEAD, **answer})


def marked(world: World, place: dict[str, str], **changes: Any) -> Call:
    call = world.owner(**changes)
    call.env = place
    return call


def facts(world: World, **changes: Any) -> ServerFacts:
    return ServerFacts(**{**json.loads(world.facts().stdout), **changes})


def read(world: World, *calls: Call) -> _owner.Owner | None:
    runner = Scripted(calls=list(calls))
    found = _ownership.read(walg(world, runner))
    runner.finish()
    return found


# --- reading ----------------------------------------------------------------------------------------------------------


def test_beside_the_prefix_first(world: World) -> None:
    found = read(world, marked(world, BESIDE))
    assert found is not None
    assert found.system_identifier == IDENTIFIER


def test_inside_when_nothing_is_beside(world: World) -> None:
    assert read(world, cat(world, BESIDE, **MISSING), ls(world, BESIDE), marked(world, INSIDE)) is not None


def test_nobody_s_only_when_both_places_list_none(world: World) -> None:
    absent = [call for place in (BESIDE, INSIDE) for call in (cat(world, place, **MISSING), ls(world, place))]
    assert read(world, *absent) is None


def test_credentials_that_end_at_the_prefix(world: World) -> None:
    assert (
        read(world, cat(world, BESIDE, **FORBIDDEN), ls(world, BESIDE, **FORBIDDEN), marked(world, INSIDE)) is not None
    )


@pytest.mark.parametrize("place", [BESIDE, INSIDE])
def test_one_that_is_listed_but_not_read_is_an_error(world: World, place: dict[str, str]) -> None:
    """WAL-G 3.0.9 on Google's storage says "missing" and "dead" alike."""
    before = [] if place == BESIDE else [cat(world, BESIDE, **MISSING), ls(world, BESIDE)]
    with pytest.raises(WalgError, match="connection refused"):
        read(world, *before, cat(world, place, **DEAD), ls(world, place, stdout=LISTED))


@pytest.mark.parametrize("place", [BESIDE, INSIDE])
def test_a_storage_that_does_not_answer_is_never_an_empty_one(world: World, place: dict[str, str]) -> None:
    before = [] if place == BESIDE else [cat(world, BESIDE, **MISSING), ls(world, BESIDE)]
    with pytest.raises(WalgError, match="connection refused"):
        read(world, *before, cat(world, place, **DEAD), ls(world, place, **DEAD))
    with pytest.raises(WalgError, match="did not answer"):
        read(world, *before, cat(world, place, rc=-9, timed_out=True))


def test_the_prefix_itself_has_to_be_readable(world: World) -> None:
    with pytest.raises(WalgError, match="403"):
        read(
            world,
            cat(world, BESIDE, **FORBIDDEN),
            ls(world, BESIDE, **FORBIDDEN),
            cat(world, INSIDE, **FORBIDDEN),
            ls(world, INSIDE, **FORBIDDEN),
        )


def test_the_place_is_by_the_settings_that_wal_g_reads(world: World) -> None:
    """Not by the record: somebody may have edited them."""
    Path(world.instance.settings_file).write_text('{"WALG_S3_PREFIX": "s3://other/x"}')
    assert read(world, marked(world, {"WALG_S3_PREFIX": "s3://other/x.owner"})) is not None
    Path(world.instance.settings_file).write_text('{"WALG_GS_PREFIX": "gs://bucket"}')
    assert read(world, marked(world, INSIDE)) is not None
    Path(world.instance.settings_file).write_text("{")
    with pytest.raises(WalgError, match="run the role again"):
        read(world)


# --- deciding ---------------------------------------------------------------------------------------------------------


def plan(world: World, *calls: Call, take_over: str = "", **changes: Any) -> _ownership.OwnerPlan:
    runner = Scripted(calls=list(calls))
    made = _ownership.plan(walg(world, runner), facts(world, **changes), take_over)
    runner.finish()
    return made


def absent(world: World) -> list[Call]:
    return [call for place in (BESIDE, INSIDE) for call in (cat(world, place, **MISSING), ls(world, place))]


def test_plans(world: World) -> None:
    new = plan(world, *absent(world))
    assert new.after is not None
    assert (new.before, new.place, new.after.timeline) == (None, None, 1)
    assert new.diff()[0] == "archive of nobody"
    assert plan(world, marked(world, BESIDE)).after is None
    above = plan(world, marked(world, BESIDE, writer="w1"), timeline=2)
    assert above.after is not None
    assert (above.place, above.after.timeline) == (BESIDE, 2)
    with pytest.raises(_owner.ForeignError):
        plan(world, marked(world, BESIDE, writer="w1"))
    assert plan(world, marked(world, BESIDE, writer="w1"), take_over="w1").after is not None


def test_a_standby_enters_itself_once(world: World) -> None:
    assert plan(world, *absent(world), in_recovery=True).after is None
    after = plan(world, marked(world, BESIDE, writer="w1"), in_recovery=True).after
    assert after is not None
    assert (after.writer, [one.data_dir for one in after.successors]) == ("w1", [str(world.data_dir)])
    again = marked(world, BESIDE, writer="w1", successors=after.successors)
    assert plan(world, again, in_recovery=True).after is None
    with pytest.raises(_owner.ForeignError):
        plan(world, marked(world, BESIDE, system_identifier="7"), in_recovery=True)


def test_those_who_know_no_timeline_go_by_the_identifier(world: World) -> None:
    for calls, identifier, passes in (
        (absent(world), IDENTIFIER, True),
        ([marked(world, BESIDE, writer="w1")], IDENTIFIER, True),
        ([marked(world, BESIDE)], "7", False),
    ):
        asked = walg(world, Scripted(calls=calls))
        if passes:
            _ownership.refuse_other_cluster(asked, identifier)
        else:
            with pytest.raises(_owner.ForeignError):
                _ownership.refuse_other_cluster(asked, identifier)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (struct.pack("=Q", int(IDENTIFIER)), None),
        (struct.pack("=Q", 7), "WAL of system identifier 7"),
        (b"", "can't be fetched"),
        (None, "can't be fetched .no such object."),
    ],
)
def test_wal_without_marker_and_base_backup(
    world: World, monkeypatch: pytest.MonkeyPatch, content: bytes | None, text: str | None
) -> None:
    """The newest segment of the highest timeline is fetched, looked at, and removed."""
    world.wal = [shown(1, 1, 9), shown(2, 9, 12)]
    runner, state = Scripted(calls=[world.shows()]), Path(world.instance.state_dir)

    def fetch(self: _client.Walg, name: str, destination: str, segment_size: int) -> Result:
        assert (name, os.path.dirname(destination)) == (segment(2, 12), str(state))
        assert segment_size == 16 * 1024 * 1024
        if content is not None:
            Path(destination).write_bytes(b"\0" * 24 + content + b"\0" * 8)
        return Result([], 0 if content is not None else 1, "", "no such object")

    monkeypatch.setattr(_client.Walg, "fetch_segment", fetch)
    if text is None:
        _ownership.refuse_foreign_wal(walg(world, runner), facts(world), str(state))
    else:
        with pytest.raises(WalgError, match=text):
            _ownership.refuse_foreign_wal(walg(world, runner), facts(world), str(state))
    assert os.listdir(state) == []


def test_no_wal_is_nobody_s(world: World) -> None:
    world.wal = []
    state = world.instance.state_dir
    _ownership.refuse_foreign_wal(walg(world, Scripted(calls=[world.shows()])), facts(world), state)
    _owner_seen.note(state, "", "gs://bucket/path", IDENTIFIER)
    with pytest.raises(WalgError, match="has lost the marker"):
        _ownership.refuse_foreign_wal(walg(world, Scripted(calls=[world.shows()])), facts(world), state)


# --- writing ----------------------------------------------------------------------------------------------------------


def put(world: World, place: dict[str, str], **answer: Any) -> Call:
    source = os.path.join(world.instance.state_dir, _owner.OBJECT)
    return world.walg("st", "put", source, _owner.OBJECT, "-f", "--no-compress", "--no-encrypt", env=place, **answer)


def write(world: World, place: dict[str, str] | None, *calls: Call) -> None:
    after = _owner.parse(world.owner().stdout, "x")
    runner = Scripted(calls=list(calls))
    try:
        _ownership.apply(walg(world, runner), _ownership.OwnerPlan(None, after, place), world.instance.state_dir)
    finally:
        assert set(os.listdir(world.instance.state_dir)) <= {"owner-seen"}
    runner.finish()


def test_it_is_written_beside_and_read_back(world: World) -> None:
    write(world, None, put(world, BESIDE), marked(world, BESIDE))


def test_inside_where_beside_is_forbidden(world: World) -> None:
    write(world, None, put(world, BESIDE, **FORBIDDEN), put(world, INSIDE), marked(world, INSIDE))


def test_not_inside_because_the_storage_is_down(world: World) -> None:
    with pytest.raises(WalgError, match="connection refused"):
        write(world, None, put(world, BESIDE, **DEAD))


@pytest.mark.parametrize("place", [BESIDE, INSIDE])
def test_it_stays_where_it_stands(world: World, place: dict[str, str]) -> None:
    write(world, place, put(world, place), marked(world, place))
    with pytest.raises(WalgError, match="403"):
        write(world, place, put(world, place, **FORBIDDEN))


def test_two_hosts_at_once(world: World) -> None:
    with pytest.raises(WalgError, match="another host"):
        write(world, None, put(world, BESIDE), marked(world, BESIDE, writer="w1"))


# --- file storages ----------------------------------------------------------------------------------------------------


def test_a_directory_beside_is_made_for_the_owner_alone(world: World, tmp_path: Path) -> None:
    prefix = tmp_path / "backup" / "main"
    prefix.mkdir(parents=True)
    Path(world.instance.settings_file).write_text(json.dumps({"WALG_FILE_PREFIX": str(prefix)}))
    beside = {"WALG_FILE_PREFIX": f"{prefix}.owner"}
    assert read(world, cat(world, INSIDE, **MISSING), ls(world, INSIDE)) is None
    assert os.listdir(prefix.parent) == ["main"], "reading makes nothing"
    write(world, None, put(world, beside), marked(world, beside))
    assert Path(f"{prefix}.owner").stat().st_mode & 0o777 == 0o700
    assert read(world, marked(world, beside)) is not None


def test_a_mount_point_has_no_beside(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sibling would be on the local disk, unseen by the share's other hosts."""
    prefix = tmp_path / "share"
    prefix.mkdir()
    (tmp_path / "share.owner").mkdir()
    Path(world.instance.settings_file).write_text(json.dumps({"WALG_FILE_PREFIX": str(prefix)}))
    stat = os.stat

    def elsewhere(path: Any, **options: Any) -> os.stat_result:
        found = stat(path, **options)
        if str(path) != str(prefix):
            return found
        return os.stat_result([*found[:2], found.st_dev + 1, *found[3:]])

    monkeypatch.setattr(_ownership.os, "stat", elsewhere)
    write(world, None, put(world, INSIDE), marked(world, INSIDE))
    assert read(world, marked(world, INSIDE)) is not None


def test_a_directory_that_nobody_may_write(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = tmp_path / "backup"
    prefix.mkdir()
    Path(world.instance.settings_file).write_text(json.dumps({"WALG_FILE_PREFIX": str(prefix)}))

    def denied(path: str, mode: int) -> None:
        raise PermissionError(13, "denied", path)

    monkeypatch.setattr(_ownership.os, "mkdir", denied)
    write(world, None, put(world, INSIDE), marked(world, INSIDE))


# --- the push wrapper's question --------------------------------------------------------------------------------------


def cluster(world: World, timeline: int = 1, *, version: int = 1300, identifier: str = IDENTIFIER) -> None:
    write_cluster(world.data_dir, identifier)
    head = struct.pack("=QIIi", int(identifier), version, 202107181, 6)
    at = 48 if version >= 1100 else 56
    control = head.ljust(at, b"\0") + struct.pack("=I", timeline)
    (world.data_dir / "global" / "pg_control").write_bytes(control.ljust(8192, b"\0"))


def confirmed(world: World, name: str, *calls: Call) -> bool:
    runner = Scripted(calls=list(calls))
    try:
        _confirm.confirm_push(walg(world, runner), world.instance, str(world.data_dir), name)
    except _owner.ForeignError:
        return False
    finally:
        runner.finish()
    return True


@pytest.mark.parametrize("version", [1002, 1100, 1300, 1800, 1905])
@pytest.mark.parametrize(
    ("timeline", "name", "expected"),
    [
        (1, segment(1, 5), False),
        (2, segment(2, 5), True),
        (2, segment(1, 5) + ".partial", True),  # of a promoted standby: the control file knows
        (1, "00000002.history", True),  # the first file after a promotion, before the next checkpoint
        (1, segment(1, 5) + ".00000028.backup", False),
        (1, "nonsense", False),
    ],
)
def test_another_writer_passes_by_the_timeline(
    world: World, version: int, timeline: int, name: str, expected: bool
) -> None:
    cluster(world, timeline, version=version)
    assert confirmed(world, name, marked(world, BESIDE, writer="w1")) is expected


def test_the_writer_itself_passes(world: World) -> None:
    cluster(world)
    assert confirmed(world, segment(1, 5), marked(world, BESIDE, timeline=7, highest_timeline=9))


def test_a_standby_that_archives_passes_by_the_identifier(world: World) -> None:
    cluster(world)
    (world.data_dir / "standby.signal").touch()
    assert confirmed(world, segment(1, 5), marked(world, BESIDE, writer="w1"))
    assert not confirmed(world, segment(1, 5), marked(world, BESIDE, system_identifier="7"))


def test_an_archive_that_says_nothing_is_never_adopted(world: World) -> None:
    cluster(world)
    with pytest.raises(WalgError, match=r"does not say whose archive.*mapswipe\.walg\.walg_backup"):
        confirmed(world, segment(1, 5), *absent(world))
    with pytest.raises(WalgError, match="can't be read"):
        confirmed(world, segment(1, 5), cat(world, BESIDE, stdout="{}"))


def test_the_directory_has_to_be_the_recorded_cluster(world: World) -> None:
    world.data_dir.mkdir()
    with pytest.raises(WalgError, match="is not a data directory"):
        confirmed(world, segment(1, 5))
    world.data_dir.rmdir()
    cluster(world, identifier="7")
    with pytest.raises(WalgError, match=f"the instance main is of {IDENTIFIER}"):
        confirmed(world, segment(1, 5), marked(world, BESIDE, system_identifier="7"))
