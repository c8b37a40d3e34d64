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

#: Keys of bytes so far and of all bytes, by who writes them: base backup and verification, restore, deletion.
_DONE = ("bytes", "fetched_bytes", "deleted")
_ALL = ("bytes_planned", "expected_bytes", "objects")
_SILENT = 30.0  # seconds; a run rewrites its file every two
_NARROWEST = 20
_WIDEST_BAR = 30
_NARROWEST_BAR = 5
_ROUND_BAR = 7  # characters of brackets, share and spaces around a bar


def line_of(
    state: Mapping[str, Any] | None, now: datetime, *, width: int = 80, ascii_only: bool = False, bar: bool = True
) -> str:
    """Return the line of a progress file, at most ``width`` characters wide. ``state``: its content; None: nothing runs."""
    if not state:
        return "nothing runs"
    head, parts, share = _told(state, now)
    text = f"{head}, {', '.join(parts)}" if parts else head
    room = min(_WIDEST_BAR, width - len(text) - _ROUND_BAR - 1)
    if share is None or (bar and room < _NARROWEST_BAR):
        return _cut(text, width)
    return f"{_barred(share, room, ascii_only)} {text}" if bar else f"{text} ({min(share, 1.0):.0%})"


def lines_of(state: Mapping[str, Any], now: datetime, *, width: int = 80, ascii_only: bool = False) -> list[str]:
    """Return the same in one line, and where that has no room for the bar in two: what runs with its bar, and how far it is."""
    head, parts, share = _told(state, now)
    whole = line_of(state, now, width=1000, ascii_only=ascii_only, bar=False)
    least = len(head) + len(", ".join(parts)) + 2 + _ROUND_BAR + 1 + 2 * _NARROWEST_BAR
    if not parts or (len(whole) <= width if share is None else least <= width):
        return [line_of(state, now, width=width, ascii_only=ascii_only)]
    room = min(_WIDEST_BAR, width - len(head) - _ROUND_BAR - 1)
    barred = share is not None and room >= _NARROWEST_BAR
    first = f"{_barred(share or 0.0, room, ascii_only)} {head}" if barred else _cut(head, width)
    fits = [text for text in map(", ".join, _shorter(parts)) if len(text) + 2 <= width]
    return [first, f"  {fits[0]}" if fits else _cut(f"  {parts[0]}", width)]


def ended(what: str, done: Any, seconds: Any) -> str:
    """Return the line of a run that has ended: bytes, rate, and how long it took."""
    most, took = number(done), number(seconds)
    rate = f", {size(most / took)}/s" if most and took else ""
    return f"{what}: done, {size(most)}{rate}, for {span(took)}"


def _shorter(parts: list[str]) -> list[list[str]]:
    """Return the parts, and fewer and fewer of them: what there is in all goes first, then the rate."""
    brief = [parts[0].partition(" of ")[0], *parts[1:]]
    return [parts, brief, [brief[0], *brief[2:]], brief[-1:]]


def _barred(share: float, room: int, ascii_only: bool) -> str:
    return f"{gauge(share, room, ascii_only=ascii_only)} {min(share, 1.0):4.0%}"


def _told(state: Mapping[str, Any], now: datetime) -> tuple[str, list[str], float | None]:
    """Return what runs, how far it is in words, and which share of it is done where that is known."""
    head = f"{line(state.get('what') or '?')}: {line(state.get('phase') or '?')}"
    silent = since(state.get("updated"), now)
    if silent is not None and silent > _SILENT:
        return f"{head}; no word for {span(silent)}", [], None
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
    elif number(state.get("seconds_left_at_most")) is not None:
        parts.append(f"{span(state.get('seconds_left_at_most'))} left at most")
    elif since(state.get("phase_started"), now) is not None:
        parts.append(f"for {span(since(state.get('phase_started'), now))}")
    return head, parts, done / total if total and done is not None else None


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
