# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stands in for the pip bootstrap script that ansible-test would fetch from outside the package registries.

It is run inside an empty environment with the packages wanted (pip itself); the wheel lies beside this file.
"""

import os
import runpy
import sys

here = os.path.dirname(os.path.abspath(__file__))
wheels = [name for name in sorted(os.listdir(here)) if name.startswith("pip-") and name.endswith(".whl")]
if not wheels:
    sys.exit("no pip wheel in " + here)
sys.path.insert(0, os.path.join(here, wheels[0]))
wanted = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.argv = ["pip", "install", "--no-index", "--find-links", here, *wanted]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
