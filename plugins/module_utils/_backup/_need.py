# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: is a base backup needed, and does what is there lead to what the server holds now. Changes nothing.

"No" is said only when a restore to the latest state would be planned from the archive: by the rules of that plan.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .._archive import _ownership, _present, _reach, _recoverable, _wal_level, _wal_path
from .._errors import WalgError
from .._host import _times
from .._host._waiting import wait_until
from .._postgres import _data_dir, _restorable, _sessions
from .._postgres._server import Server
from .._walg import _backups, _client, _compatibility
from .._walg._client import Walg
from . import _known_damage, _on_standby

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from .._host._process import Runner
    from .._instance._record import Instance
    from .._postgres._server import ServerFacts
    from .._walg._inventory import Inventory

#: Seconds for a gap to close: WAL-G uploads several segments at once, and a later one may arrive first.
_GAP_PATIENCE = 20.0


@dataclass(frozen=True)
class BackupPlan:
    """What would be done and why. ``existing``: the newest backup that counts, if any."""

    needed: bool
    reason: str
    existing: _backups.Backup | None
    facts: ServerFacts
    names: frozenset[str]
    owner: _ownership.OwnerPlan | None = None
    deltas: bool = True  # a delta would do: this WAL-G can restore one, and no WAL was lost since its base
    passed: tuple[str, ...] = ()  # segments that no recovery passes, see _wal_level
    look: Look | None = None


def plan(
    runner: Runner,
    instance: Instance,
    max_age: float | None,
    now: datetime,
    pending: bool = False,
    dry: bool = False,
    source: str = "primary",
) -> BackupPlan:
    """Decide whether a base backup is needed. ``pending``: WAL-G or its settings are not there yet (check mode); ``dry``: check mode,
    in which archiving need not be on yet. ``source``: from whom it is taken, see _job_spec.

    It is, when none that counts exists for this system identifier and timeline, or (``max_age``, seconds) when the
    newest is older. ``max_age`` 0 means always. Raises WalgError for what can be known to fail.
    """
    server = Server(runner, instance.cluster)
    facts = server.own_facts()
    if facts.in_recovery and source == "primary":
        return BackupPlan(False, "this is a standby; its primary is backed up", None, facts, frozenset())
    _restorable.refuse_unrestorable(instance.cluster.data_dir, instance.owner)
    if pending:
        return BackupPlan(True, "the settings are not written yet", None, facts, frozenset())
    version = _client.binary_version(runner, instance.binary, instance.owner).version
    kind = instance.storage_kind
    refusals = _compatibility.check_pair(version, facts.major, kind, "backup", untested=instance.cluster.untested)
    if refusals:
        raise WalgError(" ".join(refusals))
    _sessions.refuse_cut_off(server, version, facts.major)
    walg = Walg.of(runner, instance)
    look = Look(instance, walg, server, facts, kind, version)
    owner = _ownership.plan(walg, facts)
    _ownership.refuse_lost(walg, owner, facts, instance.state_dir)
    found = walg.backups()
    _backups.refuse_foreign(found, facts.system_identifier, instance.storage)
    return (look.decide_on_standby if facts.in_recovery else look.decide)(owner, found, max_age, now, dry)


