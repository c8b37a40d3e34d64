# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was reached against what was asked, and how far a recovery is. Never silently less."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._postgres import _targets, _wal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ._recovery_plan import RecoveryPlan
    from ._recovery_server import RecoveryServer


def refuse_less(
    plan: RecoveryPlan,
    identifier: str,
    target: _targets.Target,
    state: str,
    proof: Mapping[str, Any],
    log: Sequence[str],
) -> None:
    """Raise WalgError unless recovery stopped at the target, or for the latest state replayed all that the plan listed.

    ``state``: promoted, paused, following or shut down; ``proof``: what the server said then (nothing after a shutdown).
    """
    where = f"It ended at LSN {proof.get('replayed_lsn')}, the last commit replayed is of {proof.get('last_commit')}."
    if proof and proof["system_identifier"] != identifier:
        raise WalgError(
            f"The recovered cluster has system identifier {proof['system_identifier']}, expected {identifier}."
        )
    if state == "promoted" and proof["timeline"] <= plan.timeline:
        raise WalgError(
            f"The recovered cluster is on timeline {proof['timeline']}, which is not above {plan.timeline}."
        )
    if target.kind != "latest":
        if not _targets.proof(log, target):
            raise _targets.not_reached(target, proof.get("replayed_lsn"), proof.get("last_commit"))
        return
    wanted = must_reach(plan)
    if wanted is not None and _wal.parse_lsn(str(proof.get("replayed_lsn") or "0/0")) <= wanted[0]:
        raise WalgError(
            f"Recovery did not replay all WAL: the archive continues to the segment {wanted[1]}. {where}",
            found=proof.get("replayed_lsn"),
            wanted=wanted[1],
        )


def older_backups(plan: RecoveryPlan, backup: str, target: _targets.Target) -> str:
    """Say which base backups may lead to a name or an xid that was not found: only WAL after a base backup's end is looked through."""
    older = plan.older_backups
    if target.kind not in ("name", "xid") or not older:
        return ""
    others = f" Then there {'is' if len(older) == 2 else 'are'} {', '.join(older[1:6])}." if older[1:] else ""
    return (
        f" If it is older than the base backup {backup}, an older one may hold it. Try this line, with the same request:\n"
        f"  walg_restore_backup: {older[0]}\n{others.lstrip()}"
    )


def must_reach(plan: RecoveryPlan) -> tuple[int, str] | None:
    """Return an LSN that replay of the latest state has to pass, and the segment that says so.

    It is the start of the archive's last segment: how far its records go, only replay can tell. Of salvaged segments the last
    one may hold nothing, but the one before it is full.
    """
    size, salvaged, listed = plan.segment_size, plan.salvaged_segments, plan.last_segments
    if len(salvaged) > 1:
        return _wal.segment_number(salvaged[-2], size) * size, str(salvaged[-2])
    if listed:
        return _wal.segment_number(listed[-1], size) * size, str(listed[-1])
    return None


def refuse_other_icu(plan: RecoveryPlan, proof: Mapping[str, Any]) -> None:
    """Raise WalgError where this host's ICU sorts otherwise than the cluster's did. Known only when the server runs."""
    there, here = plan.icu, proof.get("icu") or ""
    if there and here and there != here and not plan.other_host_allowed:
        raise WalgError(
            f"The cluster sorted by ICU {there}, the server here by {here}: indexes on such text may silently be wrong and need REINDEX. "
            "Restore on a host with the same ICU, or accept it with walg_restore_allow_other_collation: true.",
            found=here,
            wanted=there,
        )


@dataclass
class Watch:
    """Details for the progress file while a server recovers: where it is, how fast, how long it may take yet."""

    beside: RecoveryServer
    plan: RecoveryPlan
    started: float = field(default_factory=time.monotonic)
    first: int | None = None

    def details(self) -> dict[str, Any]:
        """Return what is known now; the estimate goes by segments, and by the whole archive's end."""
        found = dict(self.beside.where())
        size = self.plan.segment_size
        now = self._segment(found, size)
        listed = self.plan.last_segments
        if now is None or not listed:
            return found
        if self.first is None:
            self.first = now
        left = max(0, _wal.segment_number(listed[-1], size) - now)
        took = time.monotonic() - self.started
        rate = (now - self.first) / took if took > 0 else 0.0
        found.update({"segments_left_at_most": left, "segments_per_second": round(rate, 2)})
        if rate > 0:
            found["seconds_left_at_most"] = round(left / rate)
        return found

    @staticmethod
    def _segment(found: Mapping[str, Any], size: int) -> int | None:
        if found.get("replaying"):
            return _wal.segment_number(str(found["replaying"]), size)
        if found.get("replayed_lsn"):
            return _wal.parse_lsn(str(found["replayed_lsn"])) // size
        return None
