# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which versions of WAL-G go: none that is used, none that is not ours, and none where that can't be told."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _locks
from ansible_collections.mapswipe.walg.plugins.module_utils._install import _installed, _prune
from ansible_collections.mapswipe.walg.plugins.module_utils._install._prune import PrunePlan
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _record
from support.observe import files
from support.walg_world import World

VERSIONS = ("3.0.3", "3.0.5", "3.0.7", "3.0.8")  # in the order of their installation


class Host:
    """A directory with four versions of WAL-G, of which the instance main uses the last."""

    def __init__(self, root: Path) -> None:
        self.world = World(root)
        self.directory = root / "wal-g"
        self.directory.mkdir()
        self.config = Path(self.world.instance.config_dir)
        entries = {}
        for version in VERSIONS:
            self.path(version).write_text(version)
            digest = hashlib.sha256(version.encode()).hexdigest()
            entries[self.path(version).name] = {"sha256": digest, "version": version, "asset": ""}
        _installed.Installed(str(self.directory), entries, [str(self.config)]).save()
        self.use("main", self.path("3.0.8"))

    def path(self, version: str) -> Path:
        return self.directory / f"wal-g-{version}"

    def use(self, instance: str, binary: Path, config: Path | None = None) -> Path:
        """Have an instance of this host use a binary."""
        config = config or self.config
        config.mkdir(exist_ok=True)
        made = replace(self.world.instance, name=instance, binary=str(binary), config_dir=str(config))
        record = config / f"{instance}.env"
        record.write_text(_record.render(made))
        return record

    def plan(self, keep: int = 1) -> PrunePlan:
        return _prune.plan(str(self.path("3.0.8")), keep, str(self.config), "main")

    def versions(self) -> list[str]:
        return sorted(one.name[len("wal-g-") :] for one in self.directory.glob("wal-g-*"))

    def known(self) -> list[str]:
        return sorted(name[len("wal-g-") :] for name in _installed.load(str(self.directory)).binaries)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (0, ["3.0.8"]),
        (1, ["3.0.7", "3.0.8"]),
        (2, ["3.0.5", "3.0.7", "3.0.8"]),
        (3, list(VERSIONS)),
        (9, list(VERSIONS)),
    ],
)
def test_the_newest_of_the_unused_stay(host: Host, keep: int, left: list[str]) -> None:
    """The newest by installation, not by number."""
    before = files(host.directory)
    made = host.plan(keep)
    assert (made.changed, files(host.directory)) == (left != list(VERSIONS), before)
    gone = [str(host.path(version)) for version in VERSIONS if version not in left]
    assert made.diff() == {"before": "".join(f"{path}\n" for path in gone), "after": ""}
    _prune.apply(made)
    assert host.versions() == host.known() == left
    assert host.plan(keep).changed is False


def test_what_another_instance_uses_stays(host: Host, tmp_path: Path) -> None:
    """Also one whose record is in another directory that the record of binaries names, and one that leads there by a link."""
    record = _installed.load(str(host.directory))
    record.config_dirs.append(str(tmp_path / "other"))
    record.save()
    (tmp_path / "link").symlink_to(host.path("3.0.5"))
    host.use("first", host.path("3.0.3"))
    host.use("second", tmp_path / "link", tmp_path / "other")
    assert host.plan(0).removed == [str(host.path("3.0.7"))]
    (tmp_path / "bin-dir").symlink_to(host.directory)
    made = _prune.plan(str(tmp_path / "bin-dir" / "wal-g-3.0.8"), 0, str(host.config), "main")
    assert made.removed == [str(tmp_path / "bin-dir" / "wal-g-3.0.7")]


def test_the_instances_own_old_record_does_not_keep_one(host: Host) -> None:
    """It is about to be written again, for the new version."""
    host.use("main", host.path("3.0.7"))
    assert host.plan(0).removed == [str(host.path(version)) for version in VERSIONS[:3]]


