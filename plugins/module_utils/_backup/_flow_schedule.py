# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: cron takes base backups of an instance."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from . import _schedule

if TYPE_CHECKING:
    from .._instance._record import Instance


def job_file(instance: Instance, minute: str | None, hour: str, weekday: str, host: str) -> str:
    """Return the text of the cron file. Without a ``minute`` it depends on host and instance: not all begin at once."""
    argv = [os.path.join(instance.program_dir, "walg-job"), "backup"]
    argv += ["--instance", instance.name, "--config-dir", instance.config_dir]
    chosen = minute if minute else str(_schedule.spread(f"{host}/{instance.name}", 0))
    line = _schedule.cron_line(chosen, hour, instance.cluster.os_user, argv, weekday=weekday)
    return _schedule.cron_file(instance.name, [line])
