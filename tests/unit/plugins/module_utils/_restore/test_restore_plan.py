# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a restore: what is chosen, and everything that is refused before the first change."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _mounts
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _data_dir, _servers
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._data_dir import DataDir
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._targets import Target
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import (
    _host_check,
    _layout,
    _options,
    _plan,
    _request,
    _room,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._options import RestoreOptions
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._plan import RestorePlan
from support.scripted import Call, Scripted
from support.walg_world import (
    IDENTIFIER,
    SIZE,
    World,
    listed,
    segment,
    shown,
    write_cluster,
)

POSTGRES = "postgres (PostgreSQL) 14.23\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One backup in segment 2, WAL from 1 to 5, and no data directory: the disk is gone."""
    return World(tmp_path, [listed(1, 2, "2026-01-02T00:00:00Z")], [shown(1, 1, 5)])


def chosen(world: World, name: str, sentinel: dict[str, Any] | None = None) -> list[Call]:
    """The questions that follow when a backup was chosen."""
    record = json.dumps(sentinel or {"Spec": None})
    return [
        world.walg("st", "cat", f"basebackups_005/{name}_backup_stop_sentinel.json", stdout=record),
        world.version(),
        Call([os.path.join(world.instance.cluster.bin_dir, "postgres"), "-V"], stdout=POSTGRES),
    ]


def make(world: World, *calls: Call, finish: bool = True, ours: tuple[str, ...] = (), **wishes: Any) -> RestorePlan:
    runner = Scripted(calls=list(calls))
    made = _plan.make(runner, world.instance, RestoreOptions("r1", **wishes), ours)
    if finish:
        runner.finish()
    return made


def looked(world: World, name: str = f"base_{segment(1, 2)}", **owner: Any) -> list[Call]:
    """All questions of a plan that goes through."""
    return [*world.lists(), world.shows(), world.owner(**owner), *chosen(world, name)]


def snapshot(root: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in root.rglob("*"))


def test_plan_of_a_lost_disk(world: World) -> None:
    before = snapshot(world.root)
    made = make(world, *looked(world))
    assert snapshot(world.root) == before
    data = os.path.realpath(world.data_dir)
    assert (made.data.path, made.data.work, made.data.aside) == (data, f"{data}.restore-r1", f"{data}.before-r1")
    assert (made.backup.name, made.timeline, made.skipped) == (f"base_{segment(1, 2)}", 1, [])
    assert made.last_segments == [segment(1, 5)]
    assert made.found.kind == "absent"
    assert made.answer().kept_as is None
    assert json.loads(made.diff()["before"])["holds"] == "absent"
    assert json.loads(made.diff()["after"])["up_to_segment"] == segment(1, 5)


def test_an_old_directory_is_kept_and_named(world: World) -> None:
    write_cluster(world.data_dir)
    made = make(world, *looked(world))
    assert made.found.kind == "cluster"
    assert made.answer().kept_as == made.data.aside


def test_the_data_directory_by_a_link(world: World) -> None:
    (world.root / "pg" / "real").mkdir()
    world.data_dir.symlink_to(world.root / "pg" / "real")
    made = make(world, *looked(world))
    assert made.data.path == str(world.root / "pg" / "real")
    assert made.data.work == f"{made.data.path}.restore-r1"


def test_the_newest_backup_whose_wal_is_there(world: World) -> None:
    """A newer one without its last segment can't be restored; that it was passed over is said."""
    world.backups += [listed(1, 4, "2026-01-03T00:00:00Z"), listed(1, 5, "2026-01-04T00:00:00Z", segments=1)]
    calls = looked(world, f"base_{segment(1, 4)}")
    newest = world.walg("st", "cat", f"basebackups_005/base_{segment(1, 5)}_backup_stop_sentinel.json", stdout="{}")
    made = make(world, *calls[:-2], newest, *calls[-2:])
    assert made.backup.name == f"base_{segment(1, 4)}"
    assert made.skipped == [f"base_{segment(1, 5)}"]


@pytest.mark.parametrize("content", [None, [], ["PG_14_202107181"]])
def test_a_tablespace_made_after_the_base_backup(world: World, tmp_path: Path, content: list[str] | None) -> None:
    """Replay makes it again at its place, and clears that first: refused if something lies there."""
    place = tmp_path / "space"
    for name in [""] if content == [] else content or []:
        (place / name).mkdir(parents=True)
    world.backups += [listed(1, 5, "2026-01-04T00:00:00Z", segments=1)]
    record = json.dumps({"Spec": {"tablespaces": ["16388"], "16388": {"loc": str(place), "link": "pg_tblspc/16388"}}})
    calls = looked(world)
    newest = world.walg("st", "cat", f"basebackups_005/base_{segment(1, 5)}_backup_stop_sentinel.json", stdout=record)
    if content:
        with pytest.raises(WalgError, match="is from before the tablespace 16388 was made"):
            make(world, *calls[:-2], newest, finish=False)
    else:
        assert make(world, *calls[:-2], newest, *calls[-2:]).backup.name == f"base_{segment(1, 2)}"


@pytest.mark.parametrize("identifier", [IDENTIFIER, "4711"])
def test_a_tablespace_of_a_server_elsewhere_on_this_host(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identifier: str
) -> None:
    """The source of a copy: newer than every base backup, its tablespace is in its own directory only."""
    place = tmp_path / "space"
    (place / "PG_14_202107181").mkdir(parents=True)
    source = tmp_path / "source"
    write_cluster(source, identifier)
    (source / "pg_tblspc").mkdir()
    (source / "pg_tblspc" / "16388").symlink_to(place)
    monkeypatch.setattr(_servers, "served", lambda _users: [_data_dir.inspect(str(source), None)])
    if identifier == IDENTIFIER:
        refused(world, *looked(world)[:-2], text=f"could make it again at {place}")
    else:
        assert make(world, *looked(world)).backup.name == f"base_{segment(1, 2)}"


def test_the_timeline_of_a_promotion_is_followed(world: World) -> None:
    world.wal = [shown(1, 1, 5), shown(2, 5, 9, parent=1, switch=5 * SIZE + 160)]
    made = make(world, *looked(world))
    assert made.timeline == 2
    assert made.last_segments == [segment(1, 4), segment(2, 9)]


def test_a_segment_size_of_its_own(world: World) -> None:
    settings = Path(world.instance.settings_file)
    settings.write_text('{"WALG_FILE_PREFIX": "/storage", "WALG_PG_WAL_SIZE": "64"}')
    world.backups[0]["start_lsn"] = 2 * 4 * SIZE + 40
    world.backups[0]["finish_lsn"] = 2 * 4 * SIZE + 256
    assert make(world, *looked(world)).segment_size == 4 * SIZE


# --- refusals ---------------------------------------------------------------------------------------------------------


def refused(world: World, *calls: Call, text: str, **options: Any) -> WalgError:
    before = snapshot(world.root)
    with pytest.raises(WalgError, match=text) as caught:
        make(world, *calls, **options)
    assert snapshot(world.root) == before
    return caught.value


def test_empty_storage(world: World) -> None:
    world.backups = []
    refused(world, *world.lists(), text=r"file:///storage holds no base backup.*right prefix")


def test_another_clusters_archive(world: World) -> None:
    world.backups = [listed(1, 2, "2026-01-02T00:00:00Z", identifier="7")]
    found = refused(world, *world.lists(), text="holds no base backup of this cluster")
    assert found.fields == {"found": ["7"], "wanted": world.system_identifier}


@pytest.mark.parametrize(("known", "good"), [("8", True), ("", False)])
def test_an_archive_of_several_clusters_needs_a_name(tmp_path: Path, known: str, good: bool) -> None:
    backups = [listed(1, number, "2026-01-02T00:00:00Z", identifier=str(number)) for number in (7, 8)]
    world = World(tmp_path, backups, [shown(1, 1, 9)], known)
    if good:
        assert make(world, *looked(world, f"base_{segment(1, 8)}")).backup.system_identifier == known
    else:
        refused(world, *world.lists(), text=r"several clusters: 7, 8")


def test_on_a_fresh_host_the_one_cluster_of_the_archive_is_meant(tmp_path: Path) -> None:
    world = World(tmp_path, [listed(1, 2, "2026-01-02T00:00:00Z", identifier="7")], [shown(1, 1, 5)], "")
    assert make(world, *looked(world, system_identifier="7")).backup.system_identifier == "7"


def test_on_a_fresh_record_the_directory_says_which_cluster(tmp_path: Path) -> None:
    backups = [listed(1, number, "2026-01-02T00:00:00Z", identifier=str(number)) for number in (7, 8)]
    world = World(tmp_path, backups, [shown(1, 1, 9)], "")
    write_cluster(world.data_dir, "7")
    assert make(world, *looked(world, f"base_{segment(1, 7)}", system_identifier="7")).backup.system_identifier == "7"


def test_no_backup_has_its_wal(world: World) -> None:
    world.wal = [shown(1, 3, 5)]
    calls = [*world.lists(), world.shows(), world.owner()]
    found = refused(world, *calls, text="No base backup in file:///storage can be restored")
    assert found.fields == {"missing": [segment(1, 2)]}


def test_a_gap_after_the_backup(world: World) -> None:
    world.wal = [shown(1, 1, 5, missing=(4,))]
    found = refused(world, *looked(world), text=rf"The archive has a gap: {segment(1, 4)} \(1 in all\)")
    assert found.fields == {"missing": [segment(1, 4)]}


def test_a_long_gap_is_named_in_short(world: World) -> None:
    world.wal = [shown(1, 1, 20, missing=tuple(range(4, 14)))]
    found = refused(world, *looked(world), text=r"\.\.\. \(10 in all\)")
    assert len(found.fields["missing"]) == 10


def test_a_gap_before_the_backup_is_nobodys_trouble(world: World) -> None:
    world.wal = [shown(1, 0, 5, missing=(1,))]
    assert make(world, *looked(world)).last_segments == [segment(1, 5)]


@pytest.mark.parametrize(("free", "good"), [(512 * 1024 * 1024 + 1000, True), (512 * 1024 * 1024 + 999, False)])
def test_room(world: World, monkeypatch: pytest.MonkeyPatch, free: int, good: bool) -> None:
    monkeypatch.setattr(_room, "free_bytes", lambda _path: free)
    if good:
        assert make(world, *looked(world)).free == free
    else:
        found = refused(world, *looked(world), text="Too little room")
        assert found.fields == {"found": free, "wanted": free + 1}


@pytest.mark.parametrize(
    ("there", "saved", "taken"), [(2, 2, "there"), (1, 2, "saved"), (0, 1, "saved"), (2, 1, "there")]
)
def test_a_cluster_that_is_there_may_have_written_more_than_was_saved(
    world: World, monkeypatch: pytest.MonkeyPatch, there: int, saved: int, taken: str
) -> None:
    copy = f"{os.path.realpath(world.data_dir)}.restore-r1~wal"
    os.mkdir(copy)
    names = [segment(1, 6), segment(1, 7)]
    monkeypatch.setattr(
        _plan, "_salvaged", lambda _instance, source, *_more: names[: saved if source == copy else there]
    )
    made = make(world, *looked(world))
    assert made.salvage_from == (copy if taken == "saved" else os.path.join(os.path.realpath(world.data_dir), "pg_wal"))
    assert made.salvage == names[: max(there, saved)]


WAL, GIB = _room.ROOM, 1 << 30


def systems(world: World, monkeypatch: pytest.MonkeyPatch, **free: int) -> list[_layout.Location]:
    """A data directory, a WAL directory and a tablespace, each on a file system with so much room (a name: the same one)."""
    (world.root / "data").mkdir()
    names = {str(world.root / name): (number, room) for number, (name, room) in enumerate(free.items())}
    for path in names:
        Path(path).mkdir(exist_ok=True)
    monkeypatch.setattr(_room, "file_system", lambda path: names[path][0])
    monkeypatch.setattr(_room, "free_bytes", lambda path: names[path][1])
    links = {"space": "pg_tblspc/17", "wal": "pg_wal", "data": ""}
    return [_layout.place(str(world.root / name / "there"), link, "r1") for name, link in links.items() if name in free]


@pytest.mark.parametrize(
    ("free", "short"),
    [
        ({"data": GIB + WAL + 7}, ""),
        ({"data": GIB + WAL + 6}, "data"),
        ({"data": GIB, "wal": WAL + 7}, ""),
        ({"data": GIB - 1, "wal": 100 * GIB}, "data"),  # room elsewhere is no help
        ({"data": 100 * GIB, "wal": WAL + 6}, "wal"),
        ({"data": WAL + 7, "space": GIB}, ""),  # which part is how large is not known
        ({"data": WAL + 6, "space": 100 * GIB}, "data"),
        ({"data": WAL + 7, "space": GIB - 1}, "data"),  # too little in all
    ],
)
def test_room_is_judged_by_what_goes_to_each_file_system(
    world: World, monkeypatch: pytest.MonkeyPatch, free: dict[str, int], short: str
) -> None:
    places, room = systems(world, monkeypatch, **free), _room.Room(GIB, 7)
    if not short:
        assert _room.refuse_full(world.instance, places, room, "base_1", None) == sum(free.values())
        return
    with pytest.raises(WalgError, match=f"Too little room beside {world.root}/{short}/there") as caught:
        _room.refuse_full(world.instance, places, room, "base_1", None)
    assert caught.value.fields["found"] < caught.value.fields["wanted"]


def test_what_is_overwritten_makes_room_where_it_lies(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    places, room = systems(world, monkeypatch, data=GIB - 4096, wal=WAL - 4096), _room.Room(GIB, 0)
    for one in places:
        Path(one.path).mkdir()
        (Path(one.path) / "file").write_bytes(b"x" * 4096)
    old = DataDir(places[-1].path, "cluster", links={"pg_wal": places[0].path})
    assert _room.refuse_full(world.instance, places, room, "base_1", old) == GIB + WAL
    for less in (None, replace(old, links={"pg_wal": "/elsewhere"})):
        with pytest.raises(WalgError, match="Too little room"):
            _room.refuse_full(world.instance, places, room, "base_1", less)


@pytest.mark.parametrize(
    ("segments", "mib", "wanted"), [(5000, 16, 512), (2, 64, 512), (50, 64, 15 * 64), (1, 1024, 4 * 1024)]
)
def test_room_for_segments_that_are_fetched_ahead(segments: int, mib: int, wanted: int) -> None:
    assert _room.wal_room(segments, mib << 20) == wanted << 20


TABLESPACES = {"Spec": {"base_prefix": "/data", "tablespaces": ["16388"], "16388": {"loc": "/nowhere/t", "link": "x"}}}


def with_tablespace(world: World) -> list[Call]:
    return [*world.lists(), world.shows(), world.owner(), *chosen(world, f"base_{segment(1, 2)}", TABLESPACES)]


@pytest.mark.parametrize("key", ["16388", "/nowhere/t"])
def test_a_tablespace_goes_where_it_is_told(world: World, key: str) -> None:
    place = str(world.root / "pg" / "space")
    made = make(world, *with_tablespace(world), tablespaces={key: place})
    assert [(one.path, one.link, one.work) for one in made.places[:-1]] == [
        (place, "pg_tblspc/16388", f"{place}.restore-r1")
    ]
    assert made.places[-1] == made.data


def test_tablespaces_that_have_no_place(world: World) -> None:
    refused(world, *with_tablespace(world), text="/nowhere does not exist: make it first")
    refused(world, *with_tablespace(world), text="has no tablespace 17", tablespaces={"17": "/x"})
    inside = {"16388": str(world.data_dir / "space")}
    refused(world, *with_tablespace(world), text=r"is inside .*/pg/data", tablespaces=inside)


def test_a_tablespaces_place_that_is_somebody_elses(world: World) -> None:
    """What the old cluster does not use may be another cluster's."""
    place = world.root / "pg" / "space"
    place.mkdir()
    (place / "PG_14_202107181").mkdir()
    refused(
        world,
        *with_tablespace(world),
        text="is not empty: it holds PG_14_202107181, and the cluster",
        tablespaces={"16388": str(place)},
    )


def test_wal_g_that_ignores_where_tablespaces_go(world: World) -> None:
    calls = with_tablespace(world)
    calls[-2] = world.version("wal-g version v3.0.7\tx\ty\tPostgreSQL\n")
    refused(
        world,
        *calls[:-1],
        text="ignores the restore specification",
        tablespaces={"16388": str(world.root / "pg" / "space")},
    )


def test_another_major_of_postgresql(world: World) -> None:
    calls = looked(world)
    calls[-1] = replace(calls[-1], stdout="postgres (PostgreSQL) 15.2\n")
    found = refused(
        world, *calls, text=r"of PostgreSQL 14, but the programs in .*/bin are of 15\. Install PostgreSQL 14"
    )
    assert found.fields == {"found": 15, "wanted": 14}


def test_postgresql_that_does_not_start(world: World) -> None:
    calls = looked(world)
    calls[-1] = replace(calls[-1], rc=127, stdout="", stderr="libpq.so.5: cannot open shared object file")
    refused(world, *calls, text="cannot open shared object file")


def test_a_pair_that_can_not_work(world: World) -> None:
    """WAL-G 3.0.9 can't find the end of an archive on Google Cloud Storage."""
    world.instance = replace(world.instance, storage="gs://b/p")
    calls = looked(world)
    calls[-2] = world.version("wal-g version v3.0.9\tx\ty\tPostgreSQL\n")
    refused(world, *calls[:-1], text=r"WAL-G 3\.0\.9 .* on gs://.*Use WAL-G 3\.0\.8")


def test_the_fetch_wrapper_is_missing(world: World) -> None:
    (world.root / "programs" / "wal-fetch").unlink()
    refused(world, *looked(world), text=r"wal-fetch can't be run by .*role mapswipe\.walg\.walg first")


@pytest.mark.parametrize("request_name", ["", "-x", ".", "a/b", "..", "a b", "x" * 65, "ä", "$(id)"])
def test_request_names_directories(world: World, request_name: str) -> None:
    with pytest.raises(WalgError, match="Restore request"):
        _request.RestoreRequest(Scripted(), world.instance, RestoreOptions(request_name), 9, 9)


@pytest.mark.parametrize("request_name", ["a", "1", "lost-disk-2026-01-31", "v1.2_3", "x" * 64])
def test_good_requests(request_name: str) -> None:
    _options.check_request(request_name)


# --- the target directory ---------------------------------------------------------------------------------------------


def nothing(_world: World) -> None:
    """Absent."""


def foreign(world: World) -> None:
    (world.data_dir / "photos").mkdir(parents=True)


def other_cluster(world: World) -> None:
    write_cluster(world.data_dir, "7")


def a_file(world: World) -> None:
    world.data_dir.write_text("")


def aside_there(world: World) -> None:
    Path(f"{world.data_dir}.before-r1").mkdir()


def no_parent(world: World) -> None:
    world.data_dir.parent.rmdir()


def empty(world: World) -> None:
    world.data_dir.mkdir()


def damaged(world: World) -> None:
    (world.data_dir / "base").mkdir(parents=True)


def own_cluster(world: World) -> None:
    write_cluster(world.data_dir)


@pytest.mark.parametrize(
    ("prepare", "text"),
    [
        (foreign, "holds something that is not a PostgreSQL cluster"),
        (a_file, "holds something that is not a PostgreSQL cluster"),
        (other_cluster, "holds another cluster: system identifier 7"),
        (aside_there, "exists already, where the old directory would be kept"),
        (no_parent, "does not exist: make it first"),
        (nothing, None),
        (empty, None),
        (damaged, None),
        (own_cluster, None),
    ],
)
def test_target_directory(world: World, prepare: Callable[[World], None], text: str | None) -> None:
    """Nothing but what is kept aside is asked of the storage before a refusal."""
    prepare(world)
    if text is None:
        assert make(world, *looked(world)).backup.timeline == 1
    else:
        refused(world, *(looked(world) if prepare is aside_there else []), text=text)


def test_a_directory_in_the_works_place_is_refused_unless_it_is_ours(world: World) -> None:
    work = Path(f"{world.data_dir}.restore-r1")
    work.mkdir()
    refused(world, *looked(world), text="exists and nothing says that it is ours")
    refused(
        world, *looked(world), text="exists and nothing says that it is ours", ours=(f"{world.data_dir}.restore-r0",)
    )
    assert make(world, *looked(world), ours=(str(work),)).data.work == str(work)
    assert work.is_dir()


def test_a_mount_point(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can't be renamed: what is restored and what is kept lie inside it."""
    world.data_dir.mkdir()
    point = os.path.realpath(world.data_dir)
    monkeypatch.setattr(_mounts, "at_or_below", lambda path: [point] if path == point else [])
    made = make(world, *looked(world))
    assert made.data.mount
    assert made.data.work == f"{world.data_dir}/.mapswipe-walg/pgsql_tmp/restore-r1"
    assert made.data.aside == f"{world.data_dir}/.mapswipe-walg/pgsql_tmp/before-r1"


def test_a_cluster_of_unknown_identity_in_the_record_is_not_foreign(tmp_path: Path) -> None:
    """The directory's own identifier then has to be one of the archive's."""
    world = World(tmp_path, [listed(1, 2, "2026-01-02T00:00:00Z", identifier="8")], [shown(1, 1, 5)], "")
    write_cluster(world.data_dir, "7")
    refused(world, *world.lists(), text=r"system identifier 7\), but of 8")


def test_a_running_server_is_refused_unless_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cluster(world.data_dir)
    monkeypatch.setattr(_servers, "servers_on", lambda path: [4711] if path == str(world.data_dir) else [])
    monkeypatch.setattr(_host_check.Service, "refuse_unstoppable", lambda *_pids: None)
    found = refused(world, text=r"A server \(pid 4711\) runs on .*walg_restore_stop_running: true")
    assert found.fields == {"pids": [4711]}
    assert make(world, *looked(world), stop_running=True).backup.timeline == 1


@pytest.mark.parametrize("named", ["7", "main"])
def test_overwrite_names_the_cluster_that_goes(world: World, named: str) -> None:
    write_cluster(world.data_dir)
    found = refused(world, text="name exactly that", overwrite=named)
    assert found.fields == {"found": world.system_identifier, "wanted": named}


def test_what_is_overwritten_is_not_kept(world: World) -> None:
    write_cluster(world.data_dir)
    assert make(world, *looked(world), overwrite=world.system_identifier).kept_as is None


def test_another_c_library(world: World) -> None:
    """Indexes on text would silently be wrong."""
    world.backups[0]["user_data"] = {"mapswipe_walg": {"libc": "glibc 2.1"}}
    refused(world, *looked(world), text="sorted text by glibc 2.1, this host has")
    made = make(world, *looked(world), other_host_allowed=True)
    assert [note for note in made.notes if "glibc 2.1" in note]


def test_a_target_is_looked_for_before_anything_is_asked_of_the_host(world: World) -> None:
    calls = [*world.lists(), world.shows(), world.owner()]
    refused(world, *calls, text="is after the end of the archive", target=Target("lsn", "1/0"))
    refused(world, *calls, text="is before the end of the first base backup", target=Target("lsn", "0/1"))


@pytest.mark.parametrize(("prepare", "kept"), [(nothing, False), (empty, False), (damaged, True), (own_cluster, True)])
def test_the_old_directory_is_promised_to_be_kept(world: World, prepare: Callable[[World], None], kept: bool) -> None:
    prepare(world)
    made = make(world, *looked(world))
    assert made.answer().kept_as == (made.data.aside if kept else None)
