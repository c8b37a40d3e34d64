# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host is made ready as one plan: what is there needs no step; what differs in the least does; what is refused changes nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result, Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._install import _installed
from ansible_collections.mapswipe.walg.plugins.module_utils._install._download import Web
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _find, _make_ready
from support.control_file import control
from support.observe import files

VERSION = "3.0.8"
SAYS = f"wal-g version v{VERSION}\tabc\t2026.01.20\tPostgreSQL\n"
BUILD = b"a build of WAL-G"
ALL = ["install", "programs", "settings"]
NAMES = ("bin_dir", "config_dir", "program_dir", "state_dir", "log_dir", "cron_dir")


class Walg(Runner):
    """WAL-G that says its version, and whose storage keeps one object."""

    def __init__(self, says: str = SAYS, fails: str = "") -> None:
        super().__init__()
        self.says, self.fails = says, fails
        self.asked: list[str] = []
        self.objects: dict[str, str] = {}

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        if argv[-1] == "--version":
            return Result(list(argv), 0, self.says)
        if argv[1] == "-c":
            return Result(list(argv), 0, "")
        act = " ".join(argv[3:5])
        self.asked.append(act)
        if self.fails and act.startswith(self.fails):
            return Result(list(argv), 1, "", "Error 403")
        if act == "st put":
            self.objects[argv[6]] = Path(argv[5]).read_text()
        elif act == "st rm":
            self.objects.pop(argv[-1], None)
        elif act == "st cat":
            return Result(list(argv), 0, self.objects.get(argv[-1], "{}"))
        elif act == "st ls":
            return Result(list(argv), 0, "type size last modified name\n")
        return Result(list(argv), 0, "[]" if "backup-list" in act else "")


