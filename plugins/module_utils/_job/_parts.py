# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of the job that are loaded when they are needed. A check comes every few minutes, and to load them all takes longer than its work.

Load them before a container is entered: in there this code can't be seen. _programs names them, so that they are installed.
"""

from __future__ import annotations

import importlib
from typing import Any


def loaded(name: str) -> Any:
    """Return a module of this folder."""
    return importlib.import_module(f".{name}", __package__)


def of_verb(verb: str) -> Any:
    """Return the module that does a verb."""
    return loaded("_views" if verb in ("status", "report") else f"_verb_{verb}")
