# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fragment: a compose file of the machine's that mounts the kit into one service, and gives its server the time to stop.

JSON is YAML, and the user's own file is never touched.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _trust
from .._host._facts import MACHINE_ID
from .._host._files import read_text
from .._host._users import call_as

if TYPE_CHECKING:
    from ._project import Project

#: What neither Compose nor the engine nor a shell reads as anything else.
_PLAIN = re.compile("/[A-Za-z0-9/._+@=-]*")
_SELINUX = "/sys/fs/selinux/enforce"
_VERSION = re.compile(r"""(?m)^version:[ \t]*["']?([0-9]+(?:\.[0-9]+)?)["']?[ \t]*(?:#.*)?$""")


def refuse_odd(kit_dir: str) -> None:
    """Raise WalgError for a directory whose name Compose or the engine would read as something else."""
    _trust.refuse_unplain(kit_dir, "walg_kit_dir")
    if not _PLAIN.fullmatch(kit_dir):
        raise WalgError(
            f"walg_kit_dir is {kit_dir}. Its path is mounted, so it may hold ASCII letters, digits and . _ + @ = - only.",
            found=kit_dir,
        )


def paths(kit: str) -> list[str]:
    """Return what a container needs of the machine, each at the same path: the kit, and the machine's identity where it has one.

    By that the push wrapper in the container knows that it is on the machine that it was installed for.
    """
    return [kit, MACHINE_ID] if os.path.exists(MACHINE_ID) else [kit]


def volumes(kit: str) -> list[str]:
    """Return the mounts, as Compose and the engine take them."""
    modes = {kit: ":z" if os.path.exists(_SELINUX) else "", MACHINE_ID: ":ro"}
    return [f"{path}:{path}{modes[path]}" for path in paths(kit)]


def render(service: str, kit: str, stop_grace: int, version: str) -> str:
    """Return the fragment's text. ``stop_grace``: seconds, 0 to leave it out; ``version``: what an old Compose wants to see, or ""."""
    entry: dict[str, Any] = {"volumes": volumes(kit)}
    if stop_grace:
        entry["stop_grace_period"] = f"{stop_grace}s"
    head = {"version": version} if version else {}
    return json.dumps({**head, "services": {service: entry}}, indent=2) + "\n"


def stops_slowly(text: str | None) -> bool:
    """Say whether a fragment gives the server time to stop."""
    return "stop_grace_period" in (text or "")


def version_of(project: Project) -> str:
    """Return the version that the project's first file names; Compose before 1.27 wants the same in each, and none is known otherwise."""
    text: str = call_as(project.owner, _read, project.path(project.files[0]))
    found = _VERSION.search(text)
    return found.group(1) if found else ""


def _read(path: str) -> str:
    return read_text(path, "replace") or ""
