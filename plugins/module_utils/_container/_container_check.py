# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a container from being served, each told before anything is changed."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _namespaces
from .._host._files import read_text
from . import _fragment, _placed

if TYPE_CHECKING:
    from ._engine import Container, Mount
    from ._placed import Placed

#: Where the official image keeps its data directory if nothing says otherwise; up to 17, and from 18 on.
_USUAL = ("/var/lib/postgresql/data", "/var/lib/postgresql")
_DATA_DIR = re.compile(r"(?:-D|--pgdata=|(?:-c|--)?data_directory=)(/.+)")
_MEMORY = ("tmpfs", "ramfs")


def refuse_state(container: Container, purpose: str) -> None:
    """Raise WalgError unless the container runs; for a restore, it may also be stopped."""
    if purpose == "restore" and container.stopped:
        return
    container.refuse_not_running()


def refuse_elsewhere(container: Container) -> None:
    """Raise WalgError unless a running container's processes are this machine's, and its users, too."""
    if not container.pid:
        return
    own, its = "/proc/self/ns/mnt", f"/proc/{container.pid}/ns/mnt"
    if not os.path.exists(its) or os.stat(its).st_ino == os.stat(own).st_ino:
        raise WalgError(
            f"The process {container.pid} of the container {container.name} is not on this machine: its engine is one of another machine, "
            "such as Docker Desktop's or a remote context. Run the play on the machine where the engine is.",
            found=container.pid,
        )
    with _namespaces.opened(container.pid):
        pass


def data_dir_of(container: Container, given: str) -> str:
    """Return the server's data directory in the container, "" if nothing tells."""
    words = [*container.command, ""]
    for word, following in zip(words, words[1:]):
        found = _DATA_DIR.fullmatch(word) or (
            _DATA_DIR.fullmatch(f"-D{following}") if word in ("-D", "--pgdata") else None
        )
        if found:
            return given or found.group(1)
    usual = next((one for one in _USUAL if any(mount.destination == one for mount in container.mounts)), "")
    return given or container.data_dir or usual


def refuse_data_place(container: Container, data_dir: str) -> None:
    """Raise WalgError for a data directory that does not outlive its container."""
    if not data_dir:
        return
    mount = container.mount_of(data_dir)
    if mount is None:
        raise WalgError(
            f"The data directory {data_dir} of the container {container.name} is on no volume, so it is gone when the container "
            f"is. Move it to a volume first: mount one at {data_dir}.",
            found=data_dir,
        )
    if mount.kind == "tmpfs" or _file_system(container, data_dir) in _MEMORY:
        raise WalgError(
            f"The data directory {data_dir} of the container {container.name} is in memory (tmpfs at {mount.destination}), so it is gone "
            "when the container stops. Move it to a volume first.",
            found=mount.destination,
        )


def _file_system(container: Container, path: str) -> str:
    """Return the type of the file system that a path of a running container is on: a volume may be made of memory, too."""
    if not container.pid:
        return ""
    best, kind = "", ""
    for line in (read_text(f"/proc/{container.pid}/mountinfo", "replace") or "").splitlines():
        fields, _dash, rest = line.partition(" - ")
        point = fields.split(" ")[4] if fields.count(" ") > 3 else ""
        if point and f"{path}/".startswith(f"{point.rstrip('/')}/") and len(point) >= len(best):
            best, kind = point, rest.split(" ", 1)[0]
    return kind


def refuse_read_only(container: Container) -> None:
    """Raise WalgError for a container in which nothing can be kept for a moment."""
    mount = container.mount_of("/tmp")
    if not container.read_only or (mount is not None and mount.writable):
        return
    raise WalgError(
        f"The root file system of the container {container.name} is read-only, and so is /tmp, where programs keep what they need for a "
        "moment. Give it a /tmp in memory: --tmpfs /tmp, or in its compose file: tmpfs: [/tmp].",
        found="read-only",
    )


def refuse_other_kit(container: Container, placed: Placed, kit_dir: str) -> None:
    """Raise WalgError if a container has the kit of another instance, or has something else in the kit's place."""
    for mount in container.mounts:
        kit = _kit_in(mount, kit_dir)
        if kit and kit != placed.kit:
            other = os.path.basename(os.path.dirname(kit))
            raise WalgError(
                f"The container {container.name} has the kit of the instance {other!r} ({kit}). Set walg_instance: {other}, or take that "
                "mount away.",
                found=kit,
            )
        if mount.destination != placed.kit:
            continue
        if mount.kind != "bind" or os.path.realpath(mount.source) != os.path.realpath(placed.kit):
            raise WalgError(
                f"The container {container.name} has {mount.name or mount.source or mount.kind} at {placed.kit}, where the machine's own "
                f"{placed.kit} should be. Mount that, or choose another walg_kit_dir.",
                found=mount.name or mount.source,
            )
        if not mount.writable:
            raise WalgError(
                f"The container {container.name} has the kit {placed.kit} read-only, but keeps its state there. Mount it writable: without "
                "`ro` or `read_only`.",
                found="read-only",
            )


def _kit_in(mount: Mount, kit_dir: str) -> str:
    """Return the kit that is mounted, in whatever place; "" if it is none."""
    source, above = os.path.realpath(mount.source) if mount.source else "", f"{os.path.realpath(kit_dir)}/"
    name, _slash, rest = source[len(above) :].partition("/")
    return os.path.join(kit_dir, name, rest) if source.startswith(above) and rest == "kit" else ""


def has_kit(container: Container, kit: str) -> bool:
    """Say whether a container has the kit, writable."""
    return any(one.writable for one in container.mounts if _is(one, kit))


def served(container: Container, kit: str) -> bool:
    """Say whether a container has the kit and all that it needs besides."""
    return has_kit(container, kit) and all(
        any(_is(one, path) for one in container.mounts) for path in _fragment.paths(kit)
    )


def _is(mount: Mount, path: str) -> bool:
    """Say whether a mount has a path of the machine at the same path."""
    return (
        mount.kind == "bind" and mount.destination == path and os.path.realpath(mount.source) == os.path.realpath(path)
    )


def refuse_recorded(config_dir: str, instance: str, container: Container) -> None:
    """Raise WalgError if this container is recorded for another instance."""
    names = sorted(os.listdir(config_dir)) if os.path.isdir(config_dir) else []
    for name in names:
        other = name[: -len(_placed.SUFFIX)] if name.endswith(_placed.SUFFIX) else ""
        if not other or other == instance:
            continue
        placed = _placed.parse(read_text(os.path.join(config_dir, name)) or "", os.path.join(config_dir, name))
        if _means(placed, container):
            raise WalgError(
                f"The container {container.name} is that of the instance {other!r} already ({os.path.join(config_dir, name)}). Set "
                f"walg_instance: {other}, or remove that instance first.",
                found=other,
            )


def _means(placed: Placed, container: Container) -> bool:
    if os.path.basename(placed.engine) != container.engine_name:
        return False
    if placed.container:
        return placed.container == container.name
    same = os.path.realpath(placed.project_dir) == os.path.realpath(container.project_dir or "/")
    return same and placed.service == container.compose_service
