# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the metrics go: a file of the owner's, to which a link in node_exporter's directory leads; see walg_schedule.

What is in a container can't be led to by a link, so of a server there the machine's root writes the file itself.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .._container import _placed
from .._errors import WalgError
from .._host import _trust
from .._host._files import read_text, write_atomic

if TYPE_CHECKING:
    from .._instance._record import Instance


def write_own(instance: Instance, text: str) -> None:
    """Write the metrics beside the instance's state. Raises WalgError."""
    if text:
        write_atomic(instance.files.metrics, text, 0o644)


def kept(instance: Instance) -> str:
    """Return the metrics as they were written last; nothing where they can't be read."""
    try:
        return read_text(instance.files.metrics) or ""
    except WalgError:
        return ""


def publish(config_dir: str, name: str, directory: str, text: str) -> None:
    """Write the metrics of a server in a container into node_exporter's directory. On other hosts a link leads to them."""
    if _placed.load(config_dir, name) is None:
        return
    _trust.refuse_loose(directory, "walg_backup_metrics_dir")
    write_atomic(os.path.join(directory, f"mapswipe-walg-{name}.prom"), text, 0o644)
