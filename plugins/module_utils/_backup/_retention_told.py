# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A retention plan in lines for people, as a play shows it: what goes, how many bytes that is, and which windows stay. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST = 20  # lines of a kind
_LATER = (
    "Nothing is deleted yet. A run of the job at least 20 hours after it has shown this plan carries it out; so does walg_retention with "
    "confirmed: true."
)


def lines(plan: Mapping[str, Any] | None, text: str, *, shown_only: bool) -> list[str]:
    """Return the lines. ``plan``: as results have it; none on a standby. ``text``: the plan in one line."""
    if plan is None:
        return [text]
    gone = [
        f"goes: base backup {one['name']}, {one['bytes']} bytes: {one['reason']}"
        for one in (*plan["delete"], *plan["leftovers"])
    ]
    wal = [f"goes: WAL {one['first']} to {one['last']} ({one['segments']})" for one in plan["wal"]["ranges"]]
    stays = [
        f"stays: timeline {one['timeline']}, {one['first_time']} to "
        f"{'the present' if one['missing'] is None else 'the gap at ' + str(one['missing'])}, base backups: {one['backups']}"
        for one in plan["windows_after"]
    ]
    return [
        f"Retention {text}",
        *_shortened(gone),
        *_shortened(wal),
        *_shortened(stays),
        *([_LATER] if shown_only else []),
    ]


def _shortened(rows: Sequence[str]) -> list[str]:
    left = len(rows) - _MOST
    return [*rows[:_MOST], *([f"and {left} more"] if left > 0 else [])]
