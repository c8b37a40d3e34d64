# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checks that Ansible's collections share, set by antsibull-nox.toml: .tools/venv/bin/nox, after make tools.

`make lint` runs the same, beside linters of its own. A session uses the pinned tools of that folder and installs nothing.
Only the importer needs an environment of its own: .tools/venv/bin/nox -db venv -e build-import-check
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nox
from antsibull_nox import load_antsibull_nox_toml

tools = str(Path(sys.executable).parent)
search = os.environ.get("PATH", os.defpath).split(os.pathsep)
if tools not in search:
    os.environ["PATH"] = os.pathsep.join([tools, *search])
# A linter of its own runs it, with stricter rules.
os.environ["GALAXY_IMPORTER_RUN_ANSIBLE_LINT"] = "false"
nox.options.envdir = ".tools/nox"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["yamllint", "antsibull-nox-config", "extra-checks"]

load_antsibull_nox_toml()
