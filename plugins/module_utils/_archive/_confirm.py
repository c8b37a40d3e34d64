# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: may a cluster send a WAL file to an archive? For the push wrapper, which asks it now and then."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._postgres import _data_dir
from .._postgres._wal import timeline_of
from .._walg import _owner_seen
from . import _owner, _ownership, _wal_level

if TYPE_CHECKING:
    from .._instance._record import Instance
    from .._walg._client import Walg

_SEARCH = 5.0  # seconds for a search in WAL, of those that a push may take


def confirm_push(walg: Walg, instance: Instance, data_dir: str, name: str) -> None:
    """Raise WalgError unless the cluster in ``data_dir`` may send the WAL file ``name``. For the push wrapper; writes nothing.

    A new timeline shows first in the name of its history file, which the archiver sends before all others; the control
    file follows with the next checkpoint.
    """
    found = _data_dir.inspect(data_dir, walg.user)
    if found.kind != "cluster":
        raise WalgError(f"{data_dir} is not a data directory, and it is there that PostgreSQL calls archive_command.")
    owner, place = _ownership.find(walg)
    if owner is None:
        raise WalgError(
            f"The storage {walg.storage} does not say whose archive it is: it has no {_owner.OBJECT}. Run the role "
            "mapswipe.walg.walg_backup, which writes it."
        )
    known = instance.cluster.system_identifier
    if known and known != found.system_identifier:
        raise WalgError(
            f"{data_dir} has system identifier {found.system_identifier}, but the instance {instance.name} is of {known}."
        )
    _owner.refuse_other_cluster(owner, found.system_identifier, walg.storage)
    _owner_seen.note(
        instance.state_dir, _ownership.marker_path(walg, place or {}), walg.storage, found.system_identifier
    )
    if found.standby:
        return  # it archives what its primary wrote (archive_mode=always)
    timeline = found.timeline
    with contextlib.suppress(WalgError):
        timeline = max(timeline, timeline_of(name))
    _owner.refuse_foreign(owner, found.system_identifier, _ownership.writer_on(data_dir), timeline, walg.storage)
    _wal_level.minimal_segments(instance.state_dir, data_dir, found.system_identifier, _SEARCH)
