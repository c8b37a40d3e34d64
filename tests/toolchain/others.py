# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backup tools of Debian that the benchmark sets beside WAL-G: unpacked among our tools, never installed into the system.

Their versions are recorded; programs and libraries that they need and the machine lacks come in the version that its apt knows.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tempfile
from pathlib import Path

import debian_packages
from locations import VERSIONS, ToolError, tools_dir
from parts import Part, run

_OTHERS = VERSIONS["others"]
NAMES = tuple(_OTHERS)
_PYTHON = "/usr/bin/python3"  # Debian's own, which its packages of Python are made for
_INST = re.compile(r"^Inst (\S+) (?:\[\S+\] )?\((\S+)", re.MULTILINE)


def version(name: str) -> str:
    """Return a tool's own version, without Debian's revision."""
    return str(_OTHERS[name]["version"]).rpartition("-")[0]


def ensure(name: str) -> Path:
    """Unpack a tool if it is not there yet; return its folder: bin/NAME to call, root with Debian's files.

    Raises ToolError with what is missing or what apt said.
    """
    part = _part(name)
    if not part.current():
        part.make()
    return tools_dir() / "others" / name


def _part(name: str) -> Part:
    folder = tools_dir() / "others" / name
    program = folder / "bin" / name.lower()

    def install() -> None:
        lacking = debian_packages.lacking()
        if lacking:
            raise ToolError(f"it comes from Debian's packages, which need {' and '.join(lacking)}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"fetch.{name}.") as scratch:
            _fetch(name, Path(scratch))
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (Path(scratch) / "root").replace(folder / "root")
        _link(name, program, folder / "root")
        run(f"others-{name}", [program, _OTHERS[name]["proof"]])

    return Part(f"others-{name}", [json.dumps(_OTHERS[name]), str(folder), "1"], [program], install)


def _fetch(name: str, scratch: Path) -> None:
    """Download a tool and what it needs, and unpack all of it into scratch/root."""
    apt = debian_packages.Apt(f"others-{name}", scratch)
    trouble = None
    try:
        apt.update()
    except ToolError as error:  # perhaps a foreign source only, which is not needed
        trouble = error
    kept = [f"{package}={_OTHERS[name]['version']}" for package in _OTHERS[name]["packages"]]
    shown = apt.simulated([*kept, *_OTHERS[name]["helpers"]])
    if shown.returncode:
        raise trouble or ToolError(shown.stderr.strip())
    wanted = [f"{package}={version}" for package, version in _INST.findall(shown.stdout)]
    apt.unpacked(wanted).chmod(0o755)


def _link(name: str, program: Path, root: Path) -> None:
    """Make a way to call the tool with its own libraries; its Python is compiled, as the package does it when installed."""
    modules = root / "usr/lib/python3/dist-packages"
    if modules.is_dir():
        run(f"others-{name}", [_PYTHON, "-m", "compileall", "-q", modules])
    libraries = ":".join(str(path) for path in sorted(root.glob("**/*-linux-gnu")) if path.parent.name == "lib")
    lines = [
        "#!/bin/sh",
        f"export LD_LIBRARY_PATH={shlex.quote(libraries)} PYTHONPATH={shlex.quote(str(modules))}",
        f'export PATH={shlex.quote(str(root / "usr/bin"))}:"$PATH"',
        f'exec {shlex.quote(str(root / "usr/bin" / program.name))} "$@"',
    ]
    program.parent.mkdir(exist_ok=True)
    program.write_text("\n".join(lines) + "\n", encoding="utf-8")
    program.chmod(0o755)
