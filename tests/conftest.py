# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Assert that the code under test is this checkout, not a copy that is installed on the machine."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
MODULES = "RECORDER_MODULES"
# A machine that is busy with something else is no reason to fail.
settings.register_profile("checkout", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("checkout")


def pytest_configure(config: pytest.Config) -> None:
    """Stop before the first test if the package's only place is not this checkout."""
    try:
        package = importlib.import_module("ansible_collections.mapswipe.walg")
    except ModuleNotFoundError as error:
        raise pytest.UsageError(f"{error}: run the tests by make, which stages this checkout") from error
    # The same place may come twice: from the settings of pytest and from the environment that make sets.
    found = {os.path.realpath(place) for place in package.__path__}
    if found != {str(ROOT)}:
        raise pytest.UsageError(f"the collection under test would be {sorted(found)}, not {ROOT}")
    if not hasattr(config, "workerinput"):
        # Plays share what Ansible sends of each module: to build it takes a third of a play's time. recorder.py says how.
        os.environ[MODULES] = tempfile.mkdtemp(prefix="mapswipe-walg-modules-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what plays shared."""
    if not hasattr(config, "workerinput") and MODULES in os.environ:
        shutil.rmtree(os.environ.pop(MODULES), ignore_errors=True)