@dataclass(frozen=True)
class Look:
    """What is asked, and what for."""

    instance: Instance
    walg: _client.Walg
    server: Server
    facts: ServerFacts
    kind: str
    version: tuple[int, int, int] | None

    def decide(
        self,
        owner: _ownership.OwnerPlan,
        found: list[_backups.Backup],
        max_age: float | None,
        now: datetime,
        dry: bool,
    ) -> BackupPlan:
        """Return the plan. Raises WalgError where a base backup would not help, or the one that is there leads nowhere."""
        facts, says = self.facts, _present.ask(self.server, self.facts)
        made = BackupPlan(True, "", None, facts, frozenset(one.name for one in found), owner, False, (), self)
        trouble = _present.not_archiving(says)
        if trouble and dry:
            return replace(made, reason=trouble)
        if trouble:
            raise WalgError(
                f"The server does not send its WAL to {self.instance.storage}: {trouble}. No base backup leads to its present state. Run "
                "the role mapswipe.walg.walg_backup, which sets it, or says what overrides it.",
                found=trouble,
            )
        spaces = bool(_data_dir.inspect(facts.data_directory, self.instance.owner).tablespaces())
        self._refuse_unfit("A base backup of this cluster", spaces, False)
        passed = _wal_level.minimal_segments(
            self.instance.state_dir, facts.data_directory, facts.system_identifier, dry=dry
        )
        made = replace(made, passed=tuple(passed))
        mine = _backups.of_cluster(found, facts.system_identifier)
        here = [one for one in mine if one.timeline == facts.timeline]
        archive = self.walg.archive(facts.segment_size, found) if here else None
        newest = newest_counting(here, mine, archive) if archive else None
        if archive is not None:
            _present.refuse_older(says, facts, archive, self.instance.storage)
        if newest is None or archive is None:
            where = f"system identifier {facts.system_identifier}, timeline {facts.timeline}"
            return replace(made, reason=f"no restorable base backup exists for {where}")
        made = replace(made, existing=newest)
        age = (now - _times.moment(newest.finish_time)).total_seconds()
        reason = self._cut_off(newest, archive, found, says, passed) or self._damage(here, mine, archive)
        if reason:
            return replace(made, reason=reason)
        made = replace(made, deltas=not self._unfit(spaces, True))
        aged = _on_standby.too_old(newest, age, max_age)
        if aged:
            return replace(made, reason=aged)
        self._refuse_failing()
        self.require_restorable(owner, mine, archive)
        return replace(made, needed=False, reason=f"{newest.name} is {age:.0f} s old", owner=None)

    def decide_on_standby(
        self,
        owner: _ownership.OwnerPlan,
        found: list[_backups.Backup],
        max_age: float | None,
        now: datetime,
        dry: bool,
    ) -> BackupPlan:
        """Return the plan of a standby. Whether its primary archives is shown by the WAL of the base backup, which is awaited.

        Raises WalgError where a base backup could not be restored.
        """
        facts = self.facts
        spaces = bool(_data_dir.inspect(facts.data_directory, self.instance.owner).tablespaces())
        self._refuse_unfit("A base backup of this cluster", spaces, False)
        mine = _backups.of_cluster(found, facts.system_identifier)
        here = [one for one in mine if one.timeline == facts.timeline]
        archive = self.walg.archive(facts.segment_size, found) if here else None
        newest = newest_counting(here, mine, archive) if archive else None
        needed, reason = _on_standby.reason(newest, archive, facts, max_age, now)
        damage = self._damage(here, mine, archive) if archive and "gap" not in reason else ""
        needed, reason = needed or bool(damage), damage or reason
        taken = _on_standby.taken(self.server, facts, found) if needed and not dry else ""
        if taken:
            needed, reason = False, f"there is no restartpoint after {taken}, and one taken now would overwrite it"
        names, whole = frozenset(one.name for one in found), not self._unfit(spaces, True)
        deltas = whole and newest is not None and "gap" not in reason and not damage
        return BackupPlan(needed, reason, newest, facts, names, owner if needed else None, deltas, (), self)

    def _cut_off(
        self,
        newest: _backups.Backup,
        archive: Inventory,
        found: list[_backups.Backup],
        says: _present.Present,
        passed: list[str],
    ) -> str:
        """Say why no recovery from a backup comes to the present, "" if one does."""
        if passed:
            return f"no recovery passes {passed[0]}: wal_level was minimal after {newest.name}, and what was written then is not in the WAL"
        gap = self._gap(newest, archive, found, says)
        if gap:
            return f"the archive has a gap after {newest.name}: {gap[0]} is missing, so it does not lead to the present"
        return ""

    def _gap(
        self, newest: _backups.Backup, archive: Inventory, found: list[_backups.Backup], says: _present.Present
    ) -> list[str]:
        """Return the segments that are missing after a backup and will not come. Uploads that overtake others pass."""
        legs = [_wal_path.Leg(newest.timeline, newest.start_lsn, None)]
        deadline = time.monotonic() + _GAP_PATIENCE
        while True:
            missing = _wal_path.gaps(legs, archive) + _present.lost(says, self.facts, archive, newest.start_lsn)
            if not missing or time.monotonic() >= deadline:
                return missing
            time.sleep(1.0)
            says = _present.ask(self.server, self.facts)
            archive = self.walg.archive(self.facts.segment_size, found)

    def _damage(self, here: list[_backups.Backup], mine: list[_backups.Backup], archive: Inventory) -> str:
        """Say what of the archive is damaged, so that no recovery comes to the present; "" where nothing is known of that."""
        # By LSN: by a wrong clock, another may have ended later.
        newest = max(counting(here, mine, archive), key=lambda one: one.finish_lsn, default=None)
        if newest is None:
            return ""
        known = _known_damage.load(self.instance.files.verification)
        return known.cuts(newest.name, newest.start_lsn, [one.name for one in mine], self.facts.segment_size)

    def _refuse_failing(self) -> None:
        """Raise WalgError if the archiver is failing. It is given a moment, since it may have been fixed just now."""
        if wait_until(lambda: not _present.ask(self.server, self.facts).trouble(), _GAP_PATIENCE, every=1.0):
            return
        raise WalgError(
            f"Archiving to {self.instance.storage} does not work: {_present.ask(self.server, self.facts).trouble()}. The base backups "
            "that are there do not lead to the present. The server's log holds what the push wrapper and WAL-G said.",
        )

    def require_restorable(
        self, owner: _ownership.OwnerPlan | None, mine: list[_backups.Backup], archive: Inventory
    ) -> None:
        """Raise WalgError unless a restore to the latest state would be planned, with this WAL-G and this PostgreSQL."""
        said = (owner.after or owner.before) if owner else None
        backup = _reach.latest(self.instance.storage, archive, mine, said, self.facts.timeline).backup
        spaces = _backups.tablespaces(self.walg.sentinel(backup.name))
        self._refuse_unfit(f"The base backup {backup.name}", bool(spaces), backup.delta)

    def _unfit(self, spaces: bool, delta: bool) -> list[str]:
        untested = self.instance.cluster.untested
        return _compatibility.check_pair(
            self.version, self.facts.major, self.kind, _compatibility.RESTORE, spaces, delta, untested
        )

    def _refuse_unfit(self, what: str, spaces: bool, delta: bool) -> None:
        refusals = self._unfit(spaces, delta)
        if refusals:
            raise WalgError(f"{what} could not be restored from {self.instance.storage}: {' '.join(refusals)}")


def counting(here: list[_backups.Backup], mine: list[_backups.Backup], archive: Inventory) -> Iterator[_backups.Backup]:
    """Give those of ``here`` whose WAL and whose chain are whole; ``mine``: where the chain is looked for."""
    broken = _recoverable.broken_chains(mine)
    return (one for one in here if one.name not in broken and not _wal_path.lacking(one, one.timeline, archive))


def newest_counting(
    here: list[_backups.Backup], mine: list[_backups.Backup], archive: Inventory
) -> _backups.Backup | None:
    """Return the first of them; ``here`` has the newest first."""
    return next(counting(here, mine, archive), None)
