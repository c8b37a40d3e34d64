# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a storage, step by step, and what is made of its answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result, Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _config, _storage_check
from ansible_collections.mapswipe.walg.plugins.module_utils._setup._storage_check import Question
from support.google_endpoints import Google, oauth_error, permitted

PEM = "-----BEGIN PRIVATE KEY-----\ns3cr3t-in-the-key\n-----END PRIVATE KEY-----\n"
KEY = json.dumps({"type": "service_account", "client_email": "a@b.example", "private_key": PEM})
FOUND = (
    '[{"backup_name": "base_000000010000000000000002", "system_identifier": 7, "finish_time": "2026-01-01T00:00:00Z"}]'
)
WRITE, DRY = Question("write", 9, False), Question("write", 9, True)
READ, READ_ONLY = Question("read", 9, False), Question("read_only", 9, False)


class Storage(Runner):
    """A WAL-G whose storage keeps one object; ``fails``: stderr by act; ``garbles``: what is read back."""

    def __init__(self, fails: dict[str, str] | None = None, listed: str = "[]", garbles: str = "") -> None:
        super().__init__()
        self.fails, self.listed, self.garbles = fails or {}, listed, garbles
        self.acts: list[str] = []
        self.objects: dict[str, str] = {}
        self.settings: set[Path] = set()

    def run(self, argv: Sequence[str], **options: Any) -> Result:
        if argv[1] == "--version":
            return Result(list(argv), 0, "wal-g version v1.1.3-rc\tx\ty\tPostgreSQL\n")
        assert options["timeout"] <= 10 or "backup-list" in argv
        self.settings.add(Path(argv[2]))
        act = " ".join(argv[3:5]) if argv[3] == "st" else argv[3]
        self.acts.append(act)
        if act in self.fails:
            return Result(list(argv), 1, "", self.fails[act])
        name = argv[6] if act == "st put" else argv[-1]
        if act.startswith("st p"):
            self.objects[name] = Path(argv[5]).read_text()
        elif act == "st rm":
            if self.objects.pop(name, None) is None:
                return Result(list(argv), 1, "", "does not exist")
        elif act == "st cat":
            return Result(list(argv), 0, self.garbles or self.objects.get(name, "{}"))
        elif act == "st ls":
            folder = "" if self.listed == "[]" else "dir  0    0001-01-01 00:00:00 +0000 UTC basebackups_005/\n"
            objects = "".join(f"obj  1    2026-01-01 00:00:00 +0000 UTC {name}\n" for name in self.objects)
            return Result(list(argv), 0, "type size last modified name\n" + folder + objects)
        return Result(list(argv), 0, self.listed if act == "backup-list" else "")


@pytest.fixture
def candidate(tmp_path: Path) -> Callable[..., _config.Candidate]:
    def make(identifier: str = "", **changes: Any) -> _config.Candidate:
        params = {
            "instance": "main",
            "storage": "gs://bucket/path",
            "settings": {},
            "secrets": None,
            "google_credentials": KEY,
            "binary": "/wal-g",
            "cluster": {
                "data_dir": "/data",
                "bin_dir": "/bin",
                "socket_dir": "/run",
                "os_user": User.current().name,
                "system_identifier": identifier,
            },
            "directories": {
                f"{name}_dir": str(tmp_path / name / "main") for name in ("config", "state", "log", "program")
            },
        }
        return _config.candidate({**params, **changes})

    return make


def test_all_is_well(candidate: Callable[..., _config.Candidate]) -> None:
    storage = Storage(listed=FOUND)
    answer = _storage_check.check(storage, candidate(), "/wal-g", WRITE)
    assert (answer["backups"], answer["can_write"]) == (1, True)
    assert storage.acts == ["st ls", "backup-list", "st cat", "st put", "st cat", "st rm"]
    assert storage.objects == {}
    assert len(storage.settings) == 1
    assert not [path for path in storage.settings if path.parent.exists()]


def test_check_mode_only_lists(candidate: Callable[..., _config.Candidate]) -> None:
    storage = Storage()
    answer = _storage_check.check(storage, candidate(), "/wal-g", DRY)
    assert answer.pop("google")["account"] == "a@b.example"
    assert answer == {"asked": True, "backups": 0}
    assert storage.acts == ["st ls"]


@pytest.mark.parametrize(
    ("fails", "words"),
    [
        ({"st ls": "Error 403"}, "may not list there"),
        ({"st put": "Error 403"}, "walg_storage_access: read_only"),
        ({"st cat": "got HTTP response code 403"}, "may not read there"),
        ({"st rm": "Error 403"}, "stays behind there, on Google Cloud Storage with mapswipe_walg_probe_"),
        ({"st put": "whatever"}, "ended with 1: whatever"),
    ],
)
def test_what_fails_is_said_and_nothing_stays_where_it_can_go(
    candidate: Callable[..., _config.Candidate], fails: dict[str, str], words: str
) -> None:
    storage = Storage(fails)
    with pytest.raises(WalgError, match=words) as caught:
        _storage_check.check(storage, candidate(), "/wal-g", WRITE)
    assert "gs://bucket/path" in caught.value.msg
    assert bool(storage.objects) is ("st rm" in fails)
    assert not [path for path in storage.settings if path.parent.exists()]


