# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what WAL-G recorded of base backups is in the storage: every base, every part, sizes, metadata; and WAL without holes.

The number of a part says nothing: WAL-G leaves numbers out (a tar that stayed empty). Which parts there must be, files_metadata.json
says; the pg_control tar is not among them, and without it nothing is restored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._archive import _recoverable
from .._errors import StorageError
from .._postgres import _wal
from .._walg import _backups, _foreign_json, _objects
from .._walg._client import sentinel_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import BinaryIO

    from .._archive._recoverable import Window
    from .._walg._backups import Backup
    from .._walg._client import Walg
    from .._walg._inventory import Inventory
    from .._walg._objects import Object

_KEY = re.compile(rb'"([A-Za-z0-9_]{1,64}\.tar(?:\.[a-z0-9]{1,8})?)":\[')
_AT_ONCE, _OVERLAP = 1 << 20, 100
_CONTROL = re.compile(r"pg_control\.tar(?:\.[a-z0-9]+)?\Z")
_TAR = re.compile(r"[^/]+\.tar(?:\.[a-z0-9]+)?\Z")
_SENTINEL = re.compile(r"(?P<name>base_[A-Za-z0-9_]+)_backup_stop_sentinel\.json\Z")
#: WAL-G counts the bytes while the last uploads are under way: a few may lack.
_TOLERANCE = 64 * 1024


@dataclass
class Books:
    """What comparing found.

    ``damaged``: path -> (base backup, what); ``foreign``: those of them that do not belong there. ``suspects``: base backups whose parts
    are smaller than recorded -> bytes stored. ``parts``: base backup -> names of its parts; None where WAL-G did not record them.
    """

    damaged: dict[str, tuple[str, str]] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    suspects: dict[str, int] = field(default_factory=dict)  # base backup -> bytes that are stored
    parts: dict[str, list[str] | None] = field(default_factory=dict)


def compare(
    walg: Walg, backups: Sequence[Backup], listed: Iterable[Object], known: Mapping[str, list[str] | None]
) -> Books:
    """Compare records with objects. ``known``: parts by base backup that an earlier run has read. Raises StorageError."""
    objects: dict[str, dict[str, int]] = {}
    for one in listed:
        folder, _slash, rest = one.name.strip("/").partition("/")
        objects.setdefault(folder, {})[rest] = one.size
    found = Books()
    for name, base in _recoverable.broken_chains(backups).items():
        found.damaged.setdefault(sentinel_object(base), (name, f"the base backup is missing on which {name} is based"))
    for backup in backups:
        _compare(walg, backup, objects.get(backup.name, {}), known, found)
    # Those of others are read in their turn. On this one it depends whether there is a way to the present, and WAL-G lists it without.
    for newest in _backups.newest_first(one for one in backups if one.finish_time)[:1]:
        path = sentinel_object(newest.name)
        if path not in found.damaged and not _is_record(walg.text(path)):
            found.damaged[path] = (newest.name, "it is no JSON of WAL-G's")
    return found


def _is_record(text: str) -> bool:
    try:
        return isinstance(_foreign_json.parse(text), dict)
    except ValueError:
        return False


def _compare(
    walg: Walg, backup: Backup, there: Mapping[str, int], known: Mapping[str, list[str] | None], found: Books
) -> None:
    place = f"{_objects.BACKUPS}/{backup.name}"
    present = {name.partition("/")[2]: size for name, size in there.items() if name.startswith("tar_partitions/")}
    present = {name: size for name, size in present.items() if "/" not in name}
    for name in present:
        if not _TAR.match(name):
            path = f"{place}/tar_partitions/{name}"
            found.foreign.add(path)
            found.damaged[path] = (
                backup.name,
                "it is no part of a base backup; WAL-G tries to restore it, without end",
            )
    if "metadata.json" not in there:
        found.damaged[f"{place}/metadata.json"] = (backup.name, "it is missing")
    if not any(_CONTROL.match(name) for name in present):
        found.damaged[f"{place}/tar_partitions/pg_control.tar"] = (backup.name, "it is missing")
    names = known[backup.name] if backup.name in known else _recorded(walg, backup, there, found)
    found.parts[backup.name] = names
    for name in names or ():
        if name not in present:
            found.damaged[f"{place}/tar_partitions/{name}"] = (backup.name, "it is missing")
    stored = sum(present.values())
    if backup.compressed_size - stored > _TOLERANCE:
        if names is None:
            what = f"its parts have {stored} bytes, WAL-G recorded {backup.compressed_size}"
            found.damaged[f"{place}/tar_partitions"] = (backup.name, what)
        else:
            found.suspects[backup.name] = stored


def _recorded(walg: Walg, backup: Backup, there: Mapping[str, int], found: Books) -> list[str] | None:
    """Read which parts WAL-G says it made."""
    path = f"{_objects.BACKUPS}/{backup.name}/files_metadata.json"
    if "files_metadata.json" not in there:
        if not walg.sentinel(backup.name).get("FilesMetadataDisabled"):
            found.damaged[path] = (backup.name, "it is missing")
        return None
    keys: set[str] = set()
    tail = [b""]

    def read(stream: BinaryIO) -> None:
        before = b""
        for block in iter(lambda: stream.read(_AT_ONCE), b""):
            keys.update(match[1].decode() for match in _KEY.finditer(before + block))
            before = block[-_OVERLAP:]
        tail[0] = before.strip()

    argv = [walg.binary, "--config", walg.config, "st", "cat", path]
    result = walg.runner.pipe(argv, read, user=walg.user, env=walg.environment, silence=walg.ask_timeout)
    if result.rc != 0 or result.timed_out:
        raise StorageError(
            f"The storage {walg.storage} does not deliver {path}: {result.last_line()} Is it up, and may these credentials read?",
            **result.fields(),
        )
    if not tail[0].endswith(b"}"):
        found.damaged[path] = (backup.name, "it is cut off, or no JSON")
    return sorted(keys) or None


def unreadable(walg: Walg, listed: Iterable[Object]) -> dict[str, tuple[str, str]]:
    """Return the records of base backups that are damaged, path -> (base backup, what): one of them keeps WAL-G from listing any."""
    names = {one.name.strip("/"): one for one in listed}
    found = {}
    for name in names:
        match = _SENTINEL.match(name)
        if match is None:
            continue
        for path in (sentinel_object(match["name"]), f"{_objects.BACKUPS}/{match['name']}/metadata.json"):
            if path.partition("/")[2] not in names:
                found[path] = (match["name"], "it is missing")
                continue
            if not _is_record(walg.text(path)):
                found[path] = (match["name"], "it is no JSON of WAL-G's")
    return found


def gaps(archive: Inventory, found: Sequence[Window]) -> list[dict[str, Any]]:
    """Return the holes in the WAL of each timeline; ``open``: recovery ends there, and no later base backup starts it again."""
    return [
        {
            "timeline": timeline,
            "first": first,
            "last": last,
            "segments": count,
            "open": _open(timeline, last, first, found, archive.segment_size),
        }
        for timeline in sorted(archive.timelines)
        for first, last, count in _recoverable.missing_ranges(timeline, archive)
    ]


def _open(timeline: int, last: str, first: str, found: Sequence[Window], size: int) -> bool:
    ending = [one for one in found if one.missing and first <= one.missing <= last]
    end = (_wal.segment_number(last, size) + 1) * size
    return bool(ending) and not any(one.timeline == timeline and one.first.lsn >= end for one in found)
