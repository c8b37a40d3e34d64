# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module as Ansible calls it: options in, JSON out. What it answers has to be documented."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.common.warnings import get_warning_messages
from ansible.module_utils.testing import patch_module_args

from .module_docs import require_documented

if TYPE_CHECKING:
    from types import ModuleType

    from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner


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
        require_documented(self.module.__name__.rpartition(".")[2], answer)
        return answer
