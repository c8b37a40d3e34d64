# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of an archive and WAL-G has no place for: one JSON object in the storage, beside the marker that says whose it is.

Whoever can write into the storage may have changed it. So it never makes a deletion larger than the storage itself tells: what is damaged
or unknown in it is passed over.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _times
from .._host._files import write_atomic
from .._host._users import call_as
from .._postgres._wal import LAST_TIMELINE, SEGMENT_NAME
from .._walg import _foreign_json
from . import _ownership

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from .._walg._client import Walg
    from ._ownership import StoragePrefix

OBJECT = "mapswipe_walg_notes.json"
_FORMAT = 1
#: Gaps that are kept, the newest; a notes file must not grow without end.
_GAPS = 1000
_LONGEST = 1000  # characters of a path or a reason


@dataclass(frozen=True)
class BackupNote:
    """Of one base backup. ``keep_until``: when a permanent one becomes ordinary (RFC 3339; None: never).

    ``corrupt_blocks``: how many pages with a wrong checksum WAL-G found in it, by file.
    """

    keep_until: str | None = None
    corrupt_blocks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Gap:
    """Segments that were given up and will never come, the first and the last by name."""

    timeline: int
    first: str
    last: str
    reason: str
    time: str


@dataclass(frozen=True)
class Notes:
    """All of them, base backups by name."""

    backups: Mapping[str, BackupNote] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()

    def with_backup(self, name: str, note: BackupNote) -> Notes:
        """Return the notes with one of a base backup; an empty one goes."""
        others = {key: value for key, value in self.backups.items() if key != name}
        return replace(self, backups={**others, name: note} if note != BackupNote() else others)


def read(walg: Walg, place: StoragePrefix | None = None) -> Notes:
    """Return the notes; none where the storage has no such object. Raises WalgError if it can't be asked.

    ``place``: where the marker was found, if somebody knows; else it is looked for.
    """
    text = walg.cat(OBJECT, _ownership.place(walg) if place is None else place, seldom=True)
    return parse(text) if text is not None else Notes()


def write(walg: Walg, notes: Notes, there: Collection[str] | None = None) -> None:
    """Write the notes; hold the lock of base backups since they were read. Those of base backups that are gone are dropped.

    ``there``: the names of the base backups in the storage; they are listed if it is not given. Raises WalgError.
    """
    names = {one.name for one in walg.backups()} if there is None else set(there)
    kept = {name: note for name, note in notes.backups.items() if name in names}
    text = render(Notes(kept, notes.gaps[-_GAPS:]))
    directory = call_as(walg.user, tempfile.mkdtemp)
    try:
        source = os.path.join(directory, OBJECT)
        call_as(walg.user, write_atomic, source, text, 0o600)
        walg.put(source, OBJECT, _ownership.place(walg))
    finally:
        call_as(walg.user, shutil.rmtree, directory)


def render(notes: Notes) -> str:
    """Return the object's text."""
    backups = {name: asdict(note) for name, note in notes.backups.items()}
    told = {"format": _FORMAT, "backups": backups, "gaps": [asdict(gap) for gap in notes.gaps]}
    return json.dumps(told, indent=2, sort_keys=True) + "\n"


def parse(text: str) -> Notes:
    """Read the object's text. Raises WalgError for one that is no JSON object, or of another format: it would be lost when written."""
    try:
        told = _foreign_json.parse(text)
    except ValueError as exc:
        told, problem = None, str(exc)
    else:
        problem = "it is not a JSON object of format 1"
    if not isinstance(told, dict) or told.get("format") != _FORMAT:
        raise WalgError(
            f"The object {OBJECT}, which holds notes on base backups and gaps, can't be read: {problem}. Nothing is deleted meanwhile. "
            "Look at it beside the storage's prefix or in it; if it can't be fixed, remove it.",
            stdout=text[:2000],
        )
    backups, gaps = told.get("backups"), told.get("gaps")
    notes = {name: _note(value) for name, value in (backups.items() if isinstance(backups, dict) else ())}
    return Notes(
        {name: note for name, note in notes.items() if note is not None},
        tuple(gap for gap in map(_gap, gaps if isinstance(gaps, list) else ()) if gap is not None),
    )


def _note(value: Any) -> BackupNote | None:
    if not isinstance(value, dict):
        return None
    blocks = value.get("corrupt_blocks")
    known = blocks.items() if isinstance(blocks, dict) else ()
    counts = {path[:_LONGEST]: number for path, number in known if type(number).__name__ == "int" and number > 0}
    return BackupNote(_moment(value.get("keep_until")), counts)


def _moment(value: Any) -> str | None:
    """Return a time that can be read; one that can't is no end of being permanent."""
    try:
        _times.moment(value)
    except (WalgError, TypeError):
        return None
    return str(value)


def _gap(value: Any) -> Gap | None:
    if not isinstance(value, dict):
        return None
    timeline, texts = value.get("timeline"), [value.get(name) for name in ("first", "last", "reason", "time")]
    if type(timeline).__name__ != "int" or not 0 < int(timeline or 0) <= LAST_TIMELINE:
        return None
    if not all(isinstance(text, str) and text.isprintable() for text in texts):
        return None
    first, last, reason, when = (str(text)[:_LONGEST] for text in texts)
    if not SEGMENT_NAME.match(first) or not SEGMENT_NAME.match(last) or _moment(when) is None:
        return None
    return Gap(int(timeline or 0), first, last, reason, when)
