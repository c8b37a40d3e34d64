# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first plan is asked for until it was shown, under these rules and in this storage; an error is an answer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _expire, _first_plan, _retention_state
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import RefusedError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._job_spec import Retention

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def instance(tmp_path: Path) -> Any:
    return SimpleNamespace(
        storage="file:///s", files=SimpleNamespace(retention_shown=str(tmp_path / "retention-shown"))
    )


def ask(instance: Any, policy: Retention) -> dict[str, Any]:
    return _first_plan.ask(Runner(), instance, policy, NOW)


@pytest.mark.parametrize("error", [RefusedError("It is shared. Move it."), OSError(5, "Input/output error", "/x")])
def test_an_error_is_an_answer(instance: Any, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def run(*_words: Any, **_options: Any) -> None:
        raise error

    monkeypatch.setattr(_expire, "run", run)
    answer = ask(instance, Retention())
    assert answer["plan"] is None
    assert answer["rejected"] in (
        "It is shared. Move it.",
        "/x can't be used: Input/output error. Look at it, or name another one.",
    )
    assert answer["rejected"] in answer["text"]


def test_what_was_shown_is_not_asked_for_again(instance: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_expire, "run", lambda *_words, **_options: {"text": "asked"})
    rules = Retention()
    assert _retention_state.note_play(instance, rules, dry=True)
    assert ask(instance, rules) == {"text": "asked"}
    assert _retention_state.note_play(instance, rules, dry=False)
    assert not _retention_state.note_play(instance, rules, dry=False)
    assert ask(instance, rules)["text"] == "the first plan under these rules was shown"
    assert ask(instance, Retention(days=3)) == {"text": "asked"}
    instance.storage = "file:///other"
    assert ask(instance, rules) == {"text": "asked"}


def test_a_note_that_can_not_be_read_means_not_shown(instance: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_expire, "run", lambda *_words, **_options: {"text": "asked"})
    place = Path(instance.files.retention_shown)
    place.write_bytes(b"\0\xff")
    assert ask(instance, Retention()) == {"text": "asked"}
    place.unlink()
    place.mkdir()
    assert ask(instance, Retention()) == {"text": "asked"}