class Offline:
    """The network is not there."""

    def __call__(self, url: str, *_: object) -> Any:
        raise AssertionError(f"asked for {url}")


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Options that make a host ready; what PostgreSQL itself would be asked is left out."""
    host = tmp_path / "host"
    host.mkdir()
    (tmp_path / "data" / "global").mkdir(parents=True)
    (tmp_path / "data" / "global" / "pg_control").write_bytes(control(1300))
    (tmp_path / "storage").mkdir()
    source = tmp_path / "wal-g"
    source.write_bytes(BUILD)
    cluster = Cluster(str(tmp_path / "data"), "/bin", "/run/pg", os_user=User.current().name)
    monkeypatch.setattr(_find._discovery, "find", lambda *_: cluster)
    monkeypatch.setattr(_make_ready._preflight, "check", lambda *_: None)
    return {
        "instance": "main",
        "cluster": {},
        "directories": {name: str(host / name) for name in NAMES},
        "storage": f"file://{tmp_path}/storage",
        "settings": {},
        "secrets": None,
        "google_credentials": None,
        "tune": False,
        "access": "write",
        "storage_timeout": 30,
        "google_check": "auto",
        "version": VERSION,
        "binary": None,
        "binary_src": str(source),
        "binary_remote_src": True,
        "binary_checksum": f"sha256:{hashlib.sha256(BUILD).hexdigest()}",
        "mirror": "https://mirror.example.com/walg",
        "mirror_username": None,
        "mirror_password": None,
        "download_timeout": 60,
        "keep": 1,
        "push_timeout": 15,
        "fetch_timeout": 60,
        "backup_timeout": 86400,
        "purpose": None,
        "archive": None,
        "schedule": None,
        "restore": None,
        "variables": [],
        "known_variables": [],
    }


@pytest.fixture
def host(tmp_path: Path) -> Path:
    return tmp_path / "host"


@pytest.fixture
def standing(params: dict[str, Any]) -> dict[str, Any]:
    """All of it is there; returns the options that it was made with."""
    run(params)
    return params


def run(params: dict[str, Any], runner: Runner | None = None, dry: bool = False) -> dict[str, Any]:
    return _make_ready.make_ready(runner or Walg(), Web(Offline(), 60), params, dry)


def steps(answer: dict[str, Any]) -> list[str]:
    return [one["step"] for one in answer["steps"]]


def test_check_do_check_do(params: dict[str, Any], host: Path) -> None:
    foretold = run(params, dry=True)
    assert (foretold["changed"], steps(foretold), files(host)) == (True, ALL, {})
    done = run(params)
    assert {*done, "_planned"} == set(foretold), "the same keys"
    assert (done["steps"], done["diff"]) == (foretold["steps"], foretold["diff"])
    assert foretold["_planned"] == (host / "config_dir" / "main.env").read_text()
    assert (foretold["storage"], done["storage"]) == (
        {"asked": True, "backups": 0},
        {"asked": True, "backups": 0, "can_write": True},
    )
    before = files(host)
    for dry in (True, False):
        answer = run(params, dry=dry)
        assert (answer["changed"], answer["steps"], answer["diff"], files(host)) == (False, [], [], before)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"settings": {"WALG_UPLOAD_CONCURRENCY": 4}}, ["settings"]),
        ({"secrets": {"PGPASSWORD": "s"}}, ["settings"]),
        ({"push_timeout": 16}, ["settings"]),
        ({"tune": True}, ["settings"]),
    ],
)
def test_what_differs_is_a_step(
    standing: dict[str, Any], host: Path, change: dict[str, Any], wanted: list[str]
) -> None:
    before = files(host)
    foretold = run({**standing, **change}, dry=True)
    assert files(host) == before
    assert steps(foretold) == steps(run({**standing, **change})) == wanted
    assert run({**standing, **change})["steps"] == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"settings": {"NO_SUCH_SETTING": 4}}, "NO_SUCH_SETTING"),
        ({"google_credentials": "no JSON"}, "walg_google_credentials"),
        ({"version": "3.0.7"}, "Install: The binary reports version 'v3.0.8', expected '3.0.7'"),
        ({"version": "new"}, "new"),
        ({"binary_checksum": f"sha256:{0:064}"}, "Install: The digest of"),
        ({"binary_checksum": "md5:0"}, "Install: The checksum 'md5:0' is not sha256:HEX"),
        ({"schedule": {"minute": "61", "hour": "2", "weekday": "*"}}, "minute"),
        ({"variables": ["walg_storge"], "known_variables": ["walg_storage"]}, "did you mean walg_storage"),
        ({"mirror": "mirror.example.com"}, "walg_binary_mirror"),
        ({"restore": {"request": "a/b"}}, "request"),
    ],
)
@pytest.mark.parametrize("ready", [False, True])
def test_what_can_not_be_right_changes_nothing(
    params: dict[str, Any], host: Path, change: dict[str, Any], text: str, ready: bool
) -> None:
    if ready:
        run(params)
    before = files(host)
    for dry in (True, False):
        with pytest.raises(WalgError) as caught:
            run({**params, **change}, dry=dry)
        assert text in caught.value.msg
        assert files(host) == before


@pytest.mark.parametrize("act", ["st ls", "st put"])
def test_a_storage_that_refuses_leaves_a_virgin_host(params: dict[str, Any], host: Path, act: str) -> None:
    with pytest.raises(WalgError, match=r"^Storage: ") as caught:
        run(params, Walg(fails=act))
    assert (caught.value.fields["step"], caught.value.fields["steps"], files(host)) == ("storage", [], {})


def test_what_was_done_is_told_with_what_failed(params: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next run does the rest."""

    def full(*_: object) -> None:
        raise WalgError("No space.")

    monkeypatch.setattr(_make_ready._config.ConfigPlan, "apply", full)
    with pytest.raises(WalgError, match=r"^Settings: No space[.]$") as caught:
        run(params)
    assert [one["step"] for one in caught.value.fields["steps"]] == ["install", "programs"]
    monkeypatch.undo()


def test_a_run_that_died_is_finished(standing: dict[str, Any], host: Path) -> None:
    (host / "config_dir" / "main.env").unlink()
    (host / "program_dir" / "wal-push").unlink()
    assert steps(run(standing, dry=True)) == steps(run(standing)) == ["programs", "settings"]


def test_a_wrapper_of_another_version_is_replaced(standing: dict[str, Any], host: Path) -> None:
    wrapper = host / "program_dir" / "wal-fetch"
    ours = wrapper.read_text()
    wrapper.write_text("#!/bin/sh\nexit 255\n")
    assert steps(run(standing, dry=True)) == steps(run(standing)) == ["programs"]
    assert (wrapper.read_text(), run(standing)["changed"]) == (ours, False)


def test_the_binary_is_another(standing: dict[str, Any], host: Path) -> None:
    binary = host / "bin_dir" / f"wal-g-{VERSION}"
    binary.chmod(0o700)
    assert steps(run(standing)) == ["install"], "only root could start it"
    binary.write_bytes(BUILD + b"!")
    assert steps(run(standing, dry=True)) == steps(run(standing)) == ["install"]
    assert binary.read_bytes() == BUILD


