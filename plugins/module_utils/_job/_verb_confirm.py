# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb confirm: may the cluster in a directory send a WAL file to the archive? For the push wrapper, which waits for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .._archive import _confirm
from .._walg._client import Walg

if TYPE_CHECKING:
    import argparse

    from .._host._process import Runner
    from .._instance._record import Instance


def confirm(runner: Runner, instance: Instance, options: argparse.Namespace) -> int:
    """Return exit code 0: it may. Within the wrapper's limit. Raises WalgError if it may not."""
    walg = replace(Walg.of(runner, instance), ask_timeout=max(1.0, instance.push_timeout - 1.0))
    _confirm.confirm_push(walg, instance, options.data_dir, options.file)
    return 0
