# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose archive is it: who may write, what the marker says afterwards, where it stands, what can't be read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _owner
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError

ID, OTHER_ID = "7310203040506070809", "7310203040506070810"
WHERE = "gs://bucket/path"
LATER = "2026-02-01T00:00:00Z"
PRODUCTION = _owner.Writer("db1", "3d1219c7", "/data")
OTHER_HOST = _owner.Writer("db2", "99999999", "/data")
OTHER_DIRECTORY = _owner.Writer("db1", "3d1219c7", "/data.copy")


STANDBY = _owner.Writer("db3", "33333333", "/data")


def owner(timeline: int = 3, highest: int = 3, writer: _owner.Writer = PRODUCTION) -> _owner.Owner:
    made = _owner.Owner(
        ID, writer.name, writer.host, writer.data_dir, timeline, highest, "2026-01-01T00:00:00Z", writer.machine_name
    )
    return _owner.with_successor(made, STANDBY, made.written) or made


def passes(
    writer: _owner.Writer,
    timeline: int,
    *,
    identifier: str = ID,
    take_over: str = "",
    found: _owner.Owner | None = None,
) -> bool:
    try:
        _owner.refuse_foreign(found or owner(), identifier, writer, timeline, WHERE, take_over)
    except _owner.ForeignError:
        return False
    return True


# --- who may write ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "writer", "timeline", "expected"),
    [
        ("the same", PRODUCTION, 3, True),
        ("restored in place", PRODUCTION, 4, True),
        ("rolled back to the old directory", PRODUCTION, 2, True),
        ("its host was renamed", replace(PRODUCTION, host="db9"), 3, True),
        ("a standby on which the role ran, promoted", STANDBY, 4, True),
        ("the same, and not promoted", STANDBY, 3, False),
        ("another directory on that standby's host", replace(STANDBY, data_dir="/other"), 4, False),
        ("a standby on which the role never ran, promoted", OTHER_HOST, 4, False),
        ("restored on another host", OTHER_HOST, 7, False),
        (
            "restored on a clone of the host, machine-id and all",
            replace(PRODUCTION, host="db2", data_dir="/other"),
            4,
            False,
        ),
        ("restored on another host of that name", replace(OTHER_HOST, host="db1"), 4, False),
        ("restored on the same host in another directory", OTHER_DIRECTORY, 4, True),
        ("a clone on another host", OTHER_HOST, 3, False),
        ("a clone in another directory", OTHER_DIRECTORY, 3, False),
        ("the old primary after a failover", OTHER_HOST, 2, False),
        ("a host whose machine-id was made anew", replace(PRODUCTION, machine="1234"), 3, False),
        ("a machine without an id", replace(PRODUCTION, machine=""), 3, False),
    ],
)
def test_who_may_write(case: str, writer: _owner.Writer, timeline: int, expected: bool) -> None:
    assert passes(writer, timeline) is expected, case


def test_another_identifier_never_passes() -> None:
    """Not with a higher timeline, nor from the same place, nor by the option."""
    for writer in (PRODUCTION, OTHER_HOST):
        for timeline in (1, 3, 99):
            assert not passes(writer, timeline, identifier=OTHER_ID, take_over=PRODUCTION.name)


def test_after_a_rollback_a_copy_of_the_future_is_below_what_was() -> None:
    """Production went back to 2, and the directory it left is on 3: that one must not pass as a failover."""
    rolled_back = owner(timeline=2, highest=3)
    assert not passes(OTHER_DIRECTORY, 3, found=rolled_back)
    assert passes(STANDBY, 4, found=rolled_back)


def test_take_over_names_who_is_replaced() -> None:
    assert passes(OTHER_HOST, 3, take_over=PRODUCTION.name)
    for wrong in ("true", "yes", OTHER_HOST.name, ID, PRODUCTION.name.upper(), PRODUCTION.name[:-1]):
        assert not passes(OTHER_HOST, 3, take_over=wrong)


