# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection chooses for a host (_tuning) beside WAL-G's own values, on files and on Google's API on loopback.

Base backup, fetch of it, and recovery of WAL with the values of this host; waiting WAL with those of a host of 1 GiB, where the
aim is memory. Bare WAL-G in all of them: the wrappers and modules around it are measured by other parts. "No worse" is 1.05 here,
for the noise; the aims below that are what docs/tuning.md claims.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import clusters
import figures
from bare import BareWalg
from support.sandbox import Sandbox

PART = "tuning"
_SMALL_MIB = 1024
_NO_WORSE = 1.05


def run(tools: dict[str, Any], sizes: Mapping[str, int]) -> list[figures.Figure]:
    """Both storages."""
    found = []
    sandbox = Sandbox(tools)
    try:
        found += _on(BareWalg(sandbox, "file", {"WALG_FILE_PREFIX": str(sandbox._own("storage/main"))}), sizes)
    finally:
        sandbox.close()
    with clusters.on_google(tools) as (sandbox, settings, storage):
        found += _on(BareWalg(sandbox, "gs", {**settings, "WALG_GS_PREFIX": storage}), sizes)
    return found


def _on(walg: BareWalg, sizes: Mapping[str, int]) -> list[figures.Figure]:
    host, small = chosen(walg.kind)
    rounds = sizes["rounds"]
    clusters.fill(walg.cluster, sizes["mib"])
    pushes = figures.alternate(rounds, lambda: walg.push(host), lambda: walg.push({}))
    fetches = figures.alternate(rounds, lambda: walg.fetch(host), lambda: walg.fetch({}))
    waiting = walg.waiting()
    memory: dict[bool, list[float]] = {True: [], False: []}

    def send(values: Mapping[str, str]) -> float:
        seconds, mib = walg.send(waiting, values)
        memory[bool(values)].append(mib)
        return seconds

    sends = figures.alternate(rounds, lambda: send(small), lambda: send({}))
    walg.archive(waiting)
    recoveries = figures.alternate(rounds, lambda: walg.recover(host), lambda: walg.recover({}))
    on, many = f"{walg.kind}://", f"{len(waiting)} segments"
    most = list(zip(memory[True], memory[False], strict=True))
    return [
        figures.ratio(PART, f"{on} backup-push, {_text(host)}", pushes, 0.9),
        figures.ratio(PART, f"{on} backup-fetch, the same", fetches, _NO_WORSE),
        figures.ratio(PART, f"{on} recovery of {many}, the same", recoveries, _NO_WORSE),
        figures.ratio(PART, f"{on} wal-push of {many}, as on 1 GiB: {_text(small)}", sends, _NO_WORSE),
        figures.ratio(PART, f"{on} memory of that, at most", most, 0.7 if walg.kind == "gs" else _NO_WORSE, "MiB"),
    ]


def chosen(kind: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return what the rule says for this host, and for one of as many cores with 1 GiB."""
    library = "ansible_collections.mapswipe.walg.plugins.module_utils."
    rule, facts = (importlib.import_module(library + name) for name in ("_walg._tuning", "_host._facts"))
    cores = facts.cores()
    return rule.defaults(cores, facts.memory_mib(), kind), rule.defaults(cores, _SMALL_MIB, kind)


def _text(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name.removeprefix('WALG_')} {value}" for name, value in sorted(values.items())) or "WAL-G's own"
