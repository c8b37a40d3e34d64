# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a run is, in one line with a bar: what `walg-job status --watch` shows again and again. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._shown import line, number, since, size, span

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

#: Keys of bytes so far and of all bytes, by who writes them: verification, restore.
_DONE = ("bytes", "fetched_bytes", "deleted")
_ALL = ("bytes_planned", "expected_bytes", "objects")
_SILENT = 30.0  # seconds; a run rewrites its file every two
_NARROWEST = 20
_WIDEST_BAR = 30


def line_of(state: Mapping[str, Any] | None, now: datetime, *, width: int = 80, ascii_only: bool = False) -> str:
    """Return the line of a progress file, at most ``width`` characters wide. ``state``: its content; None: nothing runs."""
    if not state:
        return "nothing runs"
    told = f"{line(state.get('what') or '?')}: {line(state.get('phase') or '?')}"
    silent = since(state.get("updated"), now)
    if silent is not None and silent > _SILENT:
        return _cut(f"{told}; no word for {span(silent)}", width)
    done, total = _first(state, _DONE), _first(state, _ALL)
    counts = "deleted" in state
    rate = number(state.get("rate")) or _rate(state, done, now)
    parts = [f"{done:.0f}" if counts else size(done)] if done is not None else []
    if total:
        parts[-1:] = [f"{parts[-1] if parts else '0'} of {f'{total:.0f}' if counts else size(total)}"]
    if rate:
        parts.append(f"{rate:.1f}/s" if counts else f"{size(rate)}/s")
    if total and rate and done is not None and total > done:
        parts.append(f"{span((total - done) / rate)} left")
    elif number(state.get("seconds_left")) is not None:
        parts.append(f"{span(state.get('seconds_left'))} left")
    elif since(state.get("started"), now) is not None:
        parts.append(f"for {span(since(state.get('started'), now))}")
    text = ", ".join([told, *parts])
    if total and done is not None:
        room = min(_WIDEST_BAR, width - len(text) - 8)
        if room >= 5:
            return f"{gauge(done / total, room, ascii_only=ascii_only)} {min(done / total, 1.0):4.0%} {text}"
    return _cut(text, width)


def gauge(share: float, width: int, *, ascii_only: bool = False) -> str:
    """Return a bar of ``width`` characters besides its brackets, filled to a share from 0 to 1."""
    full = round(min(max(share, 0.0), 1.0) * width)
    done, left = ("#", ".") if ascii_only else ("█", "░")
    return f"[{done * full}{left * (width - full)}]"


def _first(state: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    found = [number(state.get(name)) for name in names if number(state.get(name)) is not None]
    return found[0] if found else None


def _rate(state: Mapping[str, Any], done: float | None, now: datetime) -> float | None:
    """Return bytes a second since the phase began."""
    took = since(state.get("phase_started"), now)
    return done / took if done and took and took > 1 else None


def _cut(text: str, width: int) -> str:
    width = max(width, _NARROWEST)
    return text if len(text) <= width else f"{text[: width - 1]}…"
