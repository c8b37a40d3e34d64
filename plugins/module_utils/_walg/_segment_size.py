# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How large a cluster's segments are (initdb --wal-segsize). WAL-G does not find out by itself; it is told.

Who knows, in this order: the cluster's control file, its base backups, the setting of WAL-G.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host._files import read_text
from .._host._users import call_as
from .._postgres import _data_dir, _wal
from .._postgres._control import MIB, is_segment_size
from . import _backups

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._instance._record import Instance
    from ._backups import Backup

#: WAL-G's setting, in MiB.
SETTING = "WALG_PG_WAL_SIZE"
_POSSIBLE = tuple(MIB << power for power in range(11))
_NAME = re.compile(r"^base_[0-9A-F]{8}([0-9A-F]{8})([0-9A-F]{8})(?:_|$)")


def of_cluster(instance: Instance) -> int:
    """Return what the data directory says in bytes, whether a server runs on it or not; 0 if it can't tell, or is another cluster's."""
    found = _data_dir.inspect(instance.cluster.data_dir, instance.owner)
    wanted = instance.cluster.system_identifier
    return found.segment_size if wanted in ("", found.system_identifier) else 0


def of_backups(backups: Iterable[Backup]) -> int:
    """Return what the base backups of one cluster say in bytes; 0 if they can't tell.

    Our own record it. Of others, the name holds the number of the segment in which the backup's first LSN lies: that leaves
    one size, or, for the first segment of each 4 GiB, several.
    """
    possible = set(_POSSIBLE)
    for backup in backups:
        recorded = _backups.recorded(backup).get("segment_size")
        if isinstance(recorded, int) and is_segment_size(recorded):
            return recorded
        possible &= set(_sizes(backup)) or possible
    return possible.pop() if len(possible) == 1 else 0


def _sizes(backup: Backup) -> list[int]:
    match = _NAME.match(backup.name)
    if not match or int(match.group(1), 16) != backup.start_lsn >> 32:
        return []
    return [size for size in _POSSIBLE if (backup.start_lsn & 0xFFFFFFFF) // size == int(match.group(2), 16)]


def of_settings(settings: Mapping[str, object]) -> int:
    """Return the setting in bytes, WAL-G's default where it is not given. Raises WalgError for what is no such size."""
    text = str(settings.get(SETTING, _wal.DEFAULT_SEGMENT_SIZE // MIB))
    size = int(text) * MIB if re.match(r"^[0-9]{1,4}\Z", text) else 0
    if not is_segment_size(size):
        raise WalgError(
            f"{SETTING} in walg_settings is {text!r}; expected MiB, a power of two from 1 to 1024. Leave it out: the cluster knows.",
            found=text,
        )
    return size


def of(instance: Instance, listed: Iterable[Backup]) -> int:
    """Return the size in bytes for an archive with these base backups: the cluster knows it, or they do, or what WAL-G was told."""
    own = instance.cluster.system_identifier
    known = of_cluster(instance) or of_backups(one for one in listed if own in ("", one.system_identifier))
    return known or _told(instance)


def _told(instance: Instance) -> int:
    text = call_as(instance.owner, read_text, instance.settings_file)
    if text is None:
        raise WalgError(f"{instance.settings_file} is missing: run the role mapswipe.walg.walg.")
    try:
        return of_settings(dict(json.loads(text)))
    except (ValueError, TypeError) as exc:
        raise WalgError(f"{instance.settings_file} is damaged ({exc}): run the role mapswipe.walg.walg.") from exc


def refuse_other(settings: Mapping[str, object], known: int, source: str) -> None:
    """Raise WalgError if a size is set that is not the one that ``source`` says."""
    if SETTING in settings and known and of_settings(settings) != known:
        raise WalgError(
            f"{SETTING} in walg_settings is {settings[SETTING]} MiB, but {source} has segments of {known // MIB} MiB. Leave the setting "
            "out: it is taken from the cluster.",
            found=settings[SETTING],
            wanted=known // MIB,
        )


def patience(size: int) -> int:
    """Return how many times longer one segment of so many bytes may take than those of up to 64 MiB, for which time-outs are made."""
    return max(1, size // (64 * MIB))


def setting(size: int) -> dict[str, str]:
    """Return what WAL-G must be told about a size in bytes; nothing if it is unknown, or WAL-G's default."""
    return {SETTING: str(size // MIB)} if size not in (0, _wal.DEFAULT_SEGMENT_SIZE) else {}
