# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is installed on the host, and that it runs there without the collection."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._host._waiting import wait_until
from ansible_collections.mapswipe.walg.plugins.module_utils._job import _programs, _usage
from support.inside import work_inside
from support.scripted import Call, Scripted

CHECK = "import sys; sys.exit(sys.version_info < (3, 8))"
INSTALL = """
import os, sys
from ansible_collections.mapswipe.walg.plugins.module_utils._job import _programs
for plan in _programs.plan(sys.argv[1], sys.executable, os.geteuid(), os.getegid()):
    plan.apply()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Installed by a process that has loaded nothing else, as the module has."""
    directory = tmp_path_factory.mktemp("installed") / "it's here"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", INSTALL, str(directory)], check=True, env=env, cwd="/")
    return directory


def job(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed job with nothing of ours in its environment."""
    program, env = str(installed / "walg-job"), {"PATH": "/usr/bin:/bin"}
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, env=env, cwd="/")


def test_the_installed_job_runs_without_the_collection(installed: Path) -> None:
    answer = job(installed, "--help")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "base backup" in answer.stdout


def test_the_installed_job_reads_the_hosts_records(installed: Path, tmp_path: Path) -> None:
    answer = job(installed, "backup", "--config-dir", str(tmp_path))
    assert answer.returncode == 1
    assert answer.stderr == (
        f"walg-job[main]: The instance 'main' is not configured: there is no {tmp_path}/main.env. "
        "Run the role mapswipe.walg.walg (or the module walg_config) first; in a play with --tags, name walg_configure, too.\n"
    )


def test_the_job_leaves_no_bytecode(installed: Path) -> None:
    """Directories that only root may write would differ from run to run, by who ran the job."""
    job(installed, "--help")
    assert list(installed.rglob("__pycache__")) == []


def test_nothing_is_installed_that_the_job_does_not_load(installed: Path) -> None:
    """What installs it, and the modules of check and restore, stay with the play."""
    package = installed / "mapswipe_walg"
    assert [path.parent for path in package.rglob("_main.py")] == [copy / "_job" for copy in package.iterdir()]
    names = relative_names(package)
    assert {"_job/_main.py", "_job/__init__.py", "_backup/_take.py", "_walg/_client.py", "_host/_process.py"} <= names
    folders = {name.partition("/")[0] for name in names}
    assert folders.isdisjoint({"_restore", "_setup", "_install"})
    assert names.isdisjoint({"_job/_programs.py", "_job/_wal_push.py"})
    assert names.isdisjoint({"_archive/_enable.py", "_postgres/_discovery.py", "_instance/_options.py"})


def relative_names(package: Path) -> set[str]:
    return {"/".join(path.parts[-2:]) for path in package.rglob("*.py")}


def test_what_else_the_installing_process_loads_is_not_installed(installed: Path, tmp_path: Path) -> None:
    """The library is the same, and so is its copy's name, whichever module installs it."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    more = "import ansible_collections.mapswipe.walg.plugins.modules.walg_instance\n"
    subprocess.run([sys.executable, "-c", more + INSTALL, str(tmp_path)], check=True, env=env, cwd="/")
    assert relative_names(tmp_path) == relative_names(installed / "mapswipe_walg")
    assert [one.name for one in (tmp_path / "mapswipe_walg").iterdir()] == [
        one.name for one in (installed / "mapswipe_walg").iterdir()
    ]
    loaded = (
        "import sys; from ansible_collections.mapswipe.walg.plugins.module_utils._job import _main, _parts, _usage\n"
        "every = [*map(_parts.of_verb, _usage.VERBS), *map(_parts.loaded, ['_enter', '_web'])]\n"
        "print(*(name for name, one in sys.modules.items() if '.module_utils._' in name and not hasattr(one, '__path__')))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", loaded], check=True, env=env, cwd="/", capture_output=True, text=True
    )
    wanted = {"/".join(name.split(".")[-2:]) + ".py" for name in answer.stdout.split()}
    found = {name for name in relative_names(tmp_path) if not name.endswith("/__init__.py")}
    assert {name.split("/")[-1] for name in found} == {name.split("/")[-1] for name in wanted}


@pytest.mark.parametrize("verb", _usage.VERBS)
def test_what_a_verb_loads_is_installed(installed: Path, verb: str) -> None:
    """The end is the same for each: it is loaded, and then finds that the instance is not configured."""
    more = ["--data-dir", "/", "--file", "0"] if verb == "confirm" else []
    answer = job(installed, verb, "--config-dir", "/nonexistent", *more)
    assert "The instance 'main' is not configured" in answer.stderr


