# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The helper container: the image, mounts and networks of a server's container, without the server. Restores work in it.

Its labels say for which container it is, and which restart policy that one has: it is switched off while the helper is there, so that
the engine does not start the server in the midst of a restore.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .._errors import WalgError
from . import _engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._host._process import Result, Runner
    from ._engine import Container

_OF = "mapswipe.walg.helper-of"
_RESTART = "mapswipe.walg.restart"
_SUFFIX = "-walg"
_TIMEOUT = 120.0  # seconds for a call of the engine
_STOP_SLACK = 60.0  # seconds beyond a container's own grace


def name_of(container: Container) -> str:
    """Return the helper's name."""
    return f"{container.name}{_SUFFIX}"


def find(runner: Runner, container: Container) -> Container | None:
    """Return the helper of a container, if there is one. Raises WalgError where the name is somebody else's."""
    argv = [
        container.engine,
        "ps",
        "--all",
        "--quiet",
        "--no-trunc",
        "--filter",
        f"name=^/?{re.escape(name_of(container))}$",
    ]
    found = _call(runner, argv, "look for the helper container").stdout.split()
    if not found:
        return None
    helper = _engine.by_name(runner, container.engine, found[0])
    if _OF not in helper.labels:
        raise WalgError(
            f"The name {helper.name} is needed for the helper container of {container.name}, but another container has it. Rename that one."
        )
    return helper


def opened(runner: Runner, container: Container) -> Container:
    """Return the helper of a container, running; it is made if there is none. Raises WalgError."""
    helper = find(runner, container)
    if helper is not None and helper.labels[_OF] == container.identifier and helper.status == "running":
        return helper
    if helper is not None:  # it was for a container that was re-created since, or the machine was restarted
        close(runner, helper)
    argv = [container.engine, "run", "--detach", f"--name={name_of(container)}", "--volumes-from", container.identifier]
    argv += [f"--label={_OF}={container.identifier}", f"--label={_RESTART}={container.restart}", "--user=0:0"]
    argv += [f"--network={container.networks[0]}"] if container.networks else []
    argv += [f"--add-host={one}" for one in container.extra_hosts] + [f"--dns={one}" for one in container.dns]
    argv += [f"--shm-size={container.shm_size}"] if container.shm_size else []
    argv += ["--entrypoint=sleep", container.image, "infinity"]
    _call(runner, argv, f"make the helper container of {container.name}")
    made = _engine.by_name(runner, container.engine, name_of(container))
    for network in container.networks[1:]:
        _call(runner, [container.engine, "network", "connect", network, made.identifier], "join its networks")
    if made.status != "running" or not made.pid:
        close(runner, made)
        raise WalgError(f"The helper container of {container.name} ended at once: its image has no program `sleep`.")
    return made


def close(runner: Runner, helper: Container) -> None:
    """Remove a helper and all that runs in it."""
    _call(runner, [helper.engine, "rm", "--force", helper.identifier], "remove the helper container")


def hold(runner: Runner, container: Container) -> None:
    """Stop a container and keep the engine from starting it again; its helper knows the policy that it had.

    Podman starts no container again that was stopped, and its `update` knew no policy before 5.1.
    """
    if container.restart not in ("", "no") and container.engine_name != "podman":
        _call(runner, [container.engine, "update", "--restart=no", container.identifier], "hold the container")
    if not container.stopped:
        _call(runner, [container.engine, "stop", container.identifier], "stop the container", _time_to_stop(container))


def release(runner: Runner, container: Container, helper: Container) -> None:
    """Give a container its restart policy back."""
    policy = helper.labels.get(_RESTART, "no")
    if policy not in ("", "no", container.restart) and container.engine_name != "podman":
        _call(runner, [container.engine, "update", f"--restart={policy}", container.identifier], "end the hold")


def start(runner: Runner, container: Container) -> None:
    """Start a container."""
    _call(runner, [container.engine, "start", container.identifier], "start the container")


def restart(runner: Runner, container: Container) -> None:
    """Stop a container, with the time that it has for that, and start it."""
    argv = [container.engine, "restart", container.identifier]
    _call(runner, argv, "restart the container", _time_to_stop(container))


def _time_to_stop(container: Container) -> float:
    """Return how long the engine may take for a stop: the grace that the container has, the engine's own if it has none, and some more."""
    return float(container.stop_timeout or 10) + _STOP_SLACK


def _call(runner: Runner, argv: Sequence[str], what: str, timeout: float = _TIMEOUT) -> Result:
    answer = runner.run(argv, timeout=timeout)
    if answer.rc != 0 or answer.timed_out:
        why = f"no answer after {timeout:.0f} s" if answer.timed_out else answer.last_line()
        raise WalgError(f"Cannot {what}: `{' '.join(argv[:3])} ...` said: {why}", **answer.fields())
    return answer
