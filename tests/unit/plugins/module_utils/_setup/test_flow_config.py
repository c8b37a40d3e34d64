# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings file, record and directories of an instance, on a real disk; no secret in anything that is shown."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _facts
from ansible_collections.mapswipe.walg.plugins.module_utils._host._files import FilePlan
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result, Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _record
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _config
from support.control_file import control

PEM = "-----BEGIN PRIVATE KEY-----\\ns3cr3t-in-the-key\\n-----END PRIVATE KEY-----\\n"
KEY = '{"type": "service_account", "client_email": "a@b.example", "private_key": "' + PEM + '"}'
SECRET = "s3cr3t/value+1"


@pytest.fixture
def params(tmp_path: Path) -> dict[str, Any]:
    return {
        "instance": "main",
        "storage": "s3://bucket/path",
        "settings": {"AWS_REGION": "eu-north-1", "HTTPS_PROXY": "http://proxy:3128", "WALG_UPLOAD_CONCURRENCY": 4},
        "secrets": {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": SECRET},
        "google_credentials": None,
        "binary": "/usr/local/bin/wal-g-3.0.8",
        "cluster": {
            "data_dir": "/data",
            "bin_dir": "/bin",
            "socket_dir": "/run/pg",
            "port": 5433,
            "os_user": User.current().name,
            "an_unknown_key": "x",
        },
        "directories": {
            "config_dir": str(tmp_path / "etc"),
            "state_dir": str(tmp_path / "state" / "main"),
            "log_dir": str(tmp_path / "log" / "main"),
            "program_dir": str(tmp_path / "lib"),
        },
        "push_timeout": 15,
        "fetch_timeout": 60,
        "backup_timeout": 86400,
    }


class Answering(Runner):
    """A WAL-G whose storage answers with ``listed``, or fails; it notes what the settings file held when it was called."""

    def __init__(self, listed: str = "[]", rc: int = 0) -> None:
        super().__init__()
        self.listed, self.rc = listed, rc
        self.seen: list[tuple[str, int, str]] = []
        self.where: list[Path] = []

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        path = Path(argv[2])
        self.where.append(path)
        self.seen.append((path.name, path.stat().st_mode & 0o777, path.read_text()))
        return Result(list(argv), self.rc, self.listed, "" if self.rc == 0 else "bucket does not exist")


def test_new_settings_are_tried_before_they_replace_the_old(params: dict[str, Any], tmp_path: Path) -> None:
    first = params
    _config.plan(first).apply(Answering())
    standing = (tmp_path / "etc" / "main.json").read_text()
    failing = Answering(rc=1)
    with pytest.raises(WalgError, match="bucket does not exist"):
        _config.plan({**first, "storage": "s3://other/path"}).apply(failing)
    assert (tmp_path / "etc" / "main.json").read_text() == standing
    assert [seen[:2] for seen in failing.seen] == [("main.json", 0o600)]
    assert failing.where[0].parent != tmp_path / "etc"
    assert not failing.where[0].parent.exists()
    assert "s3://other/path" in failing.seen[0][2]
    assert sorted(path.name for path in (tmp_path / "etc").iterdir()) == ["main.env", "main.json"]


def test_a_storage_of_another_cluster_is_not_taken(params: dict[str, Any], tmp_path: Path) -> None:
    first = params
    first["cluster"] = {**first["cluster"], "system_identifier": "7"}
    foreign = '[{"backup_name": "base_000000010000000000000002", "system_identifier": 8, "finish_time": "2026-01-01T00:00:00Z"}]'
    with pytest.raises(WalgError, match="another cluster"):
        _config.plan(first).apply(Answering(foreign))
    assert list((tmp_path / "etc").iterdir()) == []


def hashes(root: Path) -> dict[str, tuple[int, int, str]]:
    found = {}
    for path in sorted(root.rglob("*")):
        text = path.read_text() if path.is_file() else ""
        found[str(path)] = (path.stat().st_mode, path.stat().st_mtime_ns, text)
    return found


def test_plan_apply_plan(params: dict[str, Any], tmp_path: Path) -> None:
    made = _config.plan(params)
    assert made.changed
    assert not any(tmp_path.iterdir())  # planning wrote nothing
    made.apply(Answering())
    before = hashes(tmp_path)
    again = _config.plan(params)
    assert not again.changed
    again.apply(Answering())
    assert hashes(tmp_path) == before


def test_concurrency_is_chosen_for_the_host_unless_it_is_given(
    params: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_facts, "cores", lambda: 2)
    monkeypatch.setattr(_facts, "memory_mib", lambda: 1024)
    tuned = {**params, "tune": True}
    _config.plan(tuned).apply(Answering())
    settings = json.loads((tmp_path / "etc" / "main.json").read_text())
    assert {name: value for name, value in settings.items() if name.endswith("_CONCURRENCY")} == {
        "WALG_DOWNLOAD_CONCURRENCY": "4",
        "WALG_UPLOAD_CONCURRENCY": "4",  # given; the rule would say 5
        "WALG_UPLOAD_DISK_CONCURRENCY": "2",
    }
    assert not _config.plan(tuned).changed
    assert _config.plan({**params, "tune": False}).changed


def test_what_stands_there(params: dict[str, Any], tmp_path: Path) -> None:
    _config.plan(params).apply(Answering())
    settings = tmp_path / "etc" / "main.json"
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600
    assert json.loads(settings.read_text()) == {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_REGION": "eu-north-1",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "PGDATA": "/data",
        "PGDATABASE": "postgres",
        "PGHOST": "/run/pg",
        "PGPORT": "5433",
        "PGUSER": "postgres",
        "WALG_PREVENT_WAL_OVERWRITE": "true",
        "WALG_S3_PREFIX": "s3://bucket/path",
        "WALG_UPLOAD_CONCURRENCY": "4",
    }
    record = _record.require(str(tmp_path / "etc"), "main")
    assert record.environment == {"HTTPS_PROXY": "http://proxy:3128"}
    assert (record.cluster.port, record.storage) == ("5433", "s3://bucket/path")
    modes = {
        name: stat.S_IMODE((tmp_path / name).stat().st_mode)
        for name in ("etc", "state/main", "log/main", "etc/main.env")
    }
    assert modes == {"etc": 0o755, "state/main": 0o751, "log/main": 0o750, "etc/main.env": 0o644}


def test_a_given_setting_wins_over_ours(params: dict[str, Any], tmp_path: Path) -> None:
    params["settings"]["WALG_PREVENT_WAL_OVERWRITE"] = False
    _config.plan(params).apply(Answering())
    assert json.loads((tmp_path / "etc" / "main.json").read_text())["WALG_PREVENT_WAL_OVERWRITE"] == "false"


@pytest.mark.parametrize("where", ["settings", "secrets"])
@pytest.mark.parametrize(
    ("name", "value", "option"),
    [
        ("PGDATA", "/other", "walg_pg_data_dir"),
        ("PGDATABASE", "app", "walg_pg_database"),
        ("PGHOST", "localhost", "walg_pg_socket_dir"),
        ("PGPORT", 5432, "walg_pg_port"),
        ("PGUSER", "backup", "walg_pg_user"),
    ],
)
def test_walg_is_not_sent_to_another_server(
    params: dict[str, Any], where: str, name: str, value: object, option: str
) -> None:
    params[where][name] = value
    with pytest.raises(WalgError, match=rf"{name} in walg_settings is not the instance's own .* set {option}\."):
        _config.plan(params)


def test_the_instance_s_own_server_may_be_named(params: dict[str, Any]) -> None:
    params["settings"].update(PGDATA="/data/", PGPORT=5433, PGUSER="postgres")
    assert _config.plan(params)
    for name in ("PGSERVICE", "PGSERVICEFILE"):
        with pytest.raises(WalgError, match=f"{name} in walg_settings is not allowed: it can name another server"):
            _config.plan({**params, "settings": {name: "x"}})


def test_no_secret_in_what_is_shown(params: dict[str, Any], tmp_path: Path) -> None:
    """Before, after a change of the secret, and in the record that everybody can read."""
    first = _config.plan(params)
    assert SECRET not in json.dumps(first.diff())
    first.apply(Answering())
    params["secrets"]["AWS_SECRET_ACCESS_KEY"] = "another " + SECRET
    second = _config.plan(params)
    shown = json.dumps(second.diff())
    assert second.changed
    assert SECRET not in shown
    before, after = second.diff()[0]["before"], second.diff()[0]["after"]
    assert before != after  # that it changes is seen
    assert SECRET not in (tmp_path / "etc" / "main.env").read_text()


def test_google_credentials(params: dict[str, Any], tmp_path: Path) -> None:
    params.update(storage="gs://bucket/path", google_credentials=KEY, settings={}, secrets=None)
    made = _config.plan(params)
    assert "s3cr3t" not in json.dumps(made.diff())
    made.apply(Answering())
    path = tmp_path / "etc" / "main.credentials.json"
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (KEY + "\n", 0o600)
    assert json.loads((tmp_path / "etc" / "main.json").read_text())["GOOGLE_APPLICATION_CREDENTIALS"] == str(path)
    assert not _config.plan(params).changed


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"google_credentials": "s3cr3t not json"}, "not the JSON of a Google credentials file"),
        ({"google_credentials": "[]"}, "not the JSON of a Google credentials file"),
        ({"google_credentials": '{"private_key": "s3cr3t"}'}, "has no 'type'"),
        ({"google_credentials": KEY, "settings": {"GOOGLE_APPLICATION_CREDENTIALS": "/k"}}, "given twice"),
        ({"secrets": "s3cr3t"}, "must be a dictionary"),
        ({"secrets": ["s3cr3t"]}, "must be a dictionary"),
        ({"settings": {"AWS_SECRET_ACCESS_KEY": "s3cr3t"}}, "walg_secrets"),
        ({"settings": {"AWS_REGIO": "x"}}, "AWS_REGION"),
        ({"settings": {"WALG_GS_PREFIX": "gs://b/p"}}, "WALG_GS_PREFIX"),
        ({"storage": "bucket/path"}, "bucket/path"),
        ({"instance": "Main"}, "Instance name"),
    ],
)
def test_refusals_show_no_secret_and_write_nothing(
    params: dict[str, Any], tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(WalgError, match=text) as caught:
        _config.plan({**params, **changes})
    assert "s3cr3t" not in caught.value.msg + json.dumps(caught.value.fields)
    assert not any(tmp_path.iterdir())


def test_a_link_in_place_of_the_settings_is_refused(params: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "main.json").symlink_to(tmp_path / "victim")
    made = _config.plan(params)
    with pytest.raises(WalgError, match="symbolic link"):
        made.apply(Answering())
    assert not os.path.exists(tmp_path / "victim")


def test_the_diff_of_a_first_run_begins_with_nothing(params: dict[str, Any]) -> None:
    settings, record = _config.plan(params).diff()
    assert (settings["before"], record["before"]) == ("", "")
    assert record["after"].startswith("# Managed by")


def test_another_storage_is_a_change_of_place_and_other_settings_are_not(
    params: dict[str, Any], tmp_path: Path
) -> None:
    notes = tmp_path / "data/pg_wal/walg_data/walg_archive_status"
    notes.mkdir(parents=True)
    params["cluster"]["data_dir"] = str(tmp_path / "data")
    first = _config.plan(params)
    assert not first.moves
    first.apply(Answering())
    (notes / "A").touch()
    slower = _config.plan({**params, "settings": {"WALG_UPLOAD_CONCURRENCY": 2}})
    assert (slower.changed, slower.moves) == (True, False)
    slower.apply(Answering())
    assert (notes / "A").exists()
    moved = _config.plan({**params, "storage": "s3://other/path"})
    assert moved.moves
    moved.apply(Answering())
    assert not (notes / "A").exists()
    again = _config.plan({**params, "storage": "s3://other/path"})
    assert not again.changed
    mark = tmp_path / "state" / "main" / "storage-change"
    mark.touch()
    (notes / "B").touch()
    resumed = _config.plan({**params, "storage": "s3://other/path"})
    assert resumed.changed
    resumed.apply(Answering())
    assert not mark.exists()
    assert not (notes / "B").exists()


def test_a_disk_that_fails_before_the_settings_changed_leaves_the_old_storage_in_use(
    params: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _config.plan(params).apply(Answering())
    moved = _config.plan({**params, "storage": "s3://other/path"})
    mark = tmp_path / "state" / "main" / "storage-change"

    def fail(plan: FilePlan) -> None:
        assert mark.exists()
        raise WalgError(f"Cannot write {plan.path}: full")

    with monkeypatch.context() as broken:
        broken.setattr(FilePlan, "apply", fail)
        with pytest.raises(WalgError, match="full"):
            moved.apply(Answering())
    assert not mark.exists()

    def fail_after_the_settings(plan: FilePlan) -> None:
        if plan.path.endswith(".env"):
            fail(plan)
        original(plan)

    original = FilePlan.apply
    with monkeypatch.context() as broken:
        broken.setattr(FilePlan, "apply", fail_after_the_settings)
        with pytest.raises(WalgError, match="full"):
            moved.apply(Answering())
    assert mark.exists()
    _config.plan({**params, "storage": "s3://other/path"}).apply(Answering())
    assert not mark.exists()


def test_settings_in_force(params: dict[str, Any]) -> None:
    params["google_credentials"] = KEY
    assert not _config.candidate(params).in_force()
    _config.plan(params).apply(Answering())
    assert _config.candidate(params).in_force()
    for changes in (
        {"storage": "s3://other/path"},
        {"google_credentials": KEY.replace("s3cr3t", "an0ther")},
        {"settings": {"HTTPS_PROXY": "http://other:1"}},
        {"secrets": {"AWS_ACCESS_KEY_ID": "id"}},
    ):
        assert not _config.candidate({**params, **changes}).in_force()
    assert _config.configured(_config.candidate(params).instance).settings.values


def with_segments(params: dict[str, Any], tmp_path: Path, mib: int) -> dict[str, Any]:
    """Make the cluster's control file say a segment size."""
    (tmp_path / "data" / "global").mkdir(parents=True)
    (tmp_path / "data" / "global" / "pg_control").write_bytes(control(1300, segment_size=mib << 20))
    return {**params, "cluster": {**params["cluster"], "data_dir": str(tmp_path / "data")}}


@pytest.mark.parametrize(("mib", "told"), [(1, "1"), (16, None), (64, "64"), (1024, "1024")])
def test_walg_is_told_the_size_of_segments(params: dict[str, Any], tmp_path: Path, mib: int, told: str | None) -> None:
    made = _config.plan(with_segments(params, tmp_path, mib), Answering())
    assert made.candidate.settings.values.get("WALG_PG_WAL_SIZE") == told
    times = 16 if mib == 1024 else 1
    assert (made.instance.push_timeout, made.instance.fetch_timeout) == (15 * times, 60 * times)
    assert f"PUSH_TIMEOUT='{15 * times}'" in made.record


def test_a_size_that_is_not_the_cluster_s_is_refused(params: dict[str, Any], tmp_path: Path) -> None:
    given = with_segments({**params, "settings": {"WALG_PG_WAL_SIZE": 32}}, tmp_path, 64)
    with pytest.raises(WalgError, match=r"is 32 MiB, but the cluster in \S+/data has segments of 64 MiB"):
        _config.plan(given)


class Archive(Answering):
    """WAL-G whose storage holds a base backup of a cluster with segments of 64 MiB."""

    def run(self, argv: Sequence[str], **options: Any) -> Result:
        lsn = (5 << 26) + 40
        backup = {"backup_name": "base_000000010000000000000005", "start_lsn": lsn, "system_identifier": 7}
        self.listed = "obj basebackups_005/" if "st" in argv else json.dumps([backup])
        return super().run(argv, **options)


def test_of_a_lost_cluster_the_archive_is_asked(params: dict[str, Any], tmp_path: Path) -> None:
    binary = tmp_path / "wal-g"
    binary.write_text("")
    here = {**params, "binary": str(binary)}
    assert _config.plan(here, Archive()).candidate.settings.values["WALG_PG_WAL_SIZE"] == "64"
    assert "WALG_PG_WAL_SIZE" not in _config.plan(here, Archive(rc=1)).candidate.settings.values
    assert "WALG_PG_WAL_SIZE" not in _config.plan(here).candidate.settings.values, "not asked"
    with pytest.raises(
        WalgError, match=r"is 32 MiB, but the cluster whose base backups are in s3://\S+ has segments of 64"
    ):
        _config.plan({**here, "settings": {"WALG_PG_WAL_SIZE": "32"}}, Archive())
    pending = {**params, "binary": str(tmp_path / "none")}
    assert "WALG_PG_WAL_SIZE" not in _config.plan(pending, Archive()).candidate.settings.values