def test_a_check_loads_little(installed: Path) -> None:
    """It comes every few minutes on each host, and what it does not need takes longer to load than its own work does."""
    (copy,) = (one for one in (installed / "mapswipe_walg").iterdir() if one.is_dir())
    program = (
        f"import sys; sys.path.insert(0, {str(copy.parent)!r}); sys.dont_write_bytecode = True\n"
        f"from {copy.name}._job import _main, _parts; _parts.of_verb('check'); print(*sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-I", "-c", program], check=True, capture_output=True, text=True)
    names = {one[len(copy.name) + 1 :] if one.startswith(f"{copy.name}.") else one for one in answer.stdout.split()}
    assert {"_job._verb_check", "_report._facts", "_archive._info"} <= names
    folders = {one.split(".")[0] for one in names}
    assert folders.isdisjoint({"_backup", "urllib.request", "http", "ssl", "email", "html", "concurrent"})
    assert names.isdisjoint({"urllib.request", "_container._session", "_report._page", "_report._status"})


def test_plans_are_ours_and_parents_come_first(tmp_path: Path) -> None:
    plans = _programs.plan(str(tmp_path / "p"), "/usr/bin/python3", 7, 8)
    assert [plan.path for plan in plans[:2]] == [str(tmp_path / "p"), str(tmp_path / "p" / "mapswipe_walg")]
    assert {(plan.uid, plan.gid) for plan in plans} == {(7, 8)}
    modes = {os.path.basename(plan.path): plan.mode for plan in plans}
    assert (modes["wal-push"], modes["wal-fetch"], modes["walg-job"], modes["_main.py"]) == (0o755, 0o755, 0o755, 0o644)
    launcher = plans[-1].content
    assert launcher is not None
    assert launcher.startswith("#!/usr/bin/python3\n")


def test_a_second_install_changes_nothing(tmp_path: Path) -> None:
    plans = _programs.plan(str(tmp_path / "p"), sys.executable, os.geteuid(), os.getegid())
    assert all(plan.differs() for plan in plans)
    for plan in plans:
        plan.apply()
    again = _programs.plan(str(tmp_path / "p"), sys.executable, os.geteuid(), os.getegid())
    assert [plan.path for plan in again if plan.differs()] == []


def test_the_library_is_compiled_for_whoever_runs_the_job(tmp_path: Path) -> None:
    umask = os.umask(0o077)
    try:
        _programs.plan_all(Runner(), str(tmp_path), User.current()).apply()
    finally:
        os.umask(umask)
    sources, compiled = (list(tmp_path.rglob(pattern)) for pattern in ("*.py", "*.pyc"))
    assert len(sources) == len(compiled) > 50
    assert {path.stat().st_mode & 0o777 for path in compiled} == {0o644}
    assert {path.parent.stat().st_mode & 0o777 for path in compiled} == {0o755}
    assert _programs.plan_all(Runner(), str(tmp_path), User.current()).files == []


def test_what_other_versions_left_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_programs, "job_runs", lambda: False)
    plans = _programs.plan(str(tmp_path), "/usr/bin/python3", os.geteuid(), os.getegid())
    assert _programs.stale(str(tmp_path), plans) == []
    package = tmp_path / "mapswipe_walg"
    package.mkdir()
    for name in ("_job.py", "__init__.py", "theirs.py", "_data.txt"):
        (package / name).write_text("")
    for name in ("v0123456789abcdef", "v1", "theirs"):
        (package / name / "_job").mkdir(parents=True)
    left = [str(package / name) for name in ("__init__.py", "_job.py", "v0123456789abcdef")]
    assert _programs.stale(str(tmp_path), plans) == left
    monkeypatch.setattr(_programs, "job_runs", lambda: True)
    assert _programs.stale(str(tmp_path), plans) == []
    for path in left:
        _programs.remove(path)
    assert sorted(path.name for path in package.iterdir()) == ["_data.txt", "theirs", "theirs.py", "v1"]


def test_a_running_job_is_seen(tmp_path: Path) -> None:
    program = tmp_path / "walg-job"
    program.write_text("import time\ntime.sleep(60)\n")
    with subprocess.Popen([sys.executable, str(program)]) as process:
        try:
            assert wait_until(_programs.job_runs, 10)  # its command line is there a moment after its start
        finally:
            process.kill()