def test_old_versions_go_by_count(standing: dict[str, Any], host: Path) -> None:
    directory = host / "bin_dir"
    record = _installed.load(str(directory))
    for version in ("3.0.7", "3.0.5"):
        old = directory / f"wal-g-{version}"
        old.write_bytes(BUILD)
        entry = {"sha256": hashlib.sha256(BUILD).hexdigest(), "version": version, "asset": ""}
        record.binaries = {old.name: entry, **record.binaries}
    record.save()
    assert steps(run(standing, dry=True)) == steps(run(standing)) == ["prune"]
    assert sorted(one.name for one in directory.glob("wal-g*")) == ["wal-g-3.0.7", f"wal-g-{VERSION}"]


def test_a_record_that_can_not_be_read_keeps_them(standing: dict[str, Any], host: Path) -> None:
    (host / "config_dir" / "other.env").write_text("damaged")
    (warning,) = run(standing)["warnings"]
    assert str(host / "config_dir" / "other.env") in warning


def test_a_package_is_used_and_left_alone(params: dict[str, Any], tmp_path: Path, host: Path) -> None:
    package = tmp_path / "package"
    package.write_bytes(BUILD)
    package.chmod(0o755)
    given = {**params, "binary": str(package), "binary_src": None, "binary_checksum": None}
    assert steps(run(given)) == ["programs", "settings"]
    assert not (host / "bin_dir").exists()
    with pytest.raises(WalgError, match=r"Install: There is no file .*/none"):
        run({**given, "binary": str(tmp_path / "none")})


def test_a_release_by_its_record(standing: dict[str, Any], host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network is needed where the record knows the digest of this build; for another build it is."""
    record = _installed.load(str(host / "bin_dir"))
    record.binaries[f"wal-g-{VERSION}"]["asset"] = "wal-g-pg-22.04-amd64"
    record.save()
    monkeypatch.setattr(_make_ready._wanted._binary, "host_glibc", lambda: (2, 36))
    monkeypatch.setattr(_make_ready._wanted.os, "uname", lambda: os.uname_result(("Linux", "db", "5", "1", "x86_64")))
    released = {**standing, "binary_src": None, "binary_checksum": None}
    assert run(released)["steps"] == []
    monkeypatch.setattr(_make_ready._wanted._binary, "host_glibc", lambda: (2, 31))
    with pytest.raises(AssertionError, match=r"asked for https://mirror.example.com/walg/.*sha256"):
        run(released)


def test_a_file_of_the_controller(params: dict[str, Any], host: Path) -> None:
    """Check mode says where it has to be brought, and plans without it; the run wants it there."""
    given = {**params, "binary_remote_src": False}
    foretold = run(given, dry=True)
    place = host / "bin_dir" / f".mapswipe-walg.wal-g-{VERSION}"
    assert (foretold["upload"], steps(foretold), foretold["storage"]["asked"]) == (str(place), ALL, False)
    with pytest.raises(WalgError, match="Install: There is no file"):
        run(given)
    place.parent.mkdir()
    place.write_bytes(BUILD)
    assert steps(run(given)) == ALL
    assert not place.exists()
    again = run(given, dry=True)
    assert ("upload" in again, again["changed"]) == (False, False)


def test_what_is_proved_is_not_asked_again(standing: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Walg()
    assert run(standing, runner)["storage"]["asked"] is True
    assert runner.asked
    monkeypatch.setattr(_make_ready._storage_check._proof, "archive_is_proved", lambda _instance: True)
    runner = Walg()
    answer = run(standing, runner)
    assert (answer["storage"]["asked"], runner.asked) == (False, [])
    assert run({**standing, "access": "read"}, runner)["storage"]["asked"] is True


def test_of_a_lost_cluster_the_archive_is_asked(standing: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "data" / "global" / "pg_control").unlink()
    runner = Walg()
    run(standing, runner)
    assert runner.asked.count("st ls") == 2, "once for what it allows, once for its segments' size"


def test_nothing_is_foreseen_but_what_was_asked_for(params: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive settings are planned for a backup only, before anything else is looked at."""
    seen: list[str] = []

    def archive(_runner: Runner, name: str, *_: object) -> None:
        seen.append(name)
        raise WalgError("a foreign command")

    monkeypatch.setattr(_make_ready._preflight, "archive", archive)
    run({**params, "purpose": "restore", "archive": {}}, dry=True)
    with pytest.raises(WalgError, match=r"^a foreign command$"):
        run({**params, "purpose": "backup", "archive": {"timeout": 60}})
    assert seen == ["main"]
