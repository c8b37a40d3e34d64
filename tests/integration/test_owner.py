# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose archive is it: two clusters, a clone, a failover, an old primary that comes back. Steps of one story, in order.

What is expected at each step: only one writer's WAL reaches the archive. Nothing that a refused one does changes an object of
it, and what was refused stays on the refused server's disk (PostgreSQL tries again).
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from support.sandbox import Cluster, Sandbox

MARKER = "mapswipe_walg_owner.json"
SEND = "SELECT pg_walfile_name(pg_logical_emit_message(false, 'test', 'ship')); SELECT pg_switch_wal()"


@pytest.fixture(scope="module")
def main(sandbox: Sandbox) -> Cluster:
    """Production: configured, archiving not yet switched on."""
    made = sandbox.cluster("main", archive_mode="on")
    sandbox.configure(made)
    return made


@pytest.fixture(scope="module")
def storage(sandbox: Sandbox) -> Path:
    return sandbox.storage_dir / "main"


def listing(storage: Path) -> dict[str, str]:
    """Every object of the archive and the marker beside it, by content."""
    files = [path for path in storage.parent.glob("main*/**/*") if path.is_file()]
    return {str(path.relative_to(storage.parent)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def marker(storage: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((storage.parent / "main.owner" / MARKER).read_text())
    return found


def copied(sandbox: Sandbox, source: Cluster, name: str) -> Cluster:
    """A copy of a stopped cluster with all its configuration, on another socket."""
    made = Cluster(
        sandbox, name, sandbox.pg_dir / name, sandbox._own(f"s-{name}"), random.randint(20000, 60000), source.bin_dir
    )
    subprocess.run(["cp", "-a", str(source.data_dir), str(made.data_dir)], check=True)
    sandbox.clusters.append(made)
    return made


def start(cluster: Cluster) -> None:
    cluster.start("-c", f"unix_socket_directories={cluster.socket_dir}", "-c", f"port={cluster.port}")


def refused(cluster: Cluster) -> str:
    """Have WAL archived, which has to fail; return what the server's log says of it."""
    began, failures = len(cluster.log.read_text()), int(cluster.sql("SELECT failed_count FROM pg_stat_archiver"))
    segment = cluster.sql(SEND).splitlines()[0]
    for _turn in range(300):
        if int(cluster.sql("SELECT failed_count FROM pg_stat_archiver")) > failures:
            break
        time.sleep(0.1)
    else:
        raise AssertionError(f"{segment} was not refused: {cluster.sql('SELECT * FROM pg_stat_archiver')}")
    assert (cluster.data_dir / "pg_wal" / segment).exists()
    return cluster.log.read_text()[began:]


def test_the_role_s_module_marks_an_empty_archive(sandbox: Sandbox, main: Cluster, storage: Path) -> None:
    assert listing(storage) == {}
    check = sandbox.module("walg_archive", sandbox.instance(), check=True)
    assert (check["changed"], check["owner"]["data_dir"]) == (True, str(main.data_dir))
    assert "archive of nobody" in check["diff"]["before"]
    assert listing(storage) == {}
    assert sandbox.module("walg_archive", sandbox.instance())["changed"] is True
    found = marker(storage)
    assert (found["system_identifier"], found["timeline"]) == (main.system_identifier(), 1)
    assert found["data_dir"] == str(main.data_dir)
    machine = Path("/etc/machine-id")
    assert not machine.exists() or machine.read_text().strip() not in json.dumps(found)
    main.ship()
    before = listing(storage)
    again = sandbox.module("walg_archive", sandbox.instance())
    assert again["changed"] is False, again
    assert listing(storage) == before


def test_a_second_cluster_is_refused_before_there_is_a_base_backup(
    sandbox: Sandbox, main: Cluster, storage: Path
) -> None:
    before = listing(storage)
    assert not any("basebackups" in name for name in before)
    other = sandbox.cluster("other", archive_mode="on")
    with pytest.raises(AssertionError, match="archive of another cluster.*" + main.system_identifier()):
        sandbox.configure(other, storage=f"file://{storage}")
    assert listing(storage) == before
    assert other.sql("SHOW archive_command") == ""


def test_an_archive_without_a_marker_is_its_wal_s_cluster_s(sandbox: Sandbox, main: Cluster, storage: Path) -> None:
    """As an earlier version, another tool or a hand that removed the marker left it: WAL, no base backup yet."""
    shutil.rmtree(storage.parent / "main.owner")
    main.stop()
    main.start()
    assert "does not say whose archive it is" in refused(main), "the wrapper adopts nothing"
    before = listing(storage)
    other = next(one for one in sandbox.clusters if one.name == "other")
    sandbox.configure(other, storage=f"file://{storage}")
    answer = sandbox.module("walg_archive", sandbox.instance("other"))
    assert f"WAL of system identifier {main.system_identifier()}" in str(answer.get("msg")), answer
    assert other.sql("SHOW archive_command") == ""
    assert listing(storage) == before
    assert sandbox.module("walg_archive", sandbox.instance())["changed"] is True
    assert marker(storage)["data_dir"] == str(main.data_dir)
    main.ship()
    (storage.parent / "main.owner" / MARKER).write_text("{}")
    assert "can't be read" in str(sandbox.module("walg_archive", sandbox.instance()).get("msg"))
    assert "can't be read" in str(sandbox.module("walg_backup", sandbox.instance()).get("msg"))
    shutil.rmtree(storage.parent / "main.owner")
    assert sandbox.module("walg_archive", sandbox.instance())["changed"] is True
    other.stop()


def test_a_clone_with_production_s_configuration_is_refused(sandbox: Sandbox, main: Cluster, storage: Path) -> None:
    """Configuration, state, identifier, timeline: all the same. Only the directory is another."""
    main.stop()
    clone = copied(sandbox, main, "clone")
    before = listing(storage)
    start(clone)
    said = refused(clone)
    assert "refused to send" in said
    assert f"archive of {main.data_dir}" in said
    assert listing(storage) == before
    clone.stop()
    main.start()
    main.ship()
    assert set(listing(storage)) > set(before)


def test_a_clone_is_refused_by_its_own_play_as_well(sandbox: Sandbox, main: Cluster, storage: Path) -> None:
    clone = next(one for one in sandbox.clusters if one.name == "clone")
    start(clone)
    sandbox.configure(clone, storage=f"file://{storage}")
    before = listing(storage)
    for module in ("walg_archive", "walg_backup"):
        answer = sandbox.module(
            module, {**sandbox.instance("clone"), **({"replace": True} if module == "walg_archive" else {})}
        )
        assert answer.get("failed"), answer
        assert f'walg_backup_take_over: "{marker(storage)["writer"]}"' in answer["msg"]
    assert listing(storage) == before


def test_a_failover_passes_by_its_timeline(sandbox: Sandbox, main: Cluster, storage: Path) -> None:
    assert sandbox.module("walg_backup", sandbox.instance())["changed"]
    main.stop()
    promoted = copied(sandbox, main, "promoted")
    old = sandbox.tools["pg_major"] < 12
    signal_file = promoted.data_dir / ("recovery.conf" if old else "standby.signal")
    signal_file.write_text("standby_mode = on\n" if old else "")
    shutil.chown(signal_file, sandbox.user)
    start(promoted)
    promoted._as_owner("pg_ctl", "-D", str(promoted.data_dir), "-w", "promote")
    promoted.ship()
    assert list(storage.glob("wal_005/00000002.history*"))
    assert marker(storage)["data_dir"] == str(main.data_dir), "only the role writes the marker"
    sandbox.configure(promoted, storage=f"file://{storage}")
    answer = sandbox.module("walg_archive", {**sandbox.instance("promoted"), "replace": True})
    assert answer.get("changed"), answer
    found = marker(storage)
    assert (found["data_dir"], found["timeline"], found["highest_timeline"]) == (str(promoted.data_dir), 2, 2)
    promoted.ship()


def test_the_old_primary_comes_back_and_is_refused(sandbox: Sandbox, main: Cluster, storage: Path) -> None:
    before = {name: digest for name, digest in listing(storage).items() if "/00000001" in name}
    main.start()
    said = refused(main)
    assert "refused to send" in said
    assert "promoted" in said
    answer = sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})
    assert answer.get("failed"), answer
    assert {name: digest for name, digest in listing(storage).items() if "/00000001" in name} == before


def test_take_over_names_the_writer_that_is_gone(sandbox: Sandbox, main: Cluster, storage: Path) -> None:
    wrong = sandbox.module("walg_archive", {**sandbox.instance(), "take_over": "w0123456789abcdef"})
    assert wrong.get("failed"), wrong
    option = {**sandbox.instance(), "take_over": marker(storage)["writer"]}
    assert sandbox.module("walg_archive", option)["changed"] is True
    found = marker(storage)
    assert (found["data_dir"], found["timeline"], found["highest_timeline"]) == (str(main.data_dir), 1, 2)
    assert sandbox.module("walg_archive", option)["changed"] is False
    main.ship()


def test_the_one_that_lost_it_is_told_by_its_next_backup(sandbox: Sandbox, storage: Path) -> None:
    promoted = next(one for one in sandbox.clusters if one.name == "promoted")
    promoted.ship()  # it was confirmed before, and nothing of it has changed since
    answer = sandbox.module("walg_backup", {**sandbox.instance("promoted"), "max_age": 0})
    assert "walg_backup_take_over" in str(answer.get("msg")), answer
    before = listing(storage)
    assert "refused to send" in refused(promoted)
    assert listing(storage) == before
    promoted.stop()


def test_the_marker_survives_every_form_of_delete(sandbox: Sandbox, main: Cluster, storage: Path) -> None:
    for _turn in range(2):
        assert sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})["changed"]
        main.ship()
    config, binary = sandbox.host / "config" / "main.json", str(sandbox.host / "bin" / "wal-g")
    names = sorted(path.name[:29] for path in storage.glob("basebackups_005/*_backup_stop_sentinel.json"))
    version = tuple(int(part) for part in sandbox.walg_version().lstrip("v").split("-")[0].split("."))
    forms = [
        ["retain", "1"],
        ["retain", "FULL", "1"],
        ["retain", "FIND_FULL", "1"],
        ["retain", "FULL", "1", "--use-sentinel-time"],
        ["before", names[-1]],
        ["before", "FIND_FULL", names[-1]],
        ["target", names[0]],
        ["target", "FIND_FULL", names[0]],
    ]
    forms += [["garbage"], ["garbage", "ARCHIVES"]] if version >= (2,) else []
    forms += [["retain", "FULL", "1", "--after", names[-1]]] if version >= (3,) else []
    forms += [["everything"], ["everything", "FORCE"]]
    kept = sandbox.root / "kept"
    subprocess.run(["cp", "-a", str(storage.parent), str(kept)], check=True)
    said = marker(storage)
    for form in forms:
        before = set(listing(storage))
        done = sandbox.run([binary, "--config", str(config), "delete", *form, "--confirm"], user=sandbox.user)
        assert done.returncode == 0, done.stdout
        assert set(listing(storage)) < before, form
        assert marker(storage) == said, form
        if form != ["everything", "FORCE"]:
            shutil.rmtree(storage.parent)
            subprocess.run(["cp", "-a", str(kept), str(storage.parent)], check=True)
    assert list(listing(storage)) == [f"main.owner/{MARKER}"]
    clone = next(one for one in sandbox.clusters if one.name == "clone")
    answer = sandbox.module("walg_archive", {**sandbox.instance("clone"), "replace": True})
    assert "walg_backup_take_over" in str(answer.get("msg")), "an emptied archive is still production's"
    clone.stop()