def upgraded(number: int) -> str:
    return f"""
import os, sys
from ansible_collections.mapswipe.walg.plugins.module_utils._job import _programs
whole = _programs.library
_programs.library = lambda: {{**whole(), "_version.py": "number = {number}\\n"}}
plans = _programs.plan(sys.argv[1], sys.executable, os.geteuid(), os.getegid())
for plan in plans:
    plan.apply()
for path in _programs.stale(sys.argv[1], plans):
    _programs.remove(path)
"""


def test_a_job_that_starts_during_an_upgrade_runs_one_version_whole(tmp_path: Path) -> None:
    """Jobs start one after another while eight versions are installed, each over the one before."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

    def install(number: int) -> None:
        subprocess.run([sys.executable, "-c", upgraded(number), str(tmp_path)], check=True, env=env, cwd="/")

    install(0)
    answers: list[subprocess.CompletedProcess[str]] = []
    done = threading.Event()

    def start() -> None:
        while not done.is_set():
            answers.append(job(tmp_path, "--help"))

    starters = [threading.Thread(target=start) for _number in range(2)]
    for starter in starters:
        starter.start()
    for number in range(1, 9):
        install(number)
    done.set()
    for starter in starters:
        starter.join()
    assert len(answers) > 8
    assert {(answer.returncode, answer.stderr) for answer in answers} == {(0, "")}

    def only_one() -> bool:
        install(9)
        return len(list((tmp_path / "mapswipe_walg").iterdir())) == 1

    until = time.monotonic() + 120
    while not only_one():  # a job of another test keeps them
        assert time.monotonic() < until


OWNER = User("postgres", 999, 999, "/")


def test_the_python_that_runs_us_is_taken_if_the_owner_can() -> None:
    runner = Scripted(calls=[Call([sys.executable, "-c", CHECK], user="postgres")])
    assert _programs.interpreter(runner, OWNER) == sys.executable


@pytest.mark.parametrize("rc", [1, 126, 127])
def test_else_the_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rc: int) -> None:
    (tmp_path / "python").write_text("")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(os.path, "exists", lambda path: path in (str(tmp_path / "python"), "/usr/bin/python3"))
    calls = [Call([str(tmp_path / "python"), "-c", CHECK], rc=rc), Call(["/usr/bin/python3", "-c", CHECK])]
    runner = Scripted(calls=calls)
    assert _programs.interpreter(runner, OWNER) == "/usr/bin/python3"
    runner.finish()


def test_a_python_closed_to_the_owner_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(Scripted):
        def run(self, argv: Any, **options: Any) -> Any:
            if argv[0] == sys.executable:
                raise WalgError("Cannot start it as postgres: Permission denied")
            return super().run(argv, **options)

    monkeypatch.setattr(sys, "executable", "/private/python")
    monkeypatch.setattr(os.path, "exists", lambda path: path in ("/private/python", "/usr/bin/python3"))
    assert _programs.interpreter(Closed(calls=[Call(["/usr/bin/python3", "-c", CHECK])]), OWNER) == "/usr/bin/python3"


def test_no_python_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "exists", lambda _path: False)
    with pytest.raises(WalgError, match=r"'postgres' can run none of these: .*install one as /usr/bin/python3"):
        _programs.interpreter(Scripted(), OWNER)


def test_in_a_container_there_are_the_wrappers_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its job runs on the machine; there may be no Python in the image, and none is looked for."""
    work_inside(monkeypatch)
    directory = tmp_path / "programs"
    made = _programs.plan_all(Scripted(), str(directory), User.current())
    names = {os.path.basename(path) for path in made.files}
    assert names == {"programs", *_programs._wrappers.texts()}
    assert _programs.JOB not in names
    made.apply()
    assert set(os.listdir(directory)) == set(_programs._wrappers.texts())
    for name, text in _programs._wrappers.texts().items():
        assert ((directory / name).read_text(), (directory / name).stat().st_mode & 0o7777) == (text, 0o755)
    assert _programs.plan_all(Scripted(), str(directory), User.current()).files == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root judges whose a directory is")
def test_wrappers_where_others_can_write(tmp_path: Path) -> None:
    (tmp_path / "programs").mkdir(mode=0o755)
    os.chown(tmp_path / "programs", 1234, 1234)
    with pytest.raises(WalgError, match="walg_program_dir"):
        _programs.wrappers(str(tmp_path / "programs"), 0, 0)
