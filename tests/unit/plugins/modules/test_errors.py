# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An error keeps its fields in every module, by one method: what was found, what a program answered."""

from __future__ import annotations

import ast
import importlib
import json
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from support.module_docs import MODULES, PLUGINS, spec

#: Any value that passes Ansible's own check, for options that must be given.
_GIVEN = {"str": "x", "path": "/x", "dict": {"data_dir": "/x"}, "raw": "x"}


def handlers(name: str) -> list[str]:
    tree = ast.parse((PLUGINS / "modules" / f"{name}.py").read_text(encoding="utf-8"))
    return [ast.unparse(one) for node in ast.walk(tree) if isinstance(node, ast.Try) for one in node.handlers]


@pytest.mark.parametrize("name", MODULES)
def test_every_error_goes_the_one_way(name: str) -> None:
    assert handlers(name) == ["except (WalgError, OSError) as exc:\n    _answer.fail(module, exc)"]
    text = (PLUGINS / "modules" / f"{name}.py").read_text(encoding="utf-8")
    assert not [word for word in ("fail_json", "exit_json", "failure_fields") if word in text]


@pytest.mark.parametrize("name", MODULES)
def test_the_fields_of_an_error_are_in_the_answer(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    told = spec(name)
    needed = {option for option, entry in told["argument_spec"].items() if entry.get("required")}
    needed |= {option for *_when, options in told.get("required_if", []) for option in options}
    given: dict[str, Any] = {option: _GIVEN[told["argument_spec"][option]["type"]] for option in needed}
    module = importlib.import_module(f"ansible_collections.mapswipe.walg.plugins.modules.{name}")

    def refuse(*_options: object, **_limits: object) -> None:
        raise WalgError("It was tried.", cmd=["wal-g", "st"], rc=3, stdout="out", stderr="err", found="x")

    asked = "judge" if hasattr(module, "judge") else "instance_from"
    monkeypatch.setattr(module, asked, refuse)
    with patch_module_args({**given, "_ansible_check_mode": True}), pytest.raises(SystemExit) as caught:
        module.main()
    answer = json.loads(capfd.readouterr().out)
    assert (caught.value.code, answer["failed"], answer["msg"]) == (1, True, "It was tried.")
    assert (answer["cmd"], answer["rc"], answer["stdout"], answer["stderr"], answer["found"]) == (
        ["wal-g", "st"],
        3,
        "out",
        "err",
        "x",
    )