def test_take_over_left_in_the_inventory_does_not_take_back() -> None:
    """Two nodes with the same variables would take the archive from each other forever."""
    option = PRODUCTION.name
    assert passes(OTHER_HOST, 3, take_over=option)
    taken = _owner.taken_over_by(owner(), ID, OTHER_HOST, 3, LATER)
    assert taken is not None
    assert not passes(OTHER_DIRECTORY, 3, take_over=option, found=taken)
    assert not passes(PRODUCTION, 3, take_over=option, found=taken)


def test_the_refusal_says_what_to_do() -> None:
    with pytest.raises(_owner.ForeignError) as caught:
        _owner.refuse_foreign(owner(), ID, OTHER_HOST, 3, WHERE)
    for part in (
        WHERE,
        "/data on db1",
        "/data on db2",
        ID,
        f'walg_backup_take_over: "{PRODUCTION.name}"',
        "a prefix of its own",
    ):
        assert part in caught.value.msg
    with pytest.raises(_owner.ForeignError, match=f"another cluster.*{ID}.*{OTHER_ID}") as caught:
        _owner.refuse_foreign(owner(), OTHER_ID, OTHER_HOST, 3, WHERE)
    assert "take_over" not in caught.value.msg


def test_a_restore_elsewhere_is_asked_before_anything_is_fetched() -> None:
    for writer in (PRODUCTION, STANDBY, OTHER_DIRECTORY):
        _owner.refuse_capture(owner(), writer, WHERE)
    _owner.refuse_capture(owner(), OTHER_HOST, WHERE, PRODUCTION.name)
    with pytest.raises(_owner.ForeignError) as caught:
        _owner.refuse_capture(owner(), OTHER_HOST, WHERE, "w1")
    for line in ("  walg_restore_archive: none\n", f'  walg_backup_take_over: "{PRODUCTION.name}"'):
        assert line in caught.value.msg


def test_a_marker_of_an_earlier_version_knows_hosts_by_name() -> None:
    old = replace(owner(), machine="", successors=())
    assert passes(OTHER_DIRECTORY, 4, found=old)
    assert not passes(OTHER_HOST, 4, found=old)
    text = json.loads(_owner.render(old))
    del text["machine"], text["successors"]
    assert _owner.parse(json.dumps(text), WHERE) == old


def test_successors_of_the_next_writer() -> None:
    """After a failover the old primary may come back as a standby and be promoted; one replaced by name may not."""
    failover = _owner.taken_over_by(owner(), ID, STANDBY, 4, LATER)
    assert failover is not None
    assert [one.writer for one in failover.successors] == [PRODUCTION.name]
    assert passes(PRODUCTION, 5, found=failover)
    assert not passes(PRODUCTION, 4, found=failover)
    replaced = _owner.taken_over_by(owner(), ID, OTHER_HOST, 4, LATER)
    assert replaced is not None
    assert [one.writer for one in replaced.successors] == [STANDBY.name]


# --- what the marker says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "writer", "timeline", "expected"),
    [
        (None, PRODUCTION, 5, (5, 5)),
        (owner(), PRODUCTION, 3, None),
        (owner(), PRODUCTION, 4, (4, 4)),
        (owner(), PRODUCTION, 2, (2, 3)),
        (owner(2, 3), PRODUCTION, 2, None),
        (owner(2, 3), OTHER_HOST, 4, (4, 4)),
        (owner(), OTHER_HOST, 1, (1, 3)),
        (owner(), replace(PRODUCTION, host="db9"), 3, (3, 3)),
    ],
)
def test_the_next_marker(
    found: _owner.Owner | None, writer: _owner.Writer, timeline: int, expected: tuple[int, int] | None
) -> None:
    made = _owner.taken_over_by(found, ID, writer, timeline, LATER)
    assert (made and (made.timeline, made.highest_timeline)) == expected
    if made is not None:
        assert (made.writer, made.host, made.data_dir) == (writer.name, writer.host, writer.data_dir)
        assert (made.system_identifier, made.written) == (ID, LATER)
        assert _owner.taken_over_by(made, ID, writer, timeline, "2026-03-01T00:00:00Z") is None


def test_the_writer_s_name_holds_machine_and_directory_and_gives_neither_away() -> None:
    names = {one.name for one in (PRODUCTION, OTHER_HOST, OTHER_DIRECTORY, replace(PRODUCTION, machine=""))}
    assert len(names) == 4
    assert replace(PRODUCTION, host="renamed").name == PRODUCTION.name
    text = _owner.render(owner())
    assert PRODUCTION.machine not in text
    assert _owner.Writer("h", "m", "/da\udcffta").name != _owner.Writer("h", "m", "/data").name


