# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What looks at the report's page and at the rules as users do: Debian's Chromium and promtool, unpacked among our tools.

Neither is installed: libraries that the machine lacks come beside the browser. Both are of the machine's own Debian or Ubuntu, so a
browser is as new as its security updates. `make tools` fetches them; where they can't be had it says so, and asks again after a day.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import debian_packages
from locations import VERSIONS, ToolError, tools_dir
from parts import Part, run
from released import DAY

_RECIPES = VERSIONS["lookers"]
NAMES = tuple(_RECIPES)
_INST = re.compile(r"^Inst (\S+) (?:\[\S+\] )?\((\S+)", re.MULTILINE)


def find(name: str) -> Path:
    """Return the program's path. Raises ToolError with why `make tools` has not got it."""
    found = shutil.which(name)
    if found:
        return Path(found)
    part = _part(name)
    if not part.current():
        raise ToolError(_noted(name).get("why") or "run make tools")
    return part.outputs[0]


def due(name: str) -> bool:
    """Is the program to be fetched? Not if it is there, or if it was not to be had today."""
    if shutil.which(name) or _part(name).current():
        return False
    note = _noted(name)
    return os.environ.get("RETRY", "") not in ("", "0") or not 0 <= time.time() - float(note.get("at", 0)) < DAY


def obtain(name: str) -> bool:
    """Fetch the program where that may be, and note why not elsewhere; say whether it is there."""
    note = _note(name)
    note.unlink(missing_ok=True)
    try:
        _part(name).make()
    except (ToolError, OSError) as error:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"why": str(error), "at": time.time()}), encoding="utf-8")
        return False
    return True


def missing() -> list[str]:
    """Return a line for each program that is not there, with what that costs."""
    lines = []
    for name in NAMES:
        try:
            find(name)
        except ToolError as error:
            first, *more = str(error).splitlines()
            why = f"{first} {more[-1].strip()}" if more else first
            lines.append(
                f"{name} is missing, so tests of {_RECIPES[name]['tests']} are skipped: {why} (make tools RETRY=1 tries again)"
            )
    return lines


def _note(name: str) -> Path:
    return tools_dir() / "lookers" / f"{name}.json"


def _noted(name: str) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(_note(name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told


def _part(name: str) -> Part:
    recipe, folder = _RECIPES[name], tools_dir() / "lookers" / name
    program = folder / name

    def install() -> None:
        lacking = debian_packages.lacking()
        if lacking:
            raise ToolError(f"{name} comes from Debian's packages, which need {' and '.join(lacking)}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"fetch.{name}.") as scratch:
            root = _fetched(name, Path(scratch))
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            root.replace(folder / "root")
        _link(program, folder / "root", recipe["program"])
        run(name, [program, "--version"])

    return Part(f"looker-{name}", [str(recipe), str(folder), "1"], [program], install)


def _fetched(name: str, scratch: Path) -> Path:
    """Download a program, and where its recipe asks for them the libraries that the machine lacks; return the folder."""
    recipe, apt = _RECIPES[name], debian_packages.Apt(name, scratch)
    trouble = None
    try:
        apt.update()
    except ToolError as error:  # perhaps a foreign source only, which is not needed
        trouble = error
    packages = list(recipe["packages"])
    if recipe["libraries"]:
        shown = apt.simulated(packages)
        if shown.returncode:
            raise trouble or ToolError(shown.stderr.strip())
        packages = [f"{package}={version}" for package, version in _INST.findall(shown.stdout)]
    root = apt.unpacked(packages)
    root.chmod(0o755)
    return root


def _link(program: Path, root: Path, inside: str) -> None:
    """Make a way to call it with its own libraries and fonts."""
    folders = [path for path in sorted(root.glob("**/*-linux-gnu")) if path.parent.name == "lib"]
    inner = {
        path.parent for folder in folders for path in folder.glob("*/*.so*")
    }  # what finds them by rpath when installed
    libraries = ":".join(str(path) for path in [*folders, *sorted(inner)])
    fonts = root.parent / "fonts.conf"
    places = "".join(f"<dir>{place}</dir>" for place in (root / "usr/share/fonts", "/usr/share/fonts"))
    fonts.write_text(f"<fontconfig>{places}<cachedir>{root.parent}/fonts</cachedir></fontconfig>\n", encoding="utf-8")
    lines = [
        "#!/bin/sh",
        f"export LD_LIBRARY_PATH={shlex.quote(libraries)} FONTCONFIG_FILE={shlex.quote(str(fonts))}",
        f'exec {shlex.quote(str(root / inside))} "$@"',
    ]
    program.write_text("\n".join(lines) + "\n", encoding="utf-8")
    program.chmod(0o755)
