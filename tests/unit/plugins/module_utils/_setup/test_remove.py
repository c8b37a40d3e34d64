# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance leaves the host: what goes and what stays, in which order, and how a run that failed is finished by the next."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _enable
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _locks, _mounts
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._install import _installed
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _record
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._record import Instance
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _conf
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _state
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _remove, _steps
from support.helper_engine import placed, write
from support.observe import files
from support.restores import restore_state
from support.scripted import Call, Scripted
from support.settings_rows import Clock, lines, ours, settings
from support.walg_world import World, write_cluster

NAMES = ("bin_dir", "config_dir", "program_dir", "state_dir", "log_dir", "cron_dir")


class Host:
    """A host with all that the collection keeps of an instance, and whose cluster is gone."""

    def __init__(self, root: Path) -> None:
        (root / "world").mkdir()
        self.world = World(root / "world")
        self.root = root / "host"
        self.directories = {name: str(self.root / name) for name in NAMES}
        for name in ("bin_dir", "config_dir", "program_dir/mapswipe_walg/v1", "cron_dir", "storage"):
            (self.root / name).mkdir(parents=True)
        self.binary = self.root / "bin_dir" / "wal-g-3.0.8"
        self.binary.write_text("ours")
        (self.root / "bin_dir" / "wal-g").write_text("of a package")
        entry = {"sha256": hashlib.sha256(b"ours").hexdigest(), "version": "3.0.8", "asset": ""}
        record = _installed.Installed(
            str(self.binary.parent), {self.binary.name: entry}, [self.directories["config_dir"]]
        )
        record.save()
        for name in ("wal-push", "wal-fetch", "walg-job", "mapswipe_walg/v1/__init__.py"):
            (self.root / "program_dir" / name).touch()
        self.instance = self.add("main")

    def add(self, name: str) -> Instance:
        """Make an instance as the role leaves it."""
        where = {one: str(self.root / one) for one in ("config_dir", "program_dir")}
        own = {one: str(self.root / one / name) for one in ("state_dir", "log_dir")}
        made = replace(self.world.instance, name=name, binary=str(self.binary), **where, **own)
        for directory in own.values():
            Path(directory, "sub").mkdir(parents=True)
            Path(directory, "sub", "file").touch()
            Path(directory, "link").symlink_to(self.root / "storage")
        Path(made.record_file).write_text(_record.render(made))
        Path(made.settings_file).write_text('{"WALG_FILE_PREFIX": "/storage"}')
        Path(_record.credentials_path(made.config_dir, name)).write_text("secret")
        (self.root / "cron_dir" / f"mapswipe-walg-{name}").write_text("* * * * * root walg-job\n")
        (self.root / "storage" / "archive").touch()
        return made

    def params(self, **changes: Any) -> dict[str, Any]:
        known: dict[str, Any] = {"variables": [], "known_variables": [], "instance": "main", "restart": "allowed"}
        return {**known, "directories": self.directories, **changes}

    def run(self, runner: Runner | None = None, *, dry: bool = False, **changes: Any) -> dict[str, Any]:
        return _remove.remove(runner or Scripted(), self.params(**changes), dry)

    def left(self) -> set[str]:
        """Files and links that are still there."""
        return {name for name in files(self.root) if not (self.root / name).is_dir() or (self.root / name).is_symlink()}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def steps(answer: dict[str, Any]) -> list[str]:
    return [one["step"] for one in answer["steps"]]


# --- what goes --------------------------------------------------------------------------------------------------------


def test_check_do_check_do(host: Host) -> None:
    before = files(host.root)
    foretold = host.run(dry=True)
    assert (foretold["changed"], steps(foretold), files(host.root)) == (
        True,
        ["schedule", "programs", "settings"],
        before,
    )
    done = host.run()
    assert (done["steps"], done["diff"]) == (foretold["steps"], foretold["diff"])
    assert host.left() == {"bin_dir/wal-g", "storage/archive"}, "neither files of others nor the storage"
    for name in ("config_dir", "program_dir", "state_dir", "log_dir"):
        assert not (host.root / name).exists()
    after = files(host.root)
    for dry in (True, False):
        again = host.run(dry=dry)
        assert (again["changed"], again["steps"], again["diff"], files(host.root)) == (False, [], [], after)


