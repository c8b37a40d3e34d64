# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The re-read of a storage: which objects are due, and reading one of them until it is known whether it is well.

All objects are read in the order of their names, a share each day, so that each is read once within so many days. What a base backup
or the archiver adds behind the cursor is read in the next cycle.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._errors import StorageError, WalgError
from .._host import _tar_check, _times
from .._host._pipes import slow_down
from .._postgres import _wal_check
from .._storage import _answers
from .._walg import _foreign_json, _objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from typing import BinaryIO

    from .._walg._backups import Backup
    from .._walg._client import Walg
    from .._walg._objects import Object
    from .._walg._stored import Look, Reader

PART, RECORD, SEGMENT, HISTORY = "part", "record", "segment", "history"
_PART = re.compile(r"(?P<backup>[^/]+)/tar_partitions/[^/]+\.tar(?:\.[a-z0-9]+)?\Z")
#: What WAL-G records of a base backup; stored as it is.
_RECORD = re.compile(r"(?P<backup>[^/]+?)(?:_backup_stop_sentinel|/metadata|/files_metadata)\.json\Z")
_LARGEST_RECORD = 16 * 1024**2  # bytes that are parsed; of a larger one, only the end is looked at
_HISTORY = re.compile(r"(?P<name>[0-9A-F]{8}\.history)(?:\.[a-z0-9]+)?\Z")
#: No compression makes a segment, a history file or a tar so small.
_LEAST = {SEGMENT: 64, HISTORY: 20, PART: 64, RECORD: 2}
_USUAL_RATIO = 4.0  # of what a part becomes to what is stored, where nothing tells
_PAUSE = 1.0  # seconds before an object is read again
_DAY = 86400.0


@dataclass(frozen=True)
class Stored:
    """An object to read. ``path`` from the prefix on, ``size`` in bytes as stored, ``owner``: its segment, history file or base backup.

    ``becomes``: bytes that it has when decompressed; of a part about.
    """

    path: str
    size: int
    time: float
    kind: str
    owner: str
    becomes: int = 0

    @property
    def too_small(self) -> bool:
        """Whether its size alone says that it can't be whole."""
        return self.size < _LEAST[self.kind]


def wal_objects(listed: Iterable[Object], segment_size: int) -> list[Stored]:
    """Return the segments and history files among the objects of the WAL folder."""
    found = []
    for one in listed:
        name, kind = _objects.segment_of(one.name.strip("/")), SEGMENT
        if not name:
            match = _HISTORY.match(one.name.strip("/"))
            if match is None:
                continue
            name, kind = match["name"], HISTORY
        found.append(_stored(_objects.WAL, one, kind, name, segment_size if kind == SEGMENT else one.size))
    return found


def backup_objects(listed: Iterable[Object], backups: Mapping[str, Backup]) -> list[Stored]:
    """Return the parts and records of base backups (by name) among the objects of their folder."""
    found = []
    for one in listed:
        record = _RECORD.match(one.name.strip("/"))
        if record is not None and record["backup"] in backups:
            found.append(_stored(_objects.BACKUPS, one, RECORD, record["backup"], one.size))
        match = _PART.match(one.name.strip("/"))
        if match is not None and match["backup"] in backups:
            backup = backups[match["backup"]]
            known = backup.uncompressed_size and backup.compressed_size
            ratio = backup.uncompressed_size / backup.compressed_size if known else _USUAL_RATIO
            found.append(_stored(_objects.BACKUPS, one, PART, backup.name, int(one.size * max(1.0, ratio))))
    return found


def _stored(folder: str, one: Object, kind: str, owner: str, becomes: int) -> Stored:
    return Stored(f"{folder}/{one.name.strip('/')}", one.size, one.time, kind, owner, becomes)


@dataclass
class Cycle:
    """One way through all objects. ``cursor``: the last one read; ``everything``: it is to end in this run."""

    started: str
    cursor: str = ""
    objects: int = 0
    bytes: int = 0
    everything: bool = False

    def left(self, every: Iterable[Stored]) -> list[Stored]:
        """Return what it has not read yet, in order."""
        return sorted((one for one in every if one.path > self.cursor), key=lambda one: one.path)

    def owed(self, total: int, days: float, now: datetime) -> float:
        """Return how many bytes of ``total`` should have been read by the end of a run at ``now``, so that ``days`` suffice."""
        if self.everything:
            return float(total)
        passed = max(0.0, (now - _times.moment(self.started)).total_seconds() / _DAY)
        return total * min(1.0, (passed + 1.0) / days)

    def due(self, every: Sequence[Stored], days: float, now: datetime) -> list[Stored]:
        """Return what a run at ``now`` should read: the share since the last one, and what was missed."""
        left = self.left(every)
        done = self.bytes
        owed = self.owed(done + sum(one.size for one in left), days, now)
        if self.everything:
            return left
        found = []
        for one in left:
            if done >= owed:
                break
            found.append(one)
            done += one.size
        return found

    def passed(self, one: Stored) -> None:
        """Move the cursor."""
        self.cursor, self.objects, self.bytes = one.path, self.objects + 1, self.bytes + one.size


