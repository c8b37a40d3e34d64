# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: the WAL-G that is asked for, from a release, a file or somebody else's package: looked at, brought to the host, put in place."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _locks, _trust
from .._walg import _releases
from . import _binary, _installed, _prune, _release, _workshop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .._host._process import Runner
    from .._host._users import User
    from ._binary import InstallPlan
    from ._download import Web
    from ._prune import PrunePlan
    from ._workshop import Workshop


@dataclass(frozen=True)
class Wanted:
    """Which WAL-G is to stand where, and where it comes from."""

    path: str
    version: str
    src: str = ""  # a file on the host; without one, the release is downloaded
    checksum: str = ""
    mirror: str = _releases.PUBLISHED
    credentials: bool = False  # for the mirror
    managed: bool = True  # False: somebody else keeps it at ``path``
    config_dir: str = ""  # whose instances use it

    @property
    def directory(self) -> str:
        return os.path.dirname(self.path)

    @property
    def uploaded(self) -> bool:
        """The file is brought from the controller, in check mode later than this."""
        return self.src == _installed.staged_path(self.path)

    def refuse_place(self) -> None:
        """Raise WalgError for a place that the play can't mean, or that others can exchange."""
        _releases.refuse_odd(self.version)
        _trust.refuse_unplain(self.path, "walg_binary_path")
        if self.managed:
            _trust.refuse_loose(self.directory, "The directory of walg_binary_path")
        if self.config_dir:
            _trust.refuse_loose(self.config_dir, "walg_config_dir")

    def release(self) -> _release.Release:
        """Return the published build that is asked for. Raises WalgError where there is none for this host."""
        return _release.choose(self.version, self.mirror, self.checksum, os.uname().machine, _binary.host_glibc())


def in_place(runner: Runner, wanted: Wanted, user: User | None) -> bool:
    """Say whether it is there as wanted, by the disk alone. What can't be told is False: a plan finds out."""
    try:
        return _in_place(runner, wanted, user)
    except WalgError:
        return False


def _in_place(runner: Runner, wanted: Wanted, user: User | None) -> bool:
    path = wanted.path
    if not wanted.managed:
        return not _binary.unmanaged(runner, path, wanted.version, user).changed
    if wanted.src:
        made = _binary.plan_offline(wanted.src, _binary.parse_checksum(wanted.checksum), path, wanted.version)
    else:
        made = _release.plan_offline(wanted.release(), path)
    if made.changed or not made.wanted or os.path.lexists(_installed.staged_path(path)):
        return False
    _binary.in_place(runner, made, user)
    return not _binary.enrol(made, _installed.load(wanted.directory), wanted.config_dir)


def plan(shop: Workshop, web: Web, wanted: Wanted, dry: bool = False) -> InstallPlan:
    """Find out what must be done. Of a release at most the digest's small file is fetched.

    ``dry``: in check mode a file that is uploaded may be missing.
    """
    if not wanted.managed:
        return _binary.unmanaged(shop.runner, wanted.path, wanted.version, shop.user)
    if wanted.src:
        return _binary.plan(shop, wanted.src, wanted.checksum, wanted.path, wanted.version, dry)
    release = wanted.release()
    if wanted.credentials:
        _release.refuse_open(release.url)
    return _release.plan(shop, web, release, wanted.path)


@contextlib.contextmanager
def locked_workshop(runner: Runner, wanted: Wanted, user: User | None, patience: float | None) -> Iterator[Workshop]:
    """Open a workshop. With ``patience``, the seconds to wait for other runs, it is one to install from; without, one to try in."""
    writes = wanted.managed and patience is not None
    lock = _locks.directory_locked(wanted.directory, patience or 0) if writes else contextlib.nullcontext()
    with lock, _workshop.opened(runner, user, wanted.path if writes else None) as shop:
        yield shop


def brought(shop: Workshop, web: Web, made: InstallPlan) -> InstallPlan:
    """Keep the release's build beside its place, for whoever tries it first. What is there is not touched."""
    if not made.fetch:
        return made
    fetched = _release.fetch(shop, web, made)
    _binary.stage(fetched)
    return fetched


@dataclass(frozen=True)
class Placed:
    """What had to be done, and what is there now (with no patience: the same). ``others``: further versions beside it."""

    before: InstallPlan
    now: InstallPlan
    changed: bool
    others: Sequence[str]


def put_in_place(runner: Runner, web: Web, wanted: Wanted, user: User | None, patience: float | None) -> Placed:
    """Put it in place and note that it is ours. Without ``patience``, only say what would be done."""
    dry = patience is None
    with locked_workshop(runner, wanted, user, patience) as shop:
        made = now = plan(shop, web, wanted, dry)
        record = _installed.load(wanted.directory)
        others = record.others(wanted.path)
        news = wanted.managed and _binary.enrol(made, record, wanted.config_dir)
        changed = made.changed or news
        if changed and not dry:
            now = _install(shop, web, made, record)
    return Placed(made, now, changed, others)


def _install(shop: Workshop, web: Web, made: InstallPlan, record: _installed.Installed) -> InstallPlan:
    if made.fetch:
        made = _release.fetch(shop, web, made)
    _binary.apply(made)
    record.save()
    return made


def prune(runner: Runner, wanted: Wanted, keep: int, instance: str, patience: float | None) -> PrunePlan:
    """Remove versions that no instance uses. Without ``patience``, only say which."""
    made = _prune.plan(wanted.path, keep, wanted.config_dir, instance)
    if made.changed and patience is not None:
        with locked_workshop(runner, wanted, None, patience):
            made = _prune.plan(wanted.path, keep, wanted.config_dir, instance)
            _prune.apply(made)
    return made