def test_the_diff_lists_every_file_that_goes(host: Host) -> None:
    told = "".join(one["before"] for one in host.run(dry=True)["diff"])
    for path in (
        host.binary,
        host.instance.record_file,
        host.instance.settings_file,
        host.instance.state_dir,
        host.instance.log_dir,
    ):
        assert f"{path}\n" in told
    for name in ("wal-push", "wal-fetch", "walg-job", "mapswipe_walg"):
        assert f"{host.root}/program_dir/{name}\n" in told
    assert "* * * * * root walg-job\n" in told
    assert "of a package" not in told
    assert f"{host.root}/bin_dir/wal-g\n" not in told


@pytest.mark.parametrize("where", ["config_dir", "elsewhere", "elsewhere, by the binary's record"])
def test_another_instance_keeps_programs_and_binaries(host: Host, where: str) -> None:
    """Also one whose record is in another directory, which the record of binaries names."""
    other = host.add("other")
    if where != "config_dir":
        (host.root / "elsewhere").mkdir()
        os.rename(other.record_file, host.root / "elsewhere" / "other.env")
        record = _installed.load(str(host.binary.parent))
        record.config_dirs.append(str(host.root / "elsewhere"))
        record.save()
    if where.endswith("record"):
        host.directories["bin_dir"] = str(host.root / "another_bin_dir")
    kept = {name for name in host.left() if "other" in name or name.startswith(("bin_dir", "program_dir", "storage"))}
    assert steps(host.run()) == ["schedule", "settings"]
    assert host.left() == kept


def test_an_instance_in_a_container_needs_the_job_of_the_host(host: Host) -> None:
    (host.root / "config_dir" / "other.container.json").touch()
    kept = {name for name in host.left() if name.startswith(("bin_dir", "program_dir", "storage"))}
    assert steps(host.run()) == ["schedule", "settings"]
    assert kept < host.left()


def test_what_others_keep_in_the_directories_stays(host: Host) -> None:
    mine = ("program_dir/own-script", "config_dir/notes")
    for name in mine:
        (host.root / name).touch()
    host.run()
    assert host.left() == {"bin_dir/wal-g", "storage/archive", *mine}


def test_a_binary_that_is_another_by_now_stays(host: Host) -> None:
    host.binary.write_text("a build of its own")
    host.run()
    assert host.left() == {"bin_dir/wal-g", "bin_dir/wal-g-3.0.8", "storage/archive"}


def test_of_an_instance_that_is_unknown_only_the_schedule_goes(host: Host) -> None:
    os.unlink(host.instance.record_file)
    left = host.left()
    assert steps(host.run(dry=True)) == steps(host.run()) == ["schedule"]
    assert host.left() == left - {"cron_dir/mapswipe-walg-main"}
    assert host.run(instance="nobody")["changed"] is False


def test_links_in_the_owners_directories_lead_nowhere(host: Host) -> None:
    host.run()
    assert (host.root / "storage" / "archive").exists()


# --- what is not allowed ----------------------------------------------------------------------------------------------


def rejected(host: Host, runner: Runner | None = None, **changes: Any) -> WalgError:
    """Run, dry and not, and return the error; nothing was changed."""
    before = host.left()
    with pytest.raises(WalgError) as foretold:
        host.run(runner, dry=True, **changes)
    with pytest.raises(WalgError) as caught:
        host.run(runner, **changes)
    assert (foretold.value.msg, host.left()) == (caught.value.msg, before)
    return caught.value


def test_a_variable_that_no_role_knows(host: Host) -> None:
    error = rejected(host, variables=["walg_storge"], known_variables=["walg_storage"])
    assert "did you mean walg_storage" in error.msg