@dataclass
class Finding:
    """What is wrong with an object. ``sure``: it came through whole, and its content is damaged; else the storage did not deliver it."""

    what: str
    sure: bool


@dataclass
class Eyes:
    """Reads objects and says what is wrong with them. ``every``: all of them; ``rate``: bytes a second of the storage, 0: no limit."""

    reader: Reader
    system_identifier: str
    segment_size: int
    every: Sequence[Stored] = ()
    rate: int = 0
    between: Callable[[], None] | None = None
    bytes: int = 0
    well: int = 0  # objects that could be decrypted and decompressed

    def look(self, one: Stored) -> Finding | None:
        """Read an object, and again if it is not well. Raises StorageError if the storage answers nothing or forbids, WalgError if nothing
        can be read here."""
        first = self._attempt(one)
        if not first.trouble:
            self.well += one.kind != RECORD
            return None
        self._refuse_if_storage(one, first)
        time.sleep(_PAUSE)
        second = self._attempt(one)
        if not second.trouble:
            self.well += one.kind != RECORD
            return None
        self._refuse_if_storage(one, second)
        if second.locked_out and not self.well:
            self._refuse_if_all_are(one, second)
        if second.result.timed_out:
            return Finding(second.trouble, sure=False)  # a third wait would end as the two before
        count, result = self.reader.transferred(one.path, float(self.rate))
        self.bytes += count
        if count == one.size and result.rc == 0:
            return Finding(second.trouble, sure=True)
        self._refuse_if_storage(one, replace(second, trouble="raw", result=result))
        said = self.reader.failure(one.path, result).msg if result.rc else f"{count} of {one.size} bytes came"
        return Finding(said, sure=False)

    def silent(self, one: Stored, found: Finding) -> StorageError:
        """Return the error when one object after the other is not delivered."""
        return StorageError(
            f"The storage {self.reader.walg.storage} lists its objects, but does not deliver them, {one.path} for instance: {found.what}"
        )

    def _attempt(self, one: Stored) -> Look:
        began = time.monotonic()
        ratio = max(1.0, one.becomes / max(one.size, 1))
        if one.kind == RECORD:
            found = self.reader.look_as_stored(one.path, _record_trouble, float(self.rate))
        else:
            found = self.reader.look(one.path, one.size, self._judge(one), self.rate * ratio, one.becomes)
        self.bytes += one.size
        if self.rate:
            slow_down(began, one.size / self.rate, self.between)
        return found

    def _judge(self, one: Stored) -> Callable[[BinaryIO], str]:
        if one.kind == PART:
            return _tar_check.trouble
        if one.kind == HISTORY:
            return lambda stream: _wal_check.history_trouble(stream, one.owner)
        return lambda stream: _wal_check.segment_trouble(stream, one.owner, self.system_identifier, self.segment_size)

    def _refuse_if_storage(self, one: Stored, look: Look) -> None:
        self.reader.refuse_silent()
        if _answers.forbidden(look.result.stderr):
            raise self.reader.failure(one.path, look.result)

    def _refuse_if_all_are(self, one: Stored, look: Look) -> None:
        """Damage of one object is no reason to doubt the key: another one must open."""
        others = [other for other in self.every if other.path != one.path and other.kind != RECORD][:1]
        if all(self._attempt(other).locked_out for other in others):
            raise WalgError(
                f"This WAL-G can't open what is in {self.reader.walg.storage}: {look.trouble}. Is it the key with which the archive was "
                "encrypted, and was this WAL-G built with its compression? A restore on this host would fail in the same way.",
                **look.result.fields(),
            )


def _record_trouble(stream: BinaryIO) -> str:
    data = stream.read(_LARGEST_RECORD)
    end = data
    for block in iter(lambda: stream.read(1 << 20), b""):
        end = end[-1:] + block
    if end is data:
        try:
            right = isinstance(_foreign_json.parse(data.decode("utf-8")), dict)
        except ValueError:
            right = False
    else:
        right = end.strip().endswith(b"}")
    return "" if right else "it is no JSON of WAL-G's, or cut off"


def changed(walg: Walg, read: Iterable[Stored]) -> set[str]:
    """Return which of these the storage does not list any more as it did when they were read."""
    before = {one.path: (one.size, one.time) for one in read}
    folders = sorted({path.partition("/")[0] for path in before})
    listed = ((f"{folder}/{one.name.strip('/')}", one) for folder in folders for one in walg.objects(folder))
    now = {path: (one.size, one.time) for path, one in listed}
    return {path for path, told in before.items() if now.get(path) != told}


def cycle_from(told: Any) -> Cycle | None:
    """Return the cycle that a state file holds, None if there is none or it is damaged."""
    try:
        found = Cycle(**told)
        _times.moment(found.started)
        return replace(found, objects=int(found.objects), bytes=int(found.bytes), cursor=str(found.cursor))
    except (TypeError, ValueError, WalgError):
        return None
