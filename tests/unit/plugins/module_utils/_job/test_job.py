# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job on the host: its exit codes, its silence on success, and what reaches cron and the log on failure."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _confirm
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _due, _take
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _locks
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._record import render
from ansible_collections.mapswipe.walg.plugins.module_utils._job import _main, _views
from support.walg_world import World

DONE = {
    "changed": True,
    "reason": "none exists",
    "backup": {"name": "base_1"},
    "corrupt_blocks": {},
    "log": "INFO: one\nINFO: two\n",
}

ASKED = {"max_age": 0.0, "full": False, "page_checksums": True, "source": "primary", "name": "main"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield World(tmp_path)
    log = logging.getLogger("walg-job")
    for handler in list(log.handlers):
        handler.close()
        log.removeHandler(handler)


def run(world: World, monkeypatch: pytest.MonkeyPatch, outcome: Any, *more: str) -> tuple[int, dict[str, Any]]:
    """Run the job with a base backup that ends so; return its exit code and how the backup was asked for."""
    asked: dict[str, Any] = {}

    def ensure(_runner: Any, instance: Any, **options: Any) -> Any:
        asked.update(options, name=instance.name)
        if isinstance(outcome, BaseException):
            raise outcome
        return dict(outcome)

    monkeypatch.setattr(_take, "ensure", ensure)
    return _main.main(["backup", "--config-dir", str(world.root / "config"), *more]), asked


def log_of(world: World) -> str:
    return (world.root / "log" / "job.log").read_text()


def test_nothing_done_is_logged_as_such(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    standby = {
        "changed": False,
        "reason": "this is a standby; its primary is backed up",
        "backup": None,
        "corrupt_blocks": {},
        "log": "",
    }
    assert run(world, monkeypatch, standby)[0] == 0
    assert "nothing done: this is a standby; its primary is backed up" in log_of(world)
    assert "done: {" not in log_of(world)


def test_success_is_silent_and_logged(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """cron mails whatever is printed."""
    assert run(world, monkeypatch, DONE) == (0, ASKED)
    assert capfd.readouterr() == ("", "")
    text = log_of(world)
    assert "INFO" in text
    assert all(word in text for word in ("begins", "wal-g: INFO: one", "wal-g: INFO: two", '"name": "base_1"'))


def test_max_age_is_handed_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(world, monkeypatch, DONE, "--max-age", "3600")[1]["max_age"] == 3600.0


@pytest.mark.parametrize(
    ("outcome", "code", "text"),
    [
        (WalgError("the storage is gone", stderr="ERROR: first\nERROR: second\n"), 1, "the storage is gone"),
        (_locks.LockedError("A base backup is already running (pid 7).", holder="7"), 75, "already running"),
        (ValueError("surprise"), 1, "unexpected ValueError: surprise"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
    ],
)
def test_failures(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    outcome: Exception,
    code: int,
    text: str,
) -> None:
    assert run(world, monkeypatch, outcome)[0] == code
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("walg-job[main]: ")
    assert text in err
    assert text in log_of(world)
    if isinstance(outcome, WalgError) and outcome.fields.get("stderr"):
        assert "wal-g: ERROR: first" in log_of(world)
    if isinstance(outcome, ValueError):
        assert "Traceback" in log_of(world)


def test_unknown_instance(world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(world, monkeypatch, DONE, "--instance", "other") == (1, {})
    assert capfd.readouterr().err.startswith("walg-job[other]: The instance 'other' is not configured")


def test_another_user_is_refused_before_anything_is_written(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Run as root by mistake, it would leave files that the next run as the owner cannot write."""
    monkeypatch.setattr(User, "current", classmethod(lambda _cls: User("somebody", 4711, 4711, "/")))
    assert run(world, monkeypatch, DONE) == (1, {})
    assert "you are 'somebody'" in capfd.readouterr().err
    assert os.listdir(world.root / "log") == []


def test_a_log_that_cannot_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (world.root / "config" / "main.env").write_text(render(replace(world.instance, log_dir="/no/such/directory")))
    assert run(world, monkeypatch, DONE) == (8, ASKED)
    assert "cannot write the log in /no/such/directory" in capfd.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["restore"], ["backup", "--config-dir", "/x", "--max-age", "soon"]])
def test_wrong_usage(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        _main.main(arguments)
    assert caught.value.code == 2
    assert "usage: walg-job" in capfd.readouterr().err


def ask(world: World, *more: str) -> int:
    directory = str(world.root / "config")
    arguments = ["confirm", "--config-dir", directory, "--data-dir", "/elsewhere", "--file", "00000002.history"]
    return _main.main([*arguments, *more])


def test_the_wrapper_s_question_is_answered_within_its_limit(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With its directory and file. Nothing is logged: PostgreSQL's own log has it."""
    seen: list[Any] = []

    def confirm(walg: Any, instance: Any, data_dir: str, name: str) -> None:
        seen.append((walg.ask_timeout, walg.config, instance.name, data_dir, name))
        if len(seen) > 1:
            raise WalgError("it is the archive of db1")

    monkeypatch.setattr(_confirm, "confirm_push", confirm)
    monkeypatch.setattr(_main.signal, "signal", lambda *_: None)
    assert ask(world) == 0
    assert capfd.readouterr() == ("", "")
    assert ask(world) == 1
    assert capfd.readouterr() == ("", "walg-job[main]: it is the archive of db1\n")
    wanted = (14.0, str(world.root / "config" / "main.json"), "main", "/elsewhere", "00000002.history")
    assert seen == [wanted, wanted]
    assert not (world.root / "log" / "job.log").exists()


def test_an_unexpected_error_is_no_yes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def confirm(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(_confirm, "confirm_push", confirm)
    monkeypatch.setattr(_main.signal, "signal", lambda *_: None)
    with pytest.raises(ZeroDivisionError):
        ask(world)


def kept(world: World) -> dict[str, Any]:
    """The newest run of each verb."""
    runs = [json.loads(line) for line in (world.root / "state" / "history.jsonl").read_text().splitlines()]
    return {run["verb"]: run for run in runs}


def test_what_can_t_be_written_is_kept_and_its_end_too(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever looks at status or metrics sees it; the one who is told is told once of each end."""
    record = world.root / "config" / "main.env"
    whole = record.read_text()
    record.write_text(render(replace(world.instance, log_dir="/no/such/directory")))
    run(world, monkeypatch, DONE)
    assert kept(world)["state"]["code"] == 8
    assert capfd.readouterr().err.count("cannot write the log") == 1
    record.write_text(whole)
    assert run(world, monkeypatch, DONE)[0] == 0
    assert kept(world)["state"]["code"] == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("told", "noted"),
    [
        ({"what": "backup", "phase": "backup-push"}, True),
        ({"what": "backup", "phase": "done"}, False),
        ({"what": "backup", "phase": "failed"}, False),
        ({"what": "restore", "phase": "fetching"}, False),
        ({"what": "backup", "phase": "backup-push", "pid": os.getpid()}, False),
        ({"what": "backup", "phase": "backup-push", "updated": "soon"}, False),
    ],
)
def test_a_run_that_was_killed_is_told_by_the_next(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    told: dict[str, Any],
    noted: bool,
) -> None:
    times = {"started": "2026-01-31T04:05:06Z", "updated": "2026-01-31T04:15:06Z", "pid": 2**22 + 1}
    (world.root / "state" / "progress.json").write_text(json.dumps({**times, **told}))
    for part in ("check_due", "expire_due", "verify_due"):
        monkeypatch.setattr(_due, part, lambda *_: False)
    monkeypatch.setattr(_due, "backup_due", lambda *_: ("", None))
    for turn in range(2):
        assert _main.main(["run", "--config-dir", str(world.root / "config")]) == 0
        assert ("it was killed" in capfd.readouterr().err) is (noted and not turn)
    runs = kept(world)
    assert ("backup" in runs) is noted
    if noted:
        assert (runs["backup"]["code"], runs["backup"]["seconds"]) == (1, 600.0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_work_in_order(world: World, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    """What the work holds is given back, and the signals mean what they meant."""
    before, left = signal.getsignal(number), []

    def ensure(*_: Any, **_options: Any) -> Any:
        try:
            signal.raise_signal(number)
        finally:
            left.append("given back")

    monkeypatch.setattr(_take, "ensure", ensure)
    with pytest.raises(SystemExit) as caught:
        _main.main(["backup", "--config-dir", str(world.root / "config")])
    assert (caught.value.code, left) == (1, ["given back"])
    assert signal.getsignal(number) == before


def test_whoever_looks_may_stop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def show(*_: Any) -> int:
        signal.raise_signal(signal.SIGINT)
        return 0

    monkeypatch.setattr(_views, "show", show)
    assert _main.main(["status", "--config-dir", str(world.root / "config")]) == 1
