# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on what damage in a storage costs, and what to do: windows and base backups with the object, and without it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .._archive import _recoverable
from .._postgres import _wal
from .._walg import _inventory
from ._reread import HISTORY, SEGMENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .._archive._recoverable import Window
    from .._instance._record import Instance
    from .._walg._backups import Backup
    from .._walg._inventory import Inventory

_OTHER_COPY = "If the storage keeps older versions, or there is a copy of it, put this object back from there."


@dataclass(frozen=True)
class Cost:
    """``text`` for people, ``backups``: those that can't be restored any more; both empty if nothing needs the object."""

    text: str = ""
    backups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Archive:
    """What is known of an archive: the base backups of the cluster and its WAL."""

    backups: Sequence[Backup]
    wal: Inventory

    def windows(self) -> list[Window]:
        """Return what can be restored."""
        return _recoverable.windows(self.backups, self.wal)

    def without(self, lost: Iterable[tuple[str, str]]) -> Archive:
        """Return the archive as if objects were not there, each given by kind and owner as in Stored."""
        every = list(lost)
        segments = [owner for kind, owner in every if kind == SEGMENT]
        parts = {owner for kind, owner in every if kind not in (SEGMENT, HISTORY)}
        backups = [one for one in self.backups if one.name not in parts]
        return Archive(backups, _inventory.without(self.wal, segments))


@dataclass(frozen=True)
class Losses:
    """``before``: the windows of an archive, were all of it well; ``left``: those that all damage together leaves."""

    archive: Archive
    before: Sequence[Window]
    left: Sequence[Window]

    @classmethod
    def of(cls, archive: Archive, before: Sequence[Window], lost: Iterable[tuple[str, str]]) -> Losses:
        """Compute what is left."""
        every = list(lost)
        if not every:
            return cls(archive, before, before)
        segments = {owner for kind, owner in every if kind == SEGMENT}
        return cls(archive, before, [_ended(one, segments) for one in archive.without(every).windows()])

    def cost(self, kind: str, owner: str) -> Cost:
        """Return what the loss of one object costs; ``owner`` as in Stored."""
        if kind == HISTORY:
            return Cost(f"no recovery can follow timeline {int(owner[:8], 16)}, or one that comes after it")
        after = self.archive.without([(kind, owner)]).windows()
        lost = _names(self.before) - _names(after)
        if kind != SEGMENT:
            return self._of_backup(owner, lost)
        return Cost() if list(self.before) == after else self._of_segment(owner, lost)

    def _of_segment(self, owner: str, lost: set[str]) -> Cost:
        size, timeline = self.archive.wal.segment_size, _wal.timeline_of(owner)
        stop = _wal.segment_number(owner, size) * size
        text = f"recovery along timeline {timeline} ends before it, at {_wal.format_lsn(stop)}"
        later = [one for one in self.left if one.timeline == timeline and one.first.lsn > stop]
        if later:
            first = min(later, key=lambda one: one.first.lsn)
            text += f", and starts again with the end of the base backup {first.backups[0]}{_at(first)}"
        else:
            text += "; nothing after it can be restored until there is a new base backup"
        if lost:
            text += f"; lost with it: {', '.join(sorted(lost))}"
        return Cost(text, tuple(sorted(lost)))

    def _of_backup(self, owner: str, lost: set[str]) -> Cost:
        text = f"{owner} can't be restored"
        others = sorted(lost - {owner})
        if others:
            text += f", nor what is based on it: {', '.join(others)}"
        if not self.left:
            text += "; nothing in this archive can be restored until there is a new base backup"
        else:
            first = min(self.left, key=lambda one: one.first.lsn)
            text += f"; the oldest point that can be restored is the end of {first.backups[0]}{_at(first)}"
        return Cost(text, tuple(sorted({*lost, owner})))


def _ended(window: Window, lost: set[str]) -> Window:
    """Return a window that says what ends it, where that is damaged and the last one that the storage holds: others will follow."""
    after = _wal.segment_name(window.last.timeline, window.last.lsn // window.segment_size, window.segment_size)
    return replace(window, missing=after) if window.missing is None and after in lost else window


def _names(windows: Sequence[Window]) -> set[str]:
    return {name for window in windows for name in window.backups}


def _at(window: Window) -> str:
    return f" ({window.first.time})" if window.first.time else ""


def remedy(instance: Instance, kind: str, owner: str, path: str, loss: Cost) -> str:
    """Return what to do about a damaged object. Looks into pg_wal: run it as the cluster's owner."""
    if kind == SEGMENT:
        return _of_segment(instance, owner, path, loss)
    if kind == HISTORY:
        here = os.path.join(instance.cluster.data_dir, "pg_wal", owner)
        return f"{_again(instance, path, here)} {_OTHER_COPY}" if os.path.isfile(here) else _OTHER_COPY
    return (
        "Take a full base backup now: the module walg_backup with full: true and max_age: 0. A delta will not do, since it may be based on "
        f"what is damaged. {_OTHER_COPY}"
    )


def removal(instance: Instance, path: str) -> str:
    """Return what to do about an object that does not belong where it is."""
    walg = f"{instance.binary} --config {instance.settings_file}"
    return f"Find out who put it there, and remove it, as {instance.cluster.os_user}: {walg} st rm {path}"


def _of_segment(instance: Instance, owner: str, path: str, loss: Cost) -> str:
    if not loss.text:
        return "Nothing needs it; retention removes it in time."
    here = os.path.join(instance.cluster.data_dir, "pg_wal", owner)
    if os.path.isfile(here):
        return f"It is still in pg_wal. {_again(instance, path, here)}"
    job = f"{os.path.join(instance.program_dir, 'walg-job')} backup --instance {instance.name} --config-dir {instance.config_dir}"
    return f"Take a base backup now, so that the time from now on is safe: {job}. {_OTHER_COPY}"


def _again(instance: Instance, path: str, here: str) -> str:
    walg = f"{instance.binary} --config {instance.settings_file}"
    return f"Remove the damaged object and push it again, as {instance.cluster.os_user}: {walg} st rm {path} && {walg} wal-push {here}"
