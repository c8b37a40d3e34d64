# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is told how a run ended: a command, a webhook, a ping. What fails here is an alarm of its own, and nothing else suffers from it.

An address may be a secret (a webhook's is a password), so no message names more than its host.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _exit_codes
from . import _outcome, _parts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._host._process import Runner
    from .._instance._job_spec import Hooks


def message(instance: str, host: str, run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the message about a run: one line for chat systems (``text``; ``content`` is what some of them call it), and its parts."""
    code = int(run["code"])
    state = "OK" if code == _exit_codes.OK else "PROBLEM"
    line = f"[{state}] walg {run['verb']} of {instance} on {host}: {run['text']}"
    return {
        "text": line,
        "content": line[:1900],
        "instance": instance,
        "host": host,
        "meaning": _exit_codes.MEANINGS.get(code, ""),
        **{name: run[name] for name in ("verb", "started", "ended", "seconds", "code", "changed")},
    }


def tell(runner: Runner, hooks: Hooks, told: Mapping[str, Any], occasion: str) -> list[str]:
    """Tell those who should know on an occasion (one of _outcome's). Returns what went wrong, in a sentence each."""
    body = json.dumps(told)
    todo: list[tuple[str, Callable[[], None]]] = []
    if occasion == _outcome.FAILURE and hooks.failure_command:
        todo.append(("The failure command", lambda: _command(runner, hooks, body)))
    if occasion in (_outcome.FAILURE, _outcome.RECOVERY) and hooks.webhook:
        todo.append(("The webhook", lambda: _parts.loaded("_web").fetch(hooks.webhook, hooks.timeout, body.encode())))
    if occasion in (_outcome.SUCCESS, _outcome.RECOVERY) and told["verb"] == "check" and hooks.ping:
        todo.append(("The ping", lambda: _parts.loaded("_web").fetch(hooks.ping, hooks.timeout, None)))
    troubles = []
    for what, act in todo:
        try:
            act()
        except WalgError as exc:
            troubles.append(f"{what} failed: {exc.msg}.")
    return troubles


def _command(runner: Runner, hooks: Hooks, body: str) -> None:
    """Run the command; it gets the message on its standard input, not as words that others can read."""
    done = runner.run(list(hooks.failure_command), stdin=body + "\n", timeout=hooks.timeout)
    if done.timed_out:
        raise WalgError(f"{os.path.basename(done.argv[0])} did not end within {hooks.timeout} s")
    if done.rc != 0:
        raise WalgError(f"{os.path.basename(done.argv[0])} ended with {done.rc}: {done.last_line()}")
