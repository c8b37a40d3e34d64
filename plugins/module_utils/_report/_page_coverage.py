# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page's bar of what can be restored, with its holes on a time axis, and the command for a moment on it."""

from __future__ import annotations

import shlex
from datetime import datetime, timedelta, timezone
from html import escape
from typing import TYPE_CHECKING, Any

from .._host._counts import agree, many
from ._archive_reasons import good
from ._shown import clock, line, moment, number, rows, table

if TYPE_CHECKING:
    from collections.abc import Mapping

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LABELS = 5
_HOLES = 8
#: Base backups beyond which those that are deltas have no mark on the bar: the marks would run into each other.
_MARKS = 120


def windows(facts: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Return the windows that "latest" follows, as seconds since 1970, the oldest first; those of other timelines are not on the bar."""
    archive = table(facts.get("archive"))
    trunk = table(archive.get("trunk")).get("timeline")
    found = []
    for window in rows(archive.get("windows")):
        first, last = (moment(table(window.get(name)).get("time")) for name in ("first", "last"))
        if first and last and trunk is not None and window.get("timeline") == trunk and first <= last:
            found.append((first.timestamp(), last.timestamp()))
    return sorted(found)


def command(facts: Mapping[str, Any], name: str) -> str:
    """Return the command that restores all WAL; @REQUEST@ is the request's name."""
    instance = line(facts.get("instance") or "main")
    words = ["ansible-playbook mapswipe.walg.restore -i inventory", f"-e {shlex.quote(f'walg_hosts={line(name)}')}"]
    if instance != "main":
        words.append(f"-e {shlex.quote(f'walg_instance={instance}')}")
    return " \\\n  ".join([*words, "-e walg_restore_request=@REQUEST@"])


def data(identifier: str, facts: Mapping[str, Any], name: str, now: datetime) -> dict[str, Any]:
    """Return what the script needs of an instance."""
    found = windows(facts)
    return {
        "id": identifier,
        "windows": [[first, last] for first, last in found],
        "from": found[0][0] if found else 0,
        "to": max(now.timestamp(), found[-1][1]) if found else 0,
        "command": command(facts, name),
    }


def section(facts: Mapping[str, Any], name: str, now: datetime) -> str:
    """Return the section: bar, axis, holes, chooser and command."""
    found = windows(facts)
    typed = escape(command(facts, name).replace("@REQUEST@", f"restore-{now:%Y-%m-%d}"))
    told = f"<div class=type><pre>{typed}</pre><button type=button class=copy hidden>Copy</button></div>"
    if not found:
        return f"<section><h3>What can be restored</h3><p>No window is known.</p>{told}</section>"
    begin, end = found[0][0], max(now.timestamp(), found[-1][1])
    length = max(end - begin, 1.0)
    bands = "".join(
        f'<span class=band style="left:{100 * (first - begin) / length:.3f}%;width:{100 * (last - first) / length:.3f}%"></span>'
        for first, last in found
    )
    usable = good(table(facts.get("archive")))
    marked = usable if len(usable) <= _MARKS else [one for one in usable if not one.get("delta")]
    ends = [moment(one.get("finish_time")) for one in marked]
    ticks = "".join(
        f"M{1000 * (one.timestamp() - begin) / length:.1f} 26V38" for one in ends if one and one.timestamp() >= begin
    )
    labels = "".join(
        f"<span>{_label(begin + length * place / (_LABELS - 1), length)}</span>" for place in range(_LABELS)
    )
    spoken = (
        f"Restorable moments from {clock(_text(begin))} to {clock(_text(found[-1][1]))}, {many(len(found) - 1, 'hole')}"
    )
    return (
        f'<section><h3>What can be restored</h3><div class=bar aria-label="{spoken}" role=img>{bands}'
        f'<svg viewBox="0 0 1000 38" preserveAspectRatio="none" aria-hidden="true"><path d="{ticks}"/></svg></div>'
        f"<div class=axis aria-hidden=true>{labels}</div><div class=key><span><i class=b></i>restorable</span>"
        f"<span><i class=h></i>not restorable</span><span><i class=t></i>base backup</span></div>{_holes(facts, found, now)}"
        "<form class=choose hidden><label>Moment (UTC) <input type=text size=20 "
        'placeholder="YYYY-MM-DD HH:MM" autocomplete=off spellcheck=false></label>'
        "<button type=button class=nearest>Nearest restorable</button><button type=button class=latest>All WAL</button>"
        f"<p class=said role=status>To restore all WAL, type:</p></form>{told}</section>"
    )


def _text(seconds: float) -> str:
    return _when(seconds).isoformat()


def _when(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)


def _label(seconds: float, length: float) -> str:
    return f"{_when(seconds):{'%Y-%m-%d' if length > 4 * 86400 else '%m-%d %H:%M'}}"


def _holes(facts: Mapping[str, Any], found: list[tuple[float, float]], now: datetime) -> str:
    archive = table(facts.get("archive"))
    trunk = table(archive.get("trunk")).get("timeline")
    gaps = [
        gap for one in rows(archive.get("timelines")) if one.get("timeline") == trunk for gap in rows(one.get("gaps"))
    ]
    told = [
        f"<li>{clock(_text(last))} to {clock(_text(first))}: not restorable</li>"
        for (_first, last), (first, _last) in zip(found, found[1:])
        if first > last
    ]
    told += [
        f"<li>{escape(line(gap.get('first')))} to {escape(line(gap.get('last')))}: "
        f"{agree(round(number(gap.get('segments')) or 0), 'segment', 'is', 'are')} missing</li>"
        for gap in gaps
    ]
    rest = f"<li>and {len(told) - _HOLES} more</li>" if len(told) > _HOLES else ""
    return f"<ul class=holes>{''.join(told[:_HOLES])}{rest}</ul>" if told else ""
