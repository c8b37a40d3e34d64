# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is installed on the managed host: this library as a package, the job's launcher, the wrappers. Private.

The files come out of the module's own payload, so the job on the host is the very code that the modules run.
"""

from __future__ import annotations

import inspect
import os
import sys
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _trust
from .._host._files import FilePlan, read_text
from . import _main

if TYPE_CHECKING:
    from .._host._process import Runner
    from .._host._users import User

PACKAGE = "mapswipe_walg"
_LAUNCHER = """#!{python}
# Managed by the Ansible collection mapswipe.walg.
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, {directory!r})
from {package}._job import main

sys.exit(main())
"""


def library() -> dict[str, str]:
    """Return the job's library: file name -> text, for every module that the job imports."""
    root = _main.__name__.rpartition(".")[0]
    found = {"__init__.py": ""}
    for name in sorted(sys.modules):
        if name.startswith(root + "._"):
            source = inspect.getsource(sys.modules[name])
            found[name[len(root) + 1 :] + ".py"] = source
    return found


def interpreter(runner: Runner, user: User) -> str:
    """Return a Python that ``user`` can run: the one that runs us, else the system's. Raises WalgError.

    Installed by root, the programs are started by one that is root's, too.
    """
    candidates = [sys.executable, "/usr/bin/python3", "/usr/local/bin/python3", "/usr/libexec/platform-python"]
    for candidate in candidates:
        if not candidate or not os.path.exists(candidate) or _trust.is_loose(candidate):
            continue
        try:
            answer = runner.run([candidate, "-c", "import sys; sys.exit(sys.version_info < (3, 8))"], user=user)
        except WalgError:
            continue  # closed to that user
        if answer.rc == 0:
            return candidate
    raise WalgError(
        f"The user {user.name!r} can run none of these: {', '.join(candidates)}. The job needs a Python from 3.8 on that this "
        "user can start: install one as /usr/bin/python3."
    )


def plan(directory: str, python: str, wrappers: dict[str, str], uid: int, gid: int) -> list[FilePlan]:
    """Return the files and directories of the program directory, parents first."""
    package = os.path.join(directory, PACKAGE)
    _trust.refuse_loose(package, "walg_program_dir")
    launcher = _LAUNCHER.format(python=python, directory=directory, package=PACKAGE)
    plans = [FilePlan(directory, None, 0o755, uid, gid, keep=True), FilePlan(package, None, 0o755, uid, gid)]
    plans += [FilePlan(os.path.join(package, name), text, 0o644, uid, gid) for name, text in library().items()]
    plans += [FilePlan(os.path.join(directory, name), text, 0o755, uid, gid) for name, text in sorted(wrappers.items())]
    return [*plans, FilePlan(os.path.join(directory, "walg-job"), launcher, 0o755, uid, gid)]


def stale(directory: str, plans: list[FilePlan]) -> list[str]:
    """Return files of ours in the package that this version no longer has."""
    package = os.path.join(directory, PACKAGE)
    wanted = {plan.path for plan in plans}
    try:
        names = os.listdir(package)
    except FileNotFoundError:
        return []
    paths = [os.path.join(package, name) for name in names if name.startswith("_") and name.endswith(".py")]
    return sorted(path for path in paths if path not in wanted and read_text(path) is not None)
