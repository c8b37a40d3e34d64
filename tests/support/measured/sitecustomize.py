# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For make coverage: Python imports this as it starts, since its folder is on PYTHONPATH, and measures what runs of the library.

Most Pythons of a play never see the library, and coverage.py is slow to import; so it waits until the library is.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from importlib.machinery import ModuleSpec


class Starter:
    """A finder that finds nothing, and starts to measure when the collection is imported for the first time."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Called by Python for each import that is not yet done."""
        if name == "ansible_collections.mapswipe":
            sys.meta_path.remove(self)
            # Set for this moment only: coverage.py's own hook would start it in every Python of the venv.
            os.environ["COVERAGE_PROCESS_START"] = os.environ["WALG_COVERAGE"]
            with contextlib.suppress(ImportError):  # a Python beside the venv
                importlib.import_module("coverage").process_startup()
            del os.environ["COVERAGE_PROCESS_START"]
        return None


if os.environ.get("WALG_COVERAGE"):
    sys.meta_path.insert(0, Starter())