# --- reading ----------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read() -> None:
    strange = replace(owner(), data_dir='/it\'s "here" käse', host="")
    assert _owner.parse(_owner.render(strange), WHERE) == strange
    assert isinstance(json.loads(_owner.render(owner()))["system_identifier"], str)


def changed(**values: Any) -> str:
    marker = json.loads(_owner.render(owner()))
    marker.update(values)
    return json.dumps({name: value for name, value in marker.items() if value != "gone"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "{",
        "[]",
        "null",
        '"main"',
        "{}",
        _owner.render(owner())[:-20],
        "<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        changed(format=2),
        changed(format="1"),
        changed(system_identifier=int(ID)),
        changed(system_identifier=""),
        changed(system_identifier="0"),
        changed(system_identifier="12x"),
        changed(system_identifier="gone"),
        changed(writer=""),
        changed(writer=None),
        changed(timeline="3"),
        changed(timeline=0),
        changed(timeline=True),
        changed(highest_timeline=None),
        changed(highest_timeline="gone"),
        changed(data_dir=["/data"]),
    ],
)
def test_what_can_not_be_read_is_nobody_s_to_take(text: str) -> None:
    with pytest.raises(WalgError, match="can't be read") as caught:
        _owner.parse(text, WHERE)
    assert WHERE in caught.value.msg
    assert _owner.OBJECT in caught.value.msg


def test_a_field_that_a_later_version_adds_is_no_obstacle() -> None:
    assert _owner.parse(changed(more="x"), WHERE) == owner()


# --- where it stands --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"WALG_GS_PREFIX": "gs://bucket/path"}, {"WALG_GS_PREFIX": "gs://bucket/path.owner"}),
        ({"WALG_GS_PREFIX": "gs://bucket/a/b/"}, {"WALG_GS_PREFIX": "gs://bucket/a/b.owner"}),
        ({"WALG_FILE_PREFIX": "/backup/main"}, {"WALG_FILE_PREFIX": "/backup/main.owner"}),
        ({"WALE_S3_PREFIX": "s3://bucket/path"}, {"WALE_S3_PREFIX": "s3://bucket/path.owner"}),
        ({"WALG_SSH_PREFIX": "ssh://host/srv/x", "SSH_PORT": "22"}, {"WALG_SSH_PREFIX": "ssh://host/srv/x.owner"}),
        ({"WALG_GS_PREFIX": "gs://bucket"}, None),
        ({"WALG_S3_PREFIX": "s3://bucket/"}, None),
        ({"WALG_AZ_PREFIX": "azure://container"}, None),
        ({"WALG_FILE_PREFIX": "/"}, None),
    ],
)
def test_the_place(settings: dict[str, str], expected: dict[str, str] | None) -> None:
    assert _owner.place_beside(settings) == expected


@pytest.mark.parametrize("settings", [{}, {"WALG_GS_PREFIX": "gs://a/b", "WALG_S3_PREFIX": "s3://a/b"}])
def test_no_place_without_one_prefix(settings: dict[str, str]) -> None:
    with pytest.raises(WalgError, match="storage"):
        _owner.place_beside(settings)


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        ("ERROR: googleapi: Error 403: x does not have storage.objects.get access to it., forbidden", True),
        ("AccessDenied: Access Denied status code: 403, request id: 1", True),
        ("ERROR: open /backup/main.owner/x: permission denied", True),
        ("ERROR: googleapi: got HTTP response code 503 with body: backend error", False),
        ("dial tcp 10.0.0.1:443: connect: connection refused", False),
        ("FS error : Folder not exists or is inaccessible: stat /x: no such file or directory", False),
        ("", False),
    ],
)
def test_a_missing_right_is_told_from_a_missing_storage(stderr: str, expected: bool) -> None:
    assert _owner.denied(WalgError("x", stderr=stderr)) is expected
    assert not _owner.denied(WalgError("x", stderr=stderr, timed_out=True))
