# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What looks at the report's page and at the rules as users do: Debian's Chromium and promtool, unpacked among our tools.

Neither is installed: libraries that the machine lacks come beside the browser. Both are of the machine's own Debian or Ubuntu, so a
browser is as new as its security updates.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from pathlib import Path

import debian_packages
from locations import VERSIONS, ToolError, tools_dir
from parts import Part, run

_RECIPES = VERSIONS["lookers"]
NAMES = tuple(_RECIPES)
_INST = re.compile(r"^Inst (\S+) (?:\[\S+\] )?\((\S+)", re.MULTILINE)


def ensure(name: str) -> Path:
    """Have the program, and return its path. Raises ToolError with what is missing or what apt said."""
    found = shutil.which(name)
    if found:
        return Path(found)
    part = _part(name)
    if not part.current():
        part.make()
    return part.outputs[0]


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
