# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a diff shows of the job's file: no address of a hook, which is a secret, and of the failure command the program alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .._walg._settings import HIDDEN, HIDDEN_CHANGED

if TYPE_CHECKING:
    from collections.abc import Mapping


def pair(before: str | None, after: str | None) -> tuple[str, str]:
    """Return what may be shown of two texts of the job's file, "" for none. A changed secret differs, without its value."""
    old, new = _hooks(before), _hooks(after)
    shown_old, shown_new = dict.fromkeys(old, HIDDEN), dict.fromkeys(new, HIDDEN)
    shown_new.update({name: HIDDEN_CHANGED for name in new if old.get(name) not in (None, new[name])})
    return _shown(before, shown_old), _shown(after, shown_new)


def _hooks(text: str | None) -> dict[str, Any]:
    """Return what is secret in a text, where it is given."""
    try:
        hooks = json.loads(text or "{}").get("hooks") or {}
        found = {
            "webhook": hooks.get("webhook"),
            "ping": hooks.get("ping"),
            "arguments": (hooks.get("failure_command") or [])[1:],
        }
    except (ValueError, AttributeError, TypeError):
        return {}
    return {name: value for name, value in found.items() if value}


def _shown(text: str | None, hidden: Mapping[str, str]) -> str:
    if not text:
        return ""
    try:
        told = json.loads(text)
        hooks = told.get("hooks") or {}
        for name in ("webhook", "ping"):
            if name in hidden:
                hooks[name] = hidden[name]
        if "arguments" in hidden:
            hooks["failure_command"] = [hooks["failure_command"][0], hidden["arguments"]]
    except (ValueError, AttributeError, TypeError):
        return "(damaged)\n"
    return json.dumps(told, indent=2, sort_keys=True) + "\n"
