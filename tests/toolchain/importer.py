# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build the collection here and let Galaxy's importer look at it; what it only warns of fails too.

python3 tests/toolchain/importer.py BIN     BIN is where the importer's programs are
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> int:
    programs = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="importer-") as folder:
        env = {
            **os.environ,
            "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
            # A linter of its own runs it, with stricter rules.
            "GALAXY_IMPORTER_RUN_ANSIBLE_LINT": "false",
        }
        build = ["ansible-galaxy", "collection", "build", "--output-path", folder]
        subprocess.run(build, env=env, stdout=subprocess.DEVNULL, check=True)
        argv = [str(programs / "python"), "-m", "galaxy_importer.main", *map(str, Path(folder).glob("*.tar.gz"))]
        # It leaves a file with its result in the folder where it runs.
        answer = subprocess.run(
            argv, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    complaints = [line for line in answer.stdout.splitlines() if line.startswith(("WARNING", "ERROR"))]
    passed = answer.returncode == 0 and not complaints and "processing completed successfully" in answer.stdout
    print(answer.stdout)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