def test_what_is_read_back_has_to_be_what_was_written(candidate: Callable[..., _config.Candidate]) -> None:
    storage = Storage(garbles="something else")
    with pytest.raises(WalgError, match="read back as something else"):
        _storage_check.check(storage, candidate(), "/wal-g", WRITE)
    assert storage.objects == {}


def test_a_host_that_only_restores(candidate: Callable[..., _config.Candidate]) -> None:
    refused = _storage_check.check(Storage({"st put": "Error 403"}), candidate(), "/wal-g", READ_ONLY)
    assert (refused["can_write"], "warning" in refused) == (False, False)
    assert "403" in refused["write_answer"]
    allowed = _storage_check.check(Storage(), candidate(), "/wal-g", READ_ONLY)
    assert (allowed["can_write"], "only restore" in allowed["warning"]) == (True, True)
    with pytest.raises(WalgError, match="may not list"):
        _storage_check.check(Storage({"st ls": "Error 403"}), candidate(), "/wal-g", READ_ONLY)
    storage = Storage(listed=FOUND)
    assert "can_write" not in _storage_check.check(storage, candidate(), "/wal-g", READ)
    assert storage.acts == ["st ls", "backup-list", "st cat"]


def test_an_archive_of_another_cluster(candidate: Callable[..., _config.Candidate]) -> None:
    storage = Storage(listed=FOUND.replace("7", "8"))
    with pytest.raises(WalgError, match="another cluster"):
        _storage_check.check(storage, candidate("7"), "/wal-g", WRITE)
    assert storage.acts == ["st ls", "backup-list"]
    marker = json.dumps({"system_identifier": "8"})
    with pytest.raises(WalgError, match=r"mapswipe_walg_owner[.]json"):
        _storage_check.check(Storage(garbles=marker), candidate("7"), "/wal-g", WRITE)


def test_credentials_are_looked_at_before_the_storage(
    candidate: Callable[..., _config.Candidate], tmp_path: Path
) -> None:
    path = tmp_path / "key.json"

    def ask(question: Question = WRITE) -> Any:
        storage = Storage()
        given = candidate(settings={"GOOGLE_APPLICATION_CREDENTIALS": str(path)}, google_credentials=None)
        try:
            return _storage_check.check(storage, given, "/wal-g", question)
        except WalgError:
            assert storage.acts == []
            raise

    with pytest.raises(WalgError, match="There is no Google credentials file"):
        ask()
    assert (ask(DRY)["asked"], "There is no Google credentials file" in ask(DRY)["reason"]) == (False, True)
    path.mkdir()
    with pytest.raises(WalgError, match="can't be read by the user"):
        ask()
    path.rmdir()
    path.write_text('{"type": "external_account"}')
    with pytest.raises(WalgError, match="can't load"):
        ask()
    path.write_text(KEY)
    assert ask()["can_write"] is True
    with pytest.raises(WalgError, match="absolute path"):
        candidate(settings={"GOOGLE_APPLICATION_CREDENTIALS": "key.json"}, google_credentials=None)


@pytest.fixture
def google(tmp_path: Path) -> Iterator[Google]:
    with Google(tmp_path) as endpoints:
        yield endpoints


def asked(google: Google, candidate: Callable[..., _config.Candidate], question: Question, **fails: str) -> Any:
    given = candidate(settings=google.environment, google_credentials=google.credentials("service_account"))
    return _storage_check.check(Storage(fails), given, "/wal-g", question)


def test_google_explains_why_wal_g_fails(google: Google, candidate: Callable[..., _config.Candidate]) -> None:
    google.answers["token"] = oauth_error("invalid_grant", "Invalid JWT Signature.")
    with pytest.raises(WalgError, match=r"explains: .* does not accept the key") as caught:
        asked(google, candidate, WRITE, **{"st ls": "invalid_grant"})
    assert "invalid_grant" in caught.value.msg
    assert caught.value.fields["google"]["problem"] == "key_gone"


def test_wal_g_has_the_last_word(google: Google, candidate: Callable[..., _config.Candidate]) -> None:
    """What it can do is no error, whatever Google says; check mode, which does not try, warns."""
    google.answers["permissions"] = permitted("get", "list")
    found = asked(google, candidate, WRITE)
    lacks = ["storage.objects.create", "storage.objects.delete"]
    assert (found["can_write"], found["google"]["missing"], "warning" in found) == (True, lacks, False)
    assert "storage.objects.create" in asked(google, candidate, DRY)["warning"]
    read = asked(google, candidate, READ)
    assert (read["google"]["missing"], "warning" in read) == ([], False)


def test_google_is_not_asked_where_that_is_switched_off(
    google: Google, candidate: Callable[..., _config.Candidate]
) -> None:
    found = asked(google, candidate, Question("write", 9, False, False))
    assert found["google"] == {"asked": False, "reason": "walg_google_check is never"}
    assert google.seen == []
    given = candidate(storage="file:///srv/archive", google_credentials=None)
    assert "google" not in _storage_check.check(Storage(), given, "/wal-g", DRY)
