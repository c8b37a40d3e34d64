# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database user and the storage send a restore of root's to places that are not theirs: nothing there changes, and root says why.

By links in the data directory, by places that become links, by locations in the base backup's record, before a restore and while it waits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.attackers import Tally
from support.restoring import History, archived_apart, done, moved_away, restore
from support.sandbox import Cluster, Sandbox
from support.victims import Victims


@pytest.fixture(scope="module")
def history(sandbox: Sandbox) -> History:
    """Stopped: the attacker needs no server, and a restore that is refused starts none."""
    made = archived_apart(sandbox)
    made.cluster.stop()
    return made


@pytest.fixture(autouse=True)
def cluster_is_whole(history: History) -> Iterator[None]:
    """After each attack the cluster is what it was, and starts."""
    yield
    history.cluster.start()
    assert len(history.cluster.rows("s0")) == 101
    history.cluster.stop()


@contextmanager
def led(sandbox: Sandbox, place: Path, target: Path) -> Iterator[None]:
    """As the database user: a link stands in that place for the time of a block."""
    aside = place.with_name(f"{place.name}.mine")
    assert sandbox.run(["mv", "-T", str(place), str(aside)], user=sandbox.user).returncode == 0
    assert sandbox.run(["ln", "-s", str(target), str(place)], user=sandbox.user).returncode == 0
    yield
    sandbox.run(["rm", "-f", str(place)], user=sandbox.user)
    assert sandbox.run(["mv", "-T", str(aside), str(place)], user=sandbox.user).returncode == 0


def wal(_sandbox: Sandbox, cluster: Cluster) -> Path:
    return cluster.data_dir / "pg_wal"


def wal_elsewhere(sandbox: Sandbox, _cluster: Cluster) -> Path:
    """The directory that pg_wal leads to."""
    return sandbox.pg_dir / "apart" / "wal"


def tablespace(sandbox: Sandbox, _cluster: Cluster) -> Path:
    return sandbox.pg_dir / "apart" / "space0"


def data_dir(_sandbox: Sandbox, cluster: Cluster) -> Path:
    return cluster.data_dir


LINKS = [wal, wal_elsewhere, tablespace, data_dir]


def named(answers: list[dict[str, Any]], text: str) -> bool:
    answer = answers[0]
    return bool(answer.get("failed")) and text in answer["msg"] and "exception" not in answer


def attempts(sandbox: Sandbox, them: Victims, tally: Tally, text: str, **options: Any) -> None:
    """Ask for the restore in each way; ``text``: what a refusal has to name."""
    identifier = json.loads(next((sandbox.storage_dir / "main").rglob("*_sentinel.json")).read_text())[
        "SystemIdentifier"
    ]
    for check, more in ((tally.tried % 4 == 0, {}), (False, {"overwrite": str(identifier)})):
        answers: list[dict[str, Any]] = []
        with them.counted(tally, partial(named, answers, text)):
            answers.append(restore(sandbox, "led", check, **options, **more))
    for verb in ("rollback", "discard") if tally.tried < 4 else ():
        with them.counted(tally):
            restore(sandbox, "led", **{verb: True})


@pytest.mark.parametrize("link", LINKS)
def test_a_link_to_what_is_not_the_owners(
    sandbox: Sandbox, history: History, them: Victims, tally: Tally, link: Callable[[Sandbox, Cluster], Path]
) -> None:
    place = link(sandbox, history.cluster)
    for target in [*them.places().values(), Path("/"), Path("/proc")]:
        with led(sandbox, place, target):
            attempts(sandbox, them, tally, str(target))


@pytest.mark.parametrize("link", LINKS)
def test_a_link_to_what_is_not_there(
    sandbox: Sandbox, history: History, them: Victims, tally: Tally, link: Callable[[Sandbox, Cluster], Path]
) -> None:
    """Root would make it. The play names the data directory, but by a way that the owner can lead elsewhere."""
    place = link(sandbox, history.cluster)
    for target in them.missing().values():
        with led(sandbox, place, target):
            attempts(sandbox, them, tally, str(them.ground))