@pytest.mark.parametrize("state", ["paused", "swapping", "rolling back"])
def test_a_restore_that_is_not_finished(host: Host, state: _state.State) -> None:
    saved = restore_state(host.world, state)
    _state.save(host.instance, saved)
    error = rejected(host)
    assert f"The restore 'r1' of {saved.data_dir} is {state}. Finish it first. Way on" in error.msg
    assert error.fields["found"] == state


@pytest.mark.parametrize("state", ["done", "rolled back"])
def test_one_that_is_finished_is_no_hindrance(host: Host, state: _state.State) -> None:
    _state.save(host.instance, restore_state(host.world, state))
    assert steps(host.run()) == ["schedule", "programs", "settings"]


def test_a_base_backup_that_runs_has_to_end_first(host: Host) -> None:
    before = host.left()
    with _locks.locked(host.instance.files.backup_lock, "A base backup"), pytest.raises(WalgError) as caught:
        host.run()
    assert "A base backup of the instance 'main' is already running" in caught.value.msg
    assert host.left() == before | {"state_dir/main/backup.lock"}


def test_a_mount_in_the_state_directory(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done before is told; the record is still there, so the next run does the rest."""
    point = str(host.root / "state_dir" / "main" / "sub")
    monkeypatch.setattr(_mounts, "at_or_below", lambda path: [point] if path == host.instance.state_dir else [])
    with pytest.raises(WalgError) as caught:
        host.run()
    assert caught.value.msg == (
        f"Settings: {host.instance.state_dir} should be removed, but {point} is mounted there. Unmount it, then run again."
    )
    assert [one["step"] for one in caught.value.fields["steps"]] == ["schedule", "programs"]
    assert os.path.exists(host.instance.record_file)
    monkeypatch.undo()
    assert steps(host.run()) == ["settings"]
    assert host.left() == {"bin_dir/wal-g", "storage/archive"}


# --- with a server ----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(host: Host) -> World:
    """A server that archives."""
    world = host.world
    world.instance = host.instance
    write_cluster(world.data_dir)
    (world.data_dir / "postgresql.conf").write_text(_conf.with_include("port = 5432\n"))
    (world.data_dir / "mapswipe_walg.conf").write_text(_conf.conf_text(ours(world)))
    host.instance = replace(host.instance, cluster=replace(host.instance.cluster, service="command:/opt/pg"))
    Path(host.instance.record_file).write_text(_record.render(host.instance))
    return world


def asked(world: World) -> list[Call]:
    return [world.psql("1\n"), world.facts(), settings(world, **ours(world)), lines(world)]


@pytest.fixture
def restarts(monkeypatch: pytest.MonkeyPatch, host: Host) -> list[set[str]]:
    """What was left at each restart."""
    seen: list[set[str]] = []
    monkeypatch.setattr(_enable.Service, "restart", lambda _self: seen.append(host.left()))
    return seen


def test_archiving_goes_first(host: Host, server: World, restarts: list[set[str]]) -> None:
    """And is proved to be off, before the first of its programs is removed."""
    before = host.left()
    assert steps(host.run(Scripted(calls=asked(server)), dry=True)) == ["archive", "schedule", "programs", "settings"]
    runner = Scripted(calls=[*asked(server), settings(server, archive_mode="off")])
    assert steps(host.run(runner)) == ["archive", "schedule", "programs", "settings"]
    runner.finish()
    assert restarts == [before | {"state_dir/main/backup.lock"}]
    assert (server.data_dir / "postgresql.conf").read_text() == "port = 5432\n"


def test_a_restart_that_is_not_allowed_removes_nothing(host: Host, server: World) -> None:
    before = host.left()
    for dry in (True, False):
        with pytest.raises(WalgError, match="walg_backup_restart: allowed"):
            host.run(Scripted(calls=asked(server)), dry=dry, restart="never")
        assert host.left() == before
    assert (server.data_dir / "mapswipe_walg.conf").exists()


def test_a_server_that_still_archives_keeps_its_programs(
    host: Host, server: World, restarts: list[set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without them PostgreSQL would keep all WAL."""
    Clock(monkeypatch)
    before = host.left()
    still = replace(settings(server, **ours(server)), lasting=True)
    with pytest.raises(WalgError, match=r"^Archive: .* still runs with its archive_command"):
        host.run(Scripted(calls=[*asked(server), still]))
    assert host.left() == before | {"state_dir/main/backup.lock"}
    assert len(restarts) == 1


def fails(_path: str) -> None:
    raise WalgError("the disk is gone")


@pytest.mark.parametrize(
    ("act", "done", "rest"),
    [
        ("sweep", ["schedule", "programs"], ["settings"]),
        ("_programs.remove", ["schedule"], ["programs", "settings"]),
    ],
)
def test_what_a_failed_run_did_is_told_and_the_next_does_the_rest(
    host: Host, monkeypatch: pytest.MonkeyPatch, act: str, done: list[str], rest: list[str]
) -> None:
    owner: Any = _remove._programs if act.startswith("_programs") else _remove
    fail: Callable[[str], None] = fails
    monkeypatch.setattr(owner, act.rpartition(".")[2], fail)
    with pytest.raises(WalgError, match="the disk is gone") as caught:
        host.run()
    assert [one["step"] for one in caught.value.fields["steps"]] == done
    monkeypatch.undo()
    assert steps(host.run()) == rest
    assert host.left() == {"bin_dir/wal-g", "storage/archive"}


# --- the machine of a container ---------------------------------------------------------------------------------------


def leave_machine(root: Path, *, dry: bool = False) -> list[str]:
    """Remove what the machine has; return the steps."""
    done = _steps.Steps()
    directories = {"config_dir": str(root / "etc"), "cron_dir": str(root / "cron")}
    _remove.remove_from_machine(Scripted(), done, placed(root), directories, dry)
    return [one["step"] for one in done.done]


def machine(root: Path) -> Path:
    """Make what a machine has for a server in a container; return the directory of programs."""
    write(placed(root), root / "etc")
    (root / "cron").mkdir()
    (root / "cron" / "mapswipe-walg-main").write_text("* * * * * root walg-job\n")
    (root / "program" / "mapswipe_walg" / "v1").mkdir(parents=True)
    for name in ("wal-push", "wal-fetch", "walg-job", "mapswipe_walg/v1/__init__.py"):
        (root / "program" / name).touch()
    return root / "program"


def test_the_last_instance_of_a_machine(tmp_path: Path) -> None:
    program = machine(tmp_path)
    before = files(tmp_path)
    assert leave_machine(tmp_path, dry=True) == ["schedule", "programs"]
    assert files(tmp_path) == before
    assert leave_machine(tmp_path) == ["schedule", "programs"]
    assert (program.exists(), os.listdir(tmp_path / "cron")) == (False, [])
    assert leave_machine(tmp_path) == []
    assert os.listdir(tmp_path / "etc") == ["main.container.json"]  # of the module walg_container


def test_files_of_others_stay_on_the_machine(tmp_path: Path) -> None:
    (machine(tmp_path) / "theirs").touch()
    leave_machine(tmp_path)
    assert os.listdir(tmp_path / "program") == ["theirs"]


@pytest.mark.parametrize("other", ["other.env", "other.container.json", "main.env"])
def test_another_instance_needs_the_job(tmp_path: Path, other: str) -> None:
    program = machine(tmp_path)
    (tmp_path / "etc" / other).touch()
    assert leave_machine(tmp_path) == ["schedule"]
    assert (program / "walg-job").exists()


def test_nothing_is_left_of_its_records(tmp_path: Path) -> None:
    program = machine(tmp_path)
    (tmp_path / "etc" / "main.container.json").unlink()
    (tmp_path / "etc").rmdir()
    assert leave_machine(tmp_path) == ["schedule", "programs"]
    assert not program.exists()
