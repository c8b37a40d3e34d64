# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: which steps of a play would find that all is as wanted. They need no module of their own then. Private.

It looks by the steps' own plans, changes nothing and uses no network. What can't be told is left to the step, and so is
what the step would refuse.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._install import _binary, _installed, _prune, _release, _workshop
from . import _config, _storage_check

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._host._process import Runner
    from .._host._users import User

BINARY, SETTINGS, STORAGE = "binary", "settings", "storage"


def look(
    runner: Runner, params: Mapping[str, Any], cluster: Mapping[str, Any], directories: Mapping[str, str]
) -> dict[str, Any]:
    """Return ``settled``, the names of such steps, and ``record``, the instance's, if its settings are.

    ``params``: the options of walg_instance_info; ``wanted`` among them holds those of the later modules.
    """
    wanted = params["wanted"]
    version = str(params["version"])
    path = wanted["binary"] or os.path.join(directories["bin_dir"], f"wal-g-{version}")
    settled, record = [], ""
    try:
        user = _workshop.starter(str(cluster.get("os_user") or ""))
        if _binary_at_hand(runner, wanted, version, path, directories["config_dir"], params["instance"], user):
            settled.append(BINARY)
    except WalgError:
        pass
    names = ("instance", "storage", "settings", "secrets", "google_credentials")
    options = {name: params[name] for name in names}
    try:
        made = _config.plan({**options, **wanted, "binary": path, "cluster": cluster, "directories": directories})
    except WalgError:
        return {"settled": settled, "record": record}
    if not made.changed and made.candidate.segment_size:  # of a cluster that is lost, the archive has to be asked
        settled.append(SETTINGS)
        record = made.record
        question = _storage_check.Question(wanted["access"], 0, True)
        if _storage_check.known(made.candidate, question):
            settled.append(STORAGE)
    return {"settled": settled, "record": record}


def _binary_at_hand(
    runner: Runner,
    wanted: Mapping[str, Any],
    version: str,
    path: str,
    config_dir: str,
    instance: str,
    user: User | None,
) -> bool:
    """Say whether WAL-G stands at ``path`` as wanted, with nothing to remove beside it."""
    if not wanted["managed"]:
        return not _binary.unmanaged(runner, path, version, user).changed
    checksum = wanted["checksum"] or ""
    if wanted["src"]:
        made = _binary.standing(wanted["src"], _binary.parse_checksum(checksum), path, version)
    else:
        mirror = wanted["mirror"]
        release = _release.choose(version, mirror, checksum, os.uname().machine, _binary.host_glibc())
        made = _release.standing(release, path)
    if made.changed or not made.wanted or os.path.lexists(_installed.staged_path(path)):
        return False
    _binary.in_place(runner, made, user)
    if _binary.enrol(made, _installed.load(os.path.dirname(path)), config_dir):
        return False
    pruned = _prune.plan(path, wanted["keep"], config_dir, instance)
    return not pruned.changed and not pruned.unreadable
