# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as users get it: built and installed as the README says, with what it needs and nothing else in it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.sandbox import CHECKOUT, Sandbox

# What may lie at the top of the artefact, and which folders hold everything below them.
TOP = {
    *("CHANGELOG.md", "CONTRIBUTING.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md"),
    *("changelogs", "docs", "examples", "files", "meta", "playbooks", "plugins", "roles"),
}


def environment(sandbox: Sandbox, place: Path) -> dict[str, str]:
    """As on a machine where the checkout is not known to Ansible."""
    own = {"ANSIBLE_COLLECTIONS_PATH": str(place), "PYTHONPATH": str(place)}
    return {**sandbox.environment(sandbox.control / "none"), **own}


def galaxy(sandbox: Sandbox, place: Path, *arguments: str) -> None:
    """Run ansible-galaxy collection in the checkout."""
    argv = [sandbox.python, "-m", "ansible", "galaxy", "collection", *arguments]
    env = environment(sandbox, place)
    done = subprocess.run(argv, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def artefact(sandbox: Sandbox) -> Path:
    galaxy(sandbox, sandbox.root / "installed", "build", "--output-path", str(sandbox.control / "built"))
    return next((sandbox.control / "built").glob("mapswipe-walg-*.tar.gz"))


@pytest.fixture(scope="module")
def installed(sandbox: Sandbox, artefact: Path) -> Path:
    """A fresh collections path with nothing else in it."""
    place = sandbox.root / "installed"
    galaxy(sandbox, place, "install", str(artefact), "--offline", "-p", str(place))
    return place


def test_it_holds_what_is_needed_and_nothing_else(artefact: Path) -> None:
    with tarfile.open(artefact) as archive:
        names = [name for name in archive.getnames() if name]
    assert {name.split("/")[0] for name in names} == TOP
    shown = [
        name for name in names if not name.endswith("/.env.example")
    ]  # the name that it has in a project of Compose
    assert [name for name in shown if "/__pycache__" in name or "/." in name or name.endswith((".pyc", ".orig"))] == []
    for folder in ("plugins", "roles", "playbooks", "meta", "examples", "docs", "files"):
        wanted = {
            path.relative_to(CHECKOUT).as_posix()
            for path in (CHECKOUT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        with tarfile.open(artefact) as archive:
            found = {each.name for each in archive if each.isfile() and each.name.split("/")[0] == folder}
        assert found == wanted, folder


def test_a_release_writes_the_changelog_from_the_fragments(sandbox: Sandbox, tools: dict[str, Any]) -> None:
    """As CONTRIBUTING tells, in a copy: every fragment is in it and gone, and the tool's cache is not shipped."""
    place = sandbox.control / "release"
    place.mkdir()
    for name in ("changelogs", "meta", "plugins", "roles"):
        shutil.copytree(CHECKOUT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("galaxy.yml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, place / name)
    fragments = [yaml.safe_load(path.read_text()) for path in (place / "changelogs/fragments").iterdir()]
    version = yaml.safe_load((place / "galaxy.yml").read_text())["version"]
    (command,) = re.findall(r"antsibull-changelog (release .*)", (CHECKOUT / "CONTRIBUTING.md").read_text())
    assert command == f"release --version {version}"
    env = {**sandbox.environment(sandbox.control / "none"), "PWD": str(place)}
    galaxy = f"{sandbox.python} -m ansible galaxy collection build"
    done = subprocess.run(
        ["sh", "-ec", f"{tools['venv_bin']}/antsibull-changelog {command} && {galaxy}"],
        cwd=place,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written = yaml.safe_load((place / "changelogs/changelog.yaml").read_text())["releases"][version]["changes"]
    for fragment in fragments:
        for section, told in fragment.items():
            lines = [told] if isinstance(told, str) else told
            assert [line for line in lines if line not in written[section]] == [], section
    assert list((place / "changelogs/fragments").iterdir()) == []
    text = (place / "CHANGELOG.md").read_text()
    assert f"v{version}".replace(".", r"\.") in text
    assert not re.search(r"\b[OVMPCE]\\\(", text), "markup that a changelog does not know"
    with tarfile.open(next(place.glob("*.tar.gz"))) as archive:
        held = {name for name in archive.getnames() if name.startswith("changelogs/")}
    assert held == {"changelogs/changelog.yaml"}


def test_the_installed_one_documents_itself(sandbox: Sandbox, installed: Path) -> None:
    env = environment(sandbox, installed)
    modules = sorted(path.stem for path in (CHECKOUT / "plugins/modules").glob("*.py"))
    roles = sorted(path.name for path in (CHECKOUT / "roles").iterdir() if path.is_dir())
    for kind, names in (("module", modules), ("role", roles)):
        argv = [sandbox.python, "-m", "ansible", "doc", "-t", kind, *(f"mapswipe.walg.{name}" for name in names)]
        done = sandbox.run(argv, env=env)
        assert done.returncode == 0, done.stdout
        for name in names:
            assert f"mapswipe.walg.{name}".upper() in done.stdout.upper()
    assert str(installed) in done.stdout
    assert str(CHECKOUT) not in done.stdout


def test_the_installed_one_plays(sandbox: Sandbox, installed: Path) -> None:
    """In check mode, on a stock server: every module and file of the roles is found where it was installed."""
    cluster = sandbox.cluster("main")
    sandbox.storage("main")
    env = {"ANSIBLE_COLLECTIONS_PATH": str(installed), "PYTHONPATH": str(installed)}
    play = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster), "--check", "--diff", "-vv", env=env)
    assert play.rc == 0, play.stdout
    assert "task path: " + str(installed) in play.stdout
    assert str(CHECKOUT / "roles") not in play.stdout
    assert len(play.changed()) == 5
    assert cluster.sql("SHOW archive_mode") == "off"
