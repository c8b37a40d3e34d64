# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hook that fails is recorded where the instance is: on this machine, or from inside of its container."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._container import _session
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _exit_codes, _history, _inside
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._job_spec import Hooks, JobSpec
from ansible_collections.mapswipe.walg.plugins.module_utils._job import _main, _metrics_file, _outcome, _voice
from support.helper_engine import Helpers, Work, placed, write

FAILS = JobSpec(hooks=Hooks(failure_command=("/bin/false",)))
WELL = JobSpec(hooks=Hooks(failure_command=("/bin/true",)))
OPTIONS = argparse.Namespace(verb="check", instance="main", config_dir="/none", scheduled=True)


def run_of(code: int, occasion: str) -> dict[str, Any]:
    stamp = "2026-01-01T00:00:00Z"
    run = {
        "verb": "check",
        "started": stamp,
        "ended": stamp,
        "seconds": 1.0,
        "code": code,
        "changed": False,
        "text": "x",
    }
    return {**run, "occasion": occasion, "complaint": "x"}


FAILED = run_of(1, _outcome.FAILURE)


@pytest.fixture
def instance(tmp_path: Path) -> Any:
    files = SimpleNamespace(history=str(tmp_path / "history.jsonl"), history_lock=str(tmp_path / "history.lock"))
    return SimpleNamespace(files=files)


def told(instance: Any) -> list[tuple[int, str]]:
    return [(run.code, run.text) for run in _history.read(instance.files.history) if run.verb == "tell"]


def test_a_hook_that_fails_is_recorded_and_so_is_its_end(instance: Any, capfd: pytest.CaptureFixture[str]) -> None:
    voice = _voice.Voice(Runner(), OPTIONS, FAILS)
    failed = voice.speak({"runs": [FAILED]})
    assert failed == [["The failure command failed: false ended with 1: no output."]]
    assert capfd.readouterr().err == "walg-job[main]: x\n"
    assert _voice.note(instance, [FAILED], failed)
    assert told(instance) == [(_exit_codes.HOOK, "The failure command failed: false ended with 1: no output.")]
    again = _voice.Voice(Runner(), OPTIONS, WELL)
    assert _voice.note(instance, [FAILED], again.speak({"runs": [FAILED]}))
    assert told(instance)[-1] == (_exit_codes.OK, "the hooks answer again")
    assert not _voice.note(instance, [FAILED], [[]])


def test_who_is_not_told_says_nothing_about_hooks(instance: Any) -> None:
    by_hand = argparse.Namespace(**{**vars(OPTIONS), "scheduled": False})
    well = run_of(0, _outcome.SUCCESS)
    failed = _voice.Voice(Runner(), by_hand, FAILS).speak({"runs": [well]})
    assert failed == [None]
    assert not _voice.note(instance, [well], failed)


def test_it_speaks_once() -> None:
    """Who works in a container, where others can disturb it, may not call for the hooks again and again."""
    voice = _voice.Voice(Runner(), OPTIONS, FAILS)
    voice.speak({"runs": []})
    with pytest.raises(WalgError, match="has told already"):
        voice.speak({"runs": [FAILED]})


def test_the_inside_of_a_container_has_the_outside_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def ask(what: str, **fields: Any) -> list[list[str] | None]:
        asked.append((what, fields))
        return [["The webhook failed: x."]]

    monkeypatch.setattr(_inside, "current", lambda: SimpleNamespace(ask=ask))
    voice = _voice.Voice(Runner(), OPTIONS, FAILS)
    assert _main._spoken(voice, {"runs": [FAILED], "troubles": []}) == [["The webhook failed: x."]]
    assert asked == [("tell", {"runs": [FAILED], "troubles": []})]
    assert not voice.spoke


def test_the_outside_speaks_when_it_is_asked_and_not_again_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write(placed(tmp_path), tmp_path / "etc")
    (tmp_path / "etc" / "main.job.json").write_text('{"hooks": {"failure_command": ["/bin/false"]}}')
    (tmp_path / "etc" / "main.job.json").chmod(0o600)
    engine = Helpers()
    answers: list[Any] = []

    def ended(offers: Any) -> _session.End:
        answers.append(offers["tell"]({"runs": [run_of(0, _outcome.FAILURE)]}, None))
        return _session.End({"runs": [run_of(0, _outcome.FAILURE)], "metrics": ""}, 0)

    work = Work([ended])
    monkeypatch.setattr(_main, "Runner", lambda: engine)
    monkeypatch.setattr(_session, "work", work)
    monkeypatch.setattr(_metrics_file, "publish", lambda *_words: None)
    monkeypatch.setattr(engine, "run", _false_or(engine.run))
    assert _main.main(["check", "--scheduled", "--config-dir", str(tmp_path / "etc")]) == _exit_codes.HOOK
    assert answers == [[["The failure command failed: false ended with 1: no output."]]]
    said = capfd.readouterr().err.splitlines()
    assert said == ["walg-job[main]: x", "walg-job[main]: The failure command failed: false ended with 1: no output."]


def _false_or(engine: Any) -> Any:
    """Run what is no call of the engine for real."""
    real = Runner()
    return lambda argv, **options: real.run(argv, **options) if argv[0] == "/bin/false" else engine(argv, **options)