def test_a_named_place_does_not_make_it_the_owners(
    sandbox: Sandbox, history: History, them: Victims, tally: Tally
) -> None:
    """Neither / nor a mount point nor anything of root's or others' can be talked around; nor can a link on a named way."""
    for target in [*them.places().values(), Path("/"), Path("/proc")]:
        attempts(sandbox, them, tally, str(target), wal_dir=str(target))
        attempts(sandbox, them, tally, str(target), tablespaces={str(sandbox.pg_dir / "apart" / "space0"): str(target)})
    by_link = sandbox.pg_dir / "named"
    for target in them.missing().values():
        sandbox.run(["ln", "-sfn", str(target), str(by_link)], user=sandbox.user)
        attempts(sandbox, them, tally, str(them.ground), wal_dir=str(by_link))
    assert history.cluster.data_dir.is_dir()


@contextmanager
def forged(sandbox: Sandbox, change: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Whoever can write into the storage has changed the records of its base backups for the time of a block."""
    was = {path: path.read_text() for path in (sandbox.storage_dir / "main").rglob("*_sentinel.json")}
    for path, text in was.items():
        record = json.loads(text)
        change(record)
        path.write_text(json.dumps(record))
    yield
    for path, text in was.items():
        path.write_text(text)


def test_a_location_in_the_storage(sandbox: Sandbox, history: History, them: Victims, tally: Tally) -> None:
    """The host is new: nothing but the record says where a tablespace was."""
    cluster = history.cluster
    targets = [*them.places().values(), *them.missing().values(), Path("/"), sandbox.host / "state" / "main"]
    odd = ["relative", "../../x", "", f"{them.ground}/../{them.ground.name}/new", f"{them.ground}/new\nx"]
    with moved_away(cluster.data_dir):
        for location in [*map(str, targets), *odd]:

            def change(record: dict[str, Any], location: str = location) -> None:
                spec = record["Spec"] or {"tablespaces": []}
                spaces = [*spec["tablespaces"], "4711"]
                lies = {"loc": location, "link": "pg_tblspc/4711"}
                record["Spec"] = {**spec, "tablespaces": spaces, "4711": lies}

            with forged(sandbox, change):
                attempts(sandbox, them, tally, location if location in map(str, targets) else "tablespace")


def test_a_damaged_record_is_told(sandbox: Sandbox, history: History, them: Victims, tally: Tally) -> None:
    """Names of tablespaces that would lead out of the data directory, and records that are none."""
    changes: list[Any] = [
        {"tablespaces": ["../../x"], "../../x": {"loc": "/x"}},
        {"tablespaces": ["1"]},
        {"tablespaces": ["1"], "1": "/x"},
        {"tablespaces": 7},
        {"tablespaces": [["1"]]},
        [1],
        "x",
    ]
    with moved_away(history.cluster.data_dir):
        for spec in changes:
            with forged(sandbox, lambda record, spec=spec: record.update({"Spec": spec})):
                attempts(sandbox, them, tally, "record of its tablespaces")


def test_links_of_a_configuration(sandbox: Sandbox, history: History, them: Victims, tally: Tally) -> None:
    """They are laid by the owner, and lead wherever they lead: root neither reads nor writes by them."""
    for name in ("pg_ident.conf", "pg_hba.conf", "postgresql.conf"):
        for target in ("closed/file", "open"):
            with led(sandbox, history.cluster.data_dir / name, them.ground / target), them.counted(tally):
                restore(sandbox, "conf", links={name: str(them.ground / target)})
                restore(sandbox, "conf", rollback=True)
    with them.counted(tally):
        restore(sandbox, "conf", discard=True)


def test_places_that_change_while_a_restore_waits(
    sandbox: Sandbox, history: History, them: Victims, tally: Tally
) -> None:
    """A link to root's stands where a part of the restored cluster was, and root is told to discard it."""
    cluster, apart = history.cluster, sandbox.pg_dir / "apart"
    cluster.start()
    lsn = cluster.sql("SELECT pg_current_wal_insert_lsn()")
    cluster.ship()
    cluster.stop()
    for number, place in enumerate((cluster.data_dir, apart / "wal", apart / "space0")):
        request = f"waits{number}"
        done(sandbox, request, target_lsn=lsn, action="shutdown")
        beside = Path(f"{place}.restore-{request}")
        with led(sandbox, beside, them.ground / "open"), them.counted(tally):
            restore(sandbox, request, discard=True)
        sandbox.run(["rm", "-r", str(beside)], user=sandbox.user)
