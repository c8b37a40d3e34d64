# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: is what the storage holds sound. Its records are compared with its own listing, and a share of all objects is read.

"Sound" is said of what was looked at: recovery comes from each base backup to the end of the archive, nothing that is needed is
missing, and nothing that was read is damaged. What could not be looked at is unknown, never sound.
"""

from __future__ import annotations

import contextlib
import os
import time
from datetime import timezone
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _files, _locks, _progress, _times
from .._walg._client import Walg
from .._walg._stored import Reader
from . import _memory, _reread, _verified
from ._reread import Cycle
from ._survey import survey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from .._host._process import Runner
    from .._instance._job_spec import Verification
    from .._instance._record import Instance
    from ._reread import Stored
    from ._survey import Survey

_LONGEST = 20 * 3600.0  # seconds that one run reads: the next day has a run of its own
_SAVE_EVERY = 2.0  # seconds
_MOST_SILENT = 3  # objects one after the other that a storage may fail to deliver


def run(
    runner: Runner,
    instance: Instance,
    rule: Verification,
    now: datetime,
    *,
    everything: bool = False,
    dry: bool = False,
) -> dict[str, Any]:
    """Verify the archive of an instance; run as the cluster's owner. Returns text, sound, chain, damaged and reread.

    ``everything``: read all objects now. ``dry``: look at the chain, and say what would be read; nothing is read or written.
    Raises LockedError if another run verifies; StorageError if the storage does not answer: then the state says that it is unknown.
    """
    if dry:
        return _Verification(runner, instance, rule, now, everything).planned()
    with _locks.locked(instance.files.verify_lock, f"A verification of the instance {instance.name!r}"):
        return _Verification(runner, instance, rule, now, everything).done()


class _Verification:
    def __init__(self, runner: Runner, instance: Instance, rule: Verification, now: datetime, everything: bool) -> None:
        self.runner, self.instance, self.rule, self.now, self.everything = runner, instance, rule, now, everything
        self.began = self.saved = time.monotonic()
        self.stamp = now.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
        self.memory = _memory.load(instance.files.verification)
        self.eyes: _reread.Eyes | None = None
        self.read = _verified.Reread()

    def planned(self) -> dict[str, Any]:
        """Return the answer without reading objects."""
        seen = survey(Walg.of(self.runner, self.instance), self.instance, self.memory.parts)
        cycle = self._cycle()
        self.read.planned = sum(one.size for one in self._due(seen, cycle))
        return self._answer(seen, cycle)

    def done(self) -> dict[str, Any]:
        """Do all of it. Whatever ends it early, the state says how far it came, and that the rest is unknown."""
        progress = _progress.Progress(self.instance.files.verify_progress, "verify", self._watched)
        before, self.runner.tick = self.runner.tick, progress.touch
        scratch = os.path.join(self.instance.state_dir, "verify")
        try:
            _files.remove_tree(scratch)  # of a killed run
            progress.enter("listing")
            walg = Walg.of(self.runner, self.instance)
            seen = survey(walg, self.instance, self.memory.parts)
            progress.enter("re-reading")
            self.eyes = _reread.Eyes(
                Reader.of(walg, scratch),
                seen.system_identifier,
                seen.segment_size,
                seen.stored,
                self.rule.rate,
                progress.touch,
            )
            cycle = self._read(seen)
            answer = self._answer(seen, cycle)
            self._remember(answer, seen, cycle)
            progress.done({**self._watched(), "sound": answer["sound"]})
            return answer
        except WalgError as exc:
            self._unknown(exc)
            with contextlib.suppress(WalgError, OSError):
                progress.done({**self._watched(), "problem": exc.msg})
            raise
        finally:
            self.runner.tick = before
            with contextlib.suppress(WalgError, OSError):
                _files.remove_tree(scratch)

    def _watched(self) -> dict[str, Any]:
        """Return numbers for whoever watches."""
        read, seconds = self.eyes.bytes if self.eyes else 0, time.monotonic() - self.began
        rate = round(read / seconds) if seconds > 1 else 0
        return {"bytes": read, "bytes_planned": self.read.planned, "rate": rate, "objects": self.read.objects}

    def _cycle(self) -> Cycle:
        """Return the cycle under way, or a new one. An order to read everything continues one that was killed."""
        found = self.memory.cycle
        if found is None or (self.everything and not found.everything):
            found = Cycle(self.stamp, everything=self.everything)
        if _times.moment(found.started) > self.now:
            found.started = self.stamp  # the clock was set back
        return found

    def _due(self, seen: Survey, cycle: Cycle) -> list[Stored]:
        reads = cycle.everything or self.rule.days > 0
        return cycle.due(seen.stored, self.rule.days, self.now) if reads else []

    def _read(self, seen: Survey) -> Cycle:
        """Read what is in doubt, then the share that is due."""
        cycle = self.memory.cycle = self._cycle()
        due = self._due(seen, cycle)
        doubted = self._doubted(seen)
        paths = {one.path for one in doubted}
        fresh = [one for one in due if one.path not in paths]
        self.read.planned = sum(one.size for one in [*doubted, *fresh])
        bad: list[Stored] = []
        silent = 0
        for one in doubted:
            silent = self._judge(one, bad, silent)
        for one in due:
            if time.monotonic() - self.began > _LONGEST:
                break
            if one.path not in paths:
                silent = self._judge(one, bad, silent)
            cycle.passed(one)
            self._save_now_and_then()
        self._confirm(bad)
        self._clear(seen, paths)
        return cycle

    def _doubted(self, seen: Survey) -> list[Stored]:
        """Return what is read in each run: what was not well, and what is smaller than it can be. What is gone is forgotten."""
        there = {one.path for one in seen.stored}
        self.memory.doubts = {path: doubt for path, doubt in self.memory.doubts.items() if path in there}
        small = {name for name, size in seen.books.suspects.items() if self.memory.cleared.get(name) != size}
        return [
            one
            for one in sorted(seen.stored, key=lambda one: one.path)
            if one.path in self.memory.doubts or one.too_small or (one.kind == _reread.PART and one.owner in small)
        ]

    def _judge(self, one: Stored, bad: list[Stored], silent: int) -> int:
        """Read one object. Returns how many in a row the storage did not deliver; raises StorageError when they are too many."""
        if self.eyes is None:
            return silent
        found = self.eyes.look(one)
        self.read.objects += 1
        if found is None:
            self.memory.doubts.pop(one.path, None)
            return 0
        self.memory.doubt(one.path, found.what, found.sure, self.stamp)
        bad.append(one)
        silent = 0 if found.sure else silent + 1
        if silent >= _MOST_SILENT:
            raise self.eyes.silent(one, found)
        return silent

    def _confirm(self, bad: Sequence[Stored]) -> None:
        """Look at the listing again: what was removed or written meanwhile is not damaged."""
        for path in _reread.changed(self.eyes.reader.walg, bad) if self.eyes and bad else ():
            self.memory.doubts.pop(path, None)
            self.read.changed.append(path)

    def _clear(self, seen: Survey, read: set[str]) -> None:
        """Note the base backups that are smaller than recorded, but were read whole."""
        for name, size in seen.books.suspects.items():
            parts = {one.path for one in seen.stored if one.kind == _reread.PART and one.owner == name}
            if parts and parts <= read and not parts & set(self.memory.doubts):
                self.memory.cleared[name] = size
        self.memory.cleared = {name: size for name, size in self.memory.cleared.items() if name in seen.names}

    def _answer(self, seen: Survey, cycle: Cycle) -> dict[str, Any]:
        self.read.bytes = self.eyes.bytes if self.eyes else 0
        self.read.seconds = round(time.monotonic() - self.began, 3)
        self.read.measure(cycle, cycle.left(seen.stored), self.rule.days, self.now)
        return _verified.answer(self.instance, seen, self.memory, self.read, self.stamp)

    def _remember(self, answer: dict[str, Any], seen: Survey, cycle: Cycle) -> None:
        memory = self.memory
        if not cycle.left(seen.stored):
            memory.last_cycle = {
                "started": cycle.started,
                "ended": self.stamp,
                "objects": cycle.objects,
                "bytes": cycle.bytes,
            }
            memory.cycle = None
        memory.time, memory.last = self.stamp, answer
        if not seen.records:
            memory.parts = seen.books.parts
        _memory.save(self.instance.files.verification, memory)

    def _unknown(self, exc: WalgError) -> None:
        """The state keeps the cursor and what was found, and says that the rest is unknown."""
        self.memory.time = self.stamp
        self.memory.last = {**self.memory.last, "sound": None, "text": f"unknown: {exc.msg}"}
        with contextlib.suppress(WalgError, OSError):
            _memory.save(self.instance.files.verification, self.memory)

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self.saved >= _SAVE_EVERY:
            self.saved = time.monotonic()
            _memory.save(self.instance.files.verification, self.memory)
