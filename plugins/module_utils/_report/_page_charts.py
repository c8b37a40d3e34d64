# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page's small pictures: sizes and durations over time as SVG, and how runs ended."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from .._host import _exit_codes
from .._host._counts import many
from ._shown import clock, line, moment, number, rows, size, span, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_WIDTH, _HEIGHT = 600, 84
_RUNS = 40
#: How the end of a run looks; what a check found is no failure of the check.
_LOOKS = {
    _exit_codes.OK: ("ok", "ended well"),
    _exit_codes.WARNING: ("warning", "needs attention"),
    _exit_codes.LOCKED: ("warning", "another run was under way"),
    _exit_codes.UNKNOWN: ("unknown", "unknown"),
}


def stored(facts: Mapping[str, Any]) -> str:
    """Return the bytes of all base backups in the storage."""
    archive = table(facts.get("archive"))
    return (
        size(sum(number(one.get("compressed_size")) or 0 for one in rows(archive.get("backups")))) if archive else "?"
    )


def over_time(facts: Mapping[str, Any]) -> str:
    """Return the section of sizes and durations; nothing where there are no two base backups."""
    listed = rows(table(facts.get("archive")).get("backups"))
    fulls, deltas = ([one for one in listed if bool(one.get("delta")) is delta] for delta in (False, True))
    charts = [
        _chart("Full base backups, stored", [_point(one, "compressed_size") for one in fulls], size),
        _chart("Deltas, stored", [_point(one, "compressed_size") for one in deltas], size),
        _chart("Duration of base backups", [_lasted(one) for one in listed], span),
    ]
    told = "".join(one for one in charts if one)
    return f"<section><h3>Sizes and durations</h3><div class=charts>{told}</div></section>" if told else ""


def _point(one: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    when, value = moment(one.get("finish_time")), number(one.get(key))
    return (when.timestamp(), value) if when and value is not None else None


def _lasted(one: Mapping[str, Any]) -> tuple[float, float] | None:
    first, last = moment(one.get("start_time")), moment(one.get("finish_time"))
    return (last.timestamp(), (last - first).total_seconds()) if first and last and last >= first else None


def _chart(title: str, points: Sequence[tuple[float, float] | None], told: Callable[[Any], str]) -> str:
    known = sorted(one for one in points if one is not None)
    if len(known) < 2:
        return ""
    begin, length, most = known[0][0], max(known[-1][0] - known[0][0], 1.0), max(value for _when, value in known) or 1.0
    wide = max(1.5, min(14.0, 0.7 * _WIDTH / len(known)))
    bars = "".join(
        f"M{(_WIDTH - wide) * (when - begin) / length:.1f} {_HEIGHT}v{-(_HEIGHT - 6) * value / most:.1f}h{wide:.1f}V{_HEIGHT}z"
        for when, value in known
    )
    label = f"{title}: {len(known)}, at most {told(most)}, the last {told(known[-1][1])}"
    return (
        f"<div class=chart><div class=title><b>{title}</b><span>last {told(known[-1][1])}, most {told(most)}</span></div>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{label}"><path d="{bars}"/></svg></div>'
    )


def history(facts: Mapping[str, Any]) -> str:
    """Return the section of runs: a strip for each verb, the newest last, and the last run in words."""
    by_verb: dict[str, list[dict[str, Any]]] = {}
    for run in rows(facts.get("history")):
        by_verb.setdefault(str(run.get("verb")), []).append(run)
    if not by_verb:
        return ""
    strips = "".join(_strip(verb, runs) for verb, runs in sorted(by_verb.items()))
    last = "".join(_last(verb, runs[-1]) for verb, runs in sorted(by_verb.items()))
    head = "<thead><tr><th>Verb<th>Ended<th class=n>Took<th class=n>Exit code<th>What came of it</thead>"
    return (
        f"<section><h3>Runs, the newest last</h3><div class=runs>{strips}</div></section>"
        f"<section class=scroll><table class='stacked ends'>{head}<tbody>{last}</tbody></table></section>"
    )


def _strip(verb: str, runs: Sequence[Mapping[str, Any]]) -> str:
    cells = "".join(_cell(run) for run in runs[-_RUNS:])
    bad = sum(_look(run)[0] == "no" for run in runs[-_RUNS:])
    label = f"{many(len(runs[-_RUNS:]), 'run')}, {bad} failed"
    return (
        f'<div class=strip><b>{escape(line(verb))}</b><span class=cells role=img aria-label="{label}">{cells}</span>'
        f"<span class=info>{label}</span>"
        "</div>"
    )


def _look(run: Mapping[str, Any]) -> tuple[str, str]:
    code = number(run.get("code"))
    return _LOOKS.get(int(code), ("no", "failed")) if code is not None else ("unknown", "unknown")


def _cell(run: Mapping[str, Any]) -> str:
    look, words = _look(run)
    return f'<i class="cell {look}" title="{clock(run.get("ended"))}: {words}"></i>'


def _last(verb: str, run: Mapping[str, Any]) -> str:
    code = number(run.get("code"))
    return (
        f"<tr><td>{escape(line(verb))}<td>{clock(run.get('ended'))}<td class=n>{span(run.get('seconds'))}"
        f"<td class=n>{f'{code:.0f}' if code is not None else '?'}<td class=w>{escape(line(run.get('text') or ''))}"
    )
