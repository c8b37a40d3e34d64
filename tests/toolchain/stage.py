# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The staged copy for the linters, and what ansible-test needs to work from package registries alone.

The checkout is flat, but the tools want ansible_collections/NAMESPACE/NAME, and ansible-test resolves links and leaves
out what git ignores. So the copy is a small repository of its own; changes in the checkout do not disturb a run.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path

from locations import COLLECTION, HERE, ROOT, VERSIONS, ToolError, tools_dir

# ansible-core 2.19 supports these on the hosts it manages.
TARGET_PYTHONS = [f"3.{minor}" for minor in range(8, 14)]


def tracked_files() -> list[Path]:
    """The files of the checkout that git does not ignore, committed or not, relative to it."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise ToolError(f"lint needs a git checkout; git says: {answer.stderr.strip()}")
    files = {Path(name) for name in answer.stdout.split("\0") if name}
    return sorted(name for name in files if (ROOT / name).is_file() or (ROOT / name).is_symlink())


def copy_root(name: str = "copy") -> Path:
    """Make a fresh copy of the checkout; returns the collections path that holds it."""
    root = tools_dir() / "stage" / name
    shutil.rmtree(root, ignore_errors=True)
    target = root / COLLECTION
    for file in tracked_files():
        place = target / file
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, place, follow_symlinks=False)
    subprocess.run(["git", "init", "--quiet", str(target)], check=True)
    return root


def lint_home(python: Path) -> Path:
    """Make the HOME under which ansible-test runs: pip's bootstrap and the caller's pip settings, nothing else.

    ansible-test lets no PIP_ variable through to its environments, so those become a file.
    """
    home = tools_dir() / "lint-home"
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    version = VERSIONS["pypi"]["pip"].partition("==")[2]
    shutil.copyfile(HERE / "get_pip_stub.py", cache / f"get_pip_{version.replace('.', '_')}.py")
    for wheel in (tools_dir() / "pip").glob("pip-*.whl"):
        shutil.copyfile(wheel, cache / wheel.name)
    listing = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    # Most of what is installed is never imported; Python compiles the rest when it is.
    options = {"quiet": "1", "no-compile": "true"}
    for line in listing.stdout.splitlines():
        match = re.fullmatch(r"(?:global|install|:env:)\.([a-z-]+)=('.*'|\".*\")", line)
        if match and match[1] not in {"config-file", "require-virtualenv", "user", "target", "prefix"}:
            # pip lists files first and the environment last, which wins.
            options[match[1]] = "\n    ".join(str(ast.literal_eval(match[2])).split())
    settings = home / ".config" / "pip" / "pip.conf"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.touch(mode=0o600)
    lines = [f"{name} = {value}\n" for name, value in options.items()]
    settings.write_text("".join(["[global]\n", *lines]), encoding="utf-8")
    return home


def target_pythons() -> dict[str, Path]:
    """The Pythons of this machine that managed hosts may have: version and the folder of the real program.

    pyenv's shims are passed over: they answer only for the version that is switched on.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found: dict[str, Path] = {}
    for version in TARGET_PYTHONS:
        folders = [Path(name) for name in os.environ.get("PATH", os.defpath).split(os.pathsep) if name]
        folders = [folder for folder in folders if pyenv / "shims" != folder]
        folders += sorted(pyenv.glob(f"versions/{version}.*/bin"), reverse=True)
        for folder in folders:
            program = folder / f"python{version}"
            if not os.access(program, os.X_OK):
                continue
            # ansible-test makes a virtual environment, so a Python without that module does not count.
            argv = [str(program), "-c", "import venv, ssl"]
            if subprocess.run(argv, capture_output=True, check=False).returncode == 0:
                found[version] = folder
                break
    return found
