# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: one HTML file without network, many instances, the worst first. Pure.

All text of others is escaped where it is put in; data for the script is JSON in which no `<` is left.
"""

from __future__ import annotations

import hashlib
import json
import re
from html import escape
from typing import TYPE_CHECKING, Any

from . import _page_charts, _page_coverage, _page_parts
from ._page_script import SCRIPT
from ._page_style import STYLE
from ._reason import INFO
from ._shown import clock, number, rows, since, span, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

_NUMBER = re.compile(r"([0-9]{1,9})")
_LIGHTS = ("no", "unknown", "warning", "ok")
#: With more instances than that, those that are well are folded.
_ALL_OPEN = 3


def page(items: Sequence[Mapping[str, Any]], now: datetime) -> str:
    """Return the page. Each item: ``facts``, ``verdict`` (as_dict, or none: it is judged here), ``name`` of the host in the inventory."""
    shown = sorted((_page_parts.Shown.of(one, now) for one in items), key=_worst_first)
    for place, one in enumerate(shown):
        one.identifier = f"i{place}"
    many = len(shown) > _ALL_OPEN
    cards = [_page_parts.card(one, now, opened=not many or one.light != "ok") for one in shown]
    counts = "".join(_count(light, sum(one.light == light for one in shown)) for light in _LIGHTS)
    told = {
        "made": round(now.timestamp()),
        "fresh": max([3 * (number(table(one.facts.get("limits")).get("check")) or 300) for one in shown], default=900),
        "instances": [_page_coverage.data(one.identifier, one.facts, one.name, now) for one in shown],
    }
    title = _title(shown)
    overview = _overview(shown, now) if len(shown) > 1 else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">'
        f'<meta name="generator" content="mapswipe.walg"><meta name="digest" content="{digest(shown)}">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>{_page_parts.SHAPES}<div class=page>"
        f"<header><h1>{escape(title)}</h1><p class=made>Made {clock(now.isoformat())}. All times are UTC.</p>"
        f"<p class=stale id=stale role=status hidden></p></header>\n<ul class=counts>{counts}</ul>{overview}\n<main>"
        + "\n".join(cards)
        + "</main>\n<footer><p>A moment is restorable if a base backup ended before it and all WAL up to it is in the storage. "
        "Unknown is never well.</p></footer></div>\n"
        f'<script type="application/json" id="data">{_json(told)}</script>\n<script>{SCRIPT}</script></body></html>\n'
    )


def digest(shown: Sequence[_page_parts.Shown]) -> str:
    """Return what stands for a page's content besides what each minute changes: times, ages and runs that ended as those before."""
    told = sorted((one.name, str(one.facts.get("instance")), _still(one)) for one in shown)
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode("utf-8", "replace")).hexdigest()[:32]


def _still(one: _page_parts.Shown) -> list[Any]:
    archive, facts = table(one.facts.get("archive")), one.facts
    damaged = table(table(facts.get("verification")).get("last")).get("damaged")
    listed = [[row.get(name) for name in ("name", "restorable", "permanent")] for row in rows(archive.get("backups"))]
    gaps = [row.get("gaps") for row in rows(archive.get("timelines"))]
    told = [facts.get(name) for name in ("storage", "data_dir", "system_identifier", "schedule", "policy", "notes")]
    return [one.verdict.restorable, [reason.code for reason in one.verdict.reasons], listed, gaps, damaged, told]


def _worst_first(one: _page_parts.Shown) -> tuple[int, int, list[tuple[int, str]]]:
    critical = sum(reason.level == "critical" for reason in one.verdict.reasons)
    parts = [(int(part), "") if part.isdigit() and part.isascii() else (-1, part) for part in _NUMBER.split(one.title)]
    return _LIGHTS.index(one.light), -critical, parts


def _title(shown: Sequence[_page_parts.Shown]) -> str:
    bad = sum(one.verdict.restorable == "no" for one in shown)
    unknown = sum(one.verdict.restorable == "unknown" for one in shown)
    if not shown:
        return "No cluster was looked at"
    if bad:
        return (
            f"{bad} of {len(shown)} clusters can't be restored" if len(shown) > 1 else "This cluster can't be restored"
        )
    if unknown:
        return (
            f"Unknown whether {unknown} of {len(shown)} clusters can be restored"
            if len(shown) > 1
            else "Unknown whether this cluster can be restored"
        )
    return f"All {len(shown)} clusters can be restored" if len(shown) > 1 else "This cluster can be restored"


def _count(light: str, many: int) -> str:
    return f"<li class={light}>{_page_parts.shape(light)}<b>{many}</b> {_page_parts.WORDS[light]}</li>" if many else ""


def _overview(shown: Sequence[_page_parts.Shown], now: datetime) -> str:
    told = "".join(_overview_row(one, now) for one in shown)
    head = "<th>State<th>Cluster<th>Restorable to<th>Last backup<th class=n>Stored<th>First reason"
    return (
        f"<div class='card scroll'><table class=overview><thead><tr>{head}</thead><tbody>{told}</tbody></table></div>"
    )


def _overview_row(one: _page_parts.Shown, now: datetime) -> str:
    first = next((reason for reason in one.verdict.reasons if reason.level != INFO), None)
    reach = since(one.verdict.to, now)
    last = one.newest
    return (
        f"<tr><td class={one.light}>{_page_parts.shape(one.light)} <b>{_page_parts.SHORT[one.light]}</b>"
        f'<td><a href="#{one.identifier}">{escape(one.title)}</a><td data-k="to">{span(reach) + " ago" if reach is not None else "unknown"}'
        f'<td data-k="backup">{span(since(last.get("finish_time"), now)) + " ago" if last else "none known"}'
        f'<td class=n data-k="stored">{_page_charts.stored(one.facts)}<td class=w>{escape(first.text) if first else ""}'
    )


def _json(value: Any) -> str:
    return (
        json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    )
