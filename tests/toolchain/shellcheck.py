# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shellcheck, on the wrappers as they are installed and on the scripts that are named: ``python shellcheck.py SCRIPT...``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from ansible_collections.mapswipe.walg.plugins.module_utils._job import _wrappers


def main(scripts: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="shellcheck-") as directory:
        for name, text in _wrappers.texts().items():
            path = Path(directory) / name
            path.write_text(text, encoding="utf-8")
            scripts.append(str(path))
        return subprocess.run(["shellcheck", "--norc", "--severity=style", *scripts], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