def test_what_runs_stays(host: Host) -> None:
    """Of a user who counts: with his processes alone a neighbour could keep a binary for good."""
    program = shutil.which("cat")
    assert program
    shutil.copy(program, host.path("3.0.5"))
    record = _installed.load(str(host.directory))
    record.binaries["wal-g-3.0.5"]["sha256"] = hashlib.sha256(host.path("3.0.5").read_bytes()).hexdigest()
    record.save()
    with subprocess.Popen([str(host.path("3.0.5"))], stdin=subprocess.PIPE) as process:
        assert host.plan(0).removed == [str(host.path(version)) for version in ("3.0.3", "3.0.7")]
        assert str(host.path("3.0.5")) not in _installed.running({os.geteuid() + 1})
        process.communicate()
    assert str(host.path("3.0.5")) in host.plan(0).removed


@pytest.mark.parametrize("what", ["damaged", "closed"])
def test_where_use_can_not_be_told_nothing_goes(host: Host, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = host.config / "other.env"
    if what == "damaged":
        other.write_text("damaged")
    else:
        monkeypatch.setattr(os, "access", lambda path, _mode: path != str(host.config))
    made = host.plan(0)
    unreadable = str(other) if what == "damaged" else str(host.config)
    assert (made.removed, made.changed, made.unreadable) == ([], False, [unreadable])
    assert made.warning() == (f"No version of WAL-G is removed: what these instances use can't be read: {unreadable}.")


@pytest.mark.parametrize("how", ["another", "link", "gone"])
def test_what_is_not_ours_any_more_stays_and_is_forgotten(host: Host, how: str) -> None:
    path = host.path("3.0.3")
    if how == "another":
        path.write_text("a build of its own")
    else:
        path.unlink()
        if how == "link":
            (host.directory / "copy").write_text("3.0.3")
            path.symlink_to("copy")
    made = host.plan(3)
    assert (made.removed, made.forgotten, made.changed) == ([], ["wal-g-3.0.3"], True)
    _prune.apply(made)
    assert "3.0.3" not in host.known()
    assert os.path.lexists(path) is (how != "gone")


def test_what_killed_runs_left_goes_after_a_day(host: Host) -> None:
    """Files and workshops; neither what a run may still write, nor the record and the lock, nor a link."""
    mark = _installed.UNFINISHED
    names = {"old-file", "old-workshop", "old-link", "new"}
    for name in names:
        path = host.directory / f"{mark}{name}"
        if name == "old-workshop":
            path.mkdir()
            (path / "wal-g").touch()
        elif name == "old-link":
            path.symlink_to("/etc/passwd")
        else:
            path.touch()
    (host.directory / _locks.LOCK).touch()
    day = time.time() - 24 * 3600
    for name in (f"{mark}old-file", f"{mark}old-workshop", f"{mark}old-link", _installed.NAME, _locks.LOCK):
        os.utime(host.directory / name, (day - 60, day - 60), follow_symlinks=False)
    os.utime(host.directory / f"{mark}new", (day + 60, day + 60))
    made = host.plan(3)
    assert made.stale == [str(host.directory / f"{mark}{name}") for name in ("old-file", "old-workshop")]
    record = (host.directory / _installed.NAME).read_bytes()
    _prune.apply(made)
    left = {path.name for path in host.directory.glob(f"{mark}*")}
    assert left == {f"{mark}new", f"{mark}old-link", _installed.NAME, _locks.LOCK}
    assert (host.directory / _installed.NAME).read_bytes() == record
    assert host.versions() == list(VERSIONS)


def test_what_can_not_be_removed_is_named_and_known_on(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    made = host.plan(0)

    def fails(path: str) -> None:
        raise OSError(30, "Read-only file system", path)

    monkeypatch.setattr(os, "unlink", fails)
    with pytest.raises(WalgError) as caught:
        _prune.apply(made)
    monkeypatch.undo()
    assert caught.value.msg == f"Cannot remove {host.path('3.0.3')}: Read-only file system"
    assert host.known() == list(VERSIONS)


def test_a_record_that_is_damaged_keeps_all(host: Host) -> None:
    note = host.directory / _installed.NAME
    for text in ("{", "[]", '{"binaries": [{"name": "x"}], "config_dirs": []}', '{"binaries": []}'):
        note.write_text(text)
        with pytest.raises(WalgError, match="which WAL-G binaries this collection installed; without it they are kept"):
            host.plan(0)
    assert host.versions() == list(VERSIONS)


def test_without_a_record_nothing_is_ours(host: Host) -> None:
    (host.directory / _installed.NAME).unlink()
    assert host.plan(0).changed is False
