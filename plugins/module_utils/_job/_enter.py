# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job of an instance whose server is in a container: it continues in there, as the owner of the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._container import _session
from .._host import _guard
from .._host._users import dropper
from .._instance import _job_spec, _record

if TYPE_CHECKING:
    from .._container import _placed
    from . import _voice


def go_inside(voice: _voice.Voice, placed: _placed.Placed) -> _session.End | None:
    """Continue in the container of the instance's server, as its owner; outside, return how that ended."""
    runner, options = voice.runner, voice.options
    _job_spec.remember(options.config_dir, options.instance)
    container = placed.find(runner)
    container.refuse_not_running()
    offers = {"tell": lambda told, _descriptor: voice.speak(told)}
    end = _session.work(runner, placed, container, offers, served=True, user=container.user)
    if end is not None:
        return end
    options.config_dir = placed.directories()["config_dir"]
    drop = dropper(_record.require(options.config_dir, options.instance).owner)
    if drop is not None:
        drop()
        _guard.end_with_parent()  # that was forgotten with the change of user
    return None
