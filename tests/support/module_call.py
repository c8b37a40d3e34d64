# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module as Ansible calls it: options in, JSON out. What it answers has to be documented."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible.module_utils.common.warnings import get_warning_messages
from ansible.module_utils.testing import patch_module_args

if TYPE_CHECKING:
    from types import ModuleType

    from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner

#: What every module of Ansible answers, and what is for this collection's own roles alone.
_COMMON = {"changed", "diff", "invocation", "skipped", "warnings", "_planned"}
#: What Ansible itself says of a file whose path is answered.
_OF_PATH = {"gid", "group", "mode", "owner", "size", "state", "uid"}


class Call:
    """Calls one module; ``runner`` takes the place of the one that starts programs."""

    def __init__(
        self, module: ModuleType, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, **options: Any
    ) -> None:
        self.module, self.capfd, self.monkeypatch, self.options = module, capfd, monkeypatch, options

    def __call__(self, runner: Runner | None = None, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """Return what the module answers; of warnings the texts."""
        if runner is not None:
            self.monkeypatch.setattr(self.module, "Runner", lambda: runner)
        given = {**self.options, **options, "_ansible_check_mode": check, "_ansible_diff": True}
        before = len(get_warning_messages())  # Ansible's list is the process's
        with patch_module_args(given), pytest.raises(SystemExit) as caught:
            self.module.main()
        answer: dict[str, Any] = json.loads(self.capfd.readouterr().out)
        assert bool(answer.get("failed")) is bool(caught.value.code)
        answer["warnings"] = [one["event"]["msg"] for one in answer.get("warnings", [])][before:]
        if not answer.get("failed"):
            expected = _COMMON | (_OF_PATH if "path" in answer else set())
            assert set(answer) - set(yaml.safe_load(self.module.RETURN)) <= expected, "an answer that is not documented"
        return answer
