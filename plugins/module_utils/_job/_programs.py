# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is installed on the managed host: this library as a package, the job's launcher, the wrappers.

The files come out of the module's own payload, so the job on the host is the very code that the modules run.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _inside, _proc, _trust
from .._host._files import FilePlan, remove_tree
from . import (
    _enter,
    _main,
    _verb_backup,
    _verb_check,
    _verb_confirm,
    _verb_expire,
    _verb_run,
    _verb_verify,
    _views,
    _web,
    _wrappers,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._host._process import Runner
    from .._host._users import User

#: What the job begins with, and the parts that it loads when they are needed (see _parts).
_ROOTS = (
    _main,
    _enter,
    _verb_backup,
    _verb_check,
    _verb_confirm,
    _verb_expire,
    _verb_run,
    _verb_verify,
    _views,
    _web,
)
PACKAGE = "mapswipe_walg"
JOB = "walg-job"
#: The imports that run when a module is loaded, which stand at the line's beginning; those for types do not.
_IMPORT = re.compile(r"^from (\.+)([\w.]*) import (\([^)]*\)|.*)$", re.MULTILINE)
_COPY = re.compile(r"^v[0-9a-f]{16}\Z")
_FLAT = re.compile(r"^_\w+\.py\Z")  # as up to the first release with folders
_COMPILE = "import compileall, os, sys; os.umask(0o022); compileall.compile_dir(sys.argv[1], quiet=2)"
_COMPILE_LIMIT = 60.0
_LAUNCHER = """#!{python}
# Managed by the Ansible collection mapswipe.walg.
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, {directory!r})
from {copy}._job._main import main

sys.exit(main())
"""


def library() -> dict[str, str]:
    """Return the job's library: relative path -> text, for every module that the job imports, and for their packages.

    What else this process has loaded does not belong to it.
    """
    root = _main.__name__.rsplit(".", 2)[0]
    found = {"__init__.py": ""}
    waiting = [one.__name__ for one in _ROOTS]
    while waiting:
        name = waiting.pop()
        path = name[len(root) + 1 :].replace(".", "/") + ".py"
        if path in found or name == root:
            continue
        found[path] = inspect.getsource(sys.modules[name])
        if os.path.dirname(path):
            found[os.path.join(os.path.dirname(path), "__init__.py")] = ""
        waiting += _imported(name, found[path])
    return found


def _imported(name: str, text: str) -> set[str]:
    """Return the modules of the library that one of them imports."""
    found = set()
    for dots, module, names in _IMPORT.findall(text):
        base = ".".join([*name.split(".")[: -len(dots)], *([module] if module else [])])
        parts = [f"{base}.{word}" for word in re.findall(r"\w+", names)]
        found.update([part for part in parts if part in sys.modules] or [base])
    return found


def copy_name(files: Mapping[str, str]) -> str:
    """Return the name of the package that holds these files: each version of the library has its own."""
    digest = hashlib.sha256()
    for path, text in sorted(files.items()):
        digest.update(f"{path}\0{text}\0".encode())
    return f"v{digest.hexdigest()[:16]}"


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


@dataclass(frozen=True)
class Plan:
    """What would be written into the program directory, and what other versions left there.

    ``compiler``: argv that compiles the library for the job's Python; empty where there is no job.
    """

    runner: Runner
    directory: str
    wanted: list[FilePlan]
    written: list[FilePlan]
    left: list[str]
    compiler: list[str]

    @property
    def files(self) -> list[str]:
        """The files that are, or would be, written or removed."""
        return [one.path for one in self.written] + self.left

    def apply(self) -> list[str]:
        """Write and remove; return the files."""
        for one in self.written:
            one.apply()
        if self.written and self.compiler:
            _compile(self.runner, self.compiler)
        left = stale(self.directory, self.wanted)  # a job may have started meanwhile, by the old launcher
        for name in left:
            remove(name)
        return [one.path for one in self.written] + left


def _compile(runner: Runner, argv: list[str]) -> None:
    """Compiling is half of a check's time otherwise. Where it fails, the job is slower and does the same."""
    with contextlib.suppress(WalgError):
        runner.run(argv, timeout=_COMPILE_LIMIT)


def plan_all(runner: Runner, directory: str, user: User) -> Plan:
    """Plan library, launcher and wrappers for a job of ``user``, owned by whoever installs them.

    In a container the wrappers alone: its job runs on the machine.
    """
    me = os.geteuid(), os.getegid()
    compiler: list[str] = []
    if _inside.current() is not None:
        wanted = wrappers(directory, *me)
    else:
        python = interpreter(runner, user)
        wanted = plan(directory, python, *me)
        (copy,) = (one.path for one in wanted if _COPY.match(os.path.basename(one.path)))
        compiler = [python, "-I", "-c", _COMPILE, copy]
    return Plan(runner, directory, wanted, [one for one in wanted if one.differs()], stale(directory, wanted), compiler)


def plan(directory: str, python: str, uid: int, gid: int) -> list[FilePlan]:
    """Return the files and directories of the program directory, parents first and the launcher last.

    The library is in a package of its own for each version, so a job that starts meanwhile runs the old code or the new, whole.
    """
    package = os.path.join(directory, PACKAGE)
    _trust.refuse_loose(package, "walg_program_dir")
    files = library()
    copy = copy_name(files)
    launcher = _LAUNCHER.format(python=python, directory=package, copy=copy)
    folders = sorted({os.path.dirname(path) for path in files} - {""})
    plans = [FilePlan(directory, None, 0o755, uid, gid, keep=True)]
    for folder in (package, os.path.join(package, copy), *(os.path.join(package, copy, one) for one in folders)):
        plans.append(FilePlan(folder, None, 0o755, uid, gid))
    plans += [FilePlan(os.path.join(package, copy, path), text, 0o644, uid, gid) for path, text in files.items()]
    plans += wrappers(directory, uid, gid)[1:]
    return [*plans, FilePlan(os.path.join(directory, JOB), launcher, 0o755, uid, gid)]


def wrappers(directory: str, uid: int, gid: int) -> list[FilePlan]:
    """Return the program directory and the wrappers in it."""
    _trust.refuse_loose(directory, "walg_program_dir")
    folder = FilePlan(directory, None, 0o755, uid, gid, keep=True)
    texts = _wrappers.texts().items()
    return [folder, *(FilePlan(os.path.join(directory, name), text, 0o755, uid, gid) for name, text in texts)]


def stale(directory: str, plans: list[FilePlan]) -> list[str]:
    """Return what other versions left in the package; nothing while a job runs, which may run from there."""
    package = os.path.join(directory, PACKAGE)
    wanted = {plan.path for plan in plans}
    try:
        names = os.listdir(package)
    except FileNotFoundError:
        return []
    paths = [os.path.join(package, name) for name in names if _COPY.match(name) or _FLAT.match(name)]
    left = sorted(path for path in paths if path not in wanted)
    return [] if left and job_runs() else left


def remove(path: str) -> None:
    """Remove what stale() named."""
    if os.path.isdir(path) and not os.path.islink(path):
        remove_tree(path)
    else:
        os.unlink(path)


def job_runs() -> bool:
    """Say whether a job runs on this host, or is about to: its launcher is among the words that a process was called with."""
    return any(
        os.path.basename(word) == JOB
        for pid in _proc.pids()
        if pid != os.getpid()
        for word in _proc.command_line(pid)[:3]
    )
