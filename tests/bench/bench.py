# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of what has to be fast, side by side, in one table and one JSON file. No test depends on them.

    make bench                            all parts; about 20 minutes on two cores
    make bench ONLY=site,wrappers         some of them: site, wrappers, own_time, job, listing, tuning, containers, others
    make bench MIB=50 ROUNDS=2            small, for trying
    make bench JSON=/tmp/bench.json       where the file goes; else into the tools folder, log/bench.json

MIB is the size of the data (1024), ROUNDS the count of repetitions (5), FETCHES that of single segments (40), BACKUPS and
SEGMENTS the size of the listing (1,000 and 200,000). What is compared runs in alternating order; a figure is the median, the
spread goes from the least to the most (of ten samples and more without the outer tenths). It ends with 0 also where an aim is
missed, and with 1 when a part can't run. What others sets beside WAL-G is unpacked from Debian's packages into the tools folder;
where it can't be had, the table says why.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "toolchain")]

import figures
from locations import link_root
from support.sandbox import load_tools

PARTS = ("site", "wrappers", "own_time", "job", "listing", "tuning", "containers", "others")
_SIZES = {"mib": 1024, "rounds": 5, "fetches": 40, "backups": 1000, "segments": 200_000}
_TROUBLE = (SystemExit, AssertionError, OSError, LookupError, ValueError, subprocess.SubprocessError)


def main() -> int:
    tools = load_tools()
    if Path(sys.prefix) != Path(tools["venv"]):  # the sandboxes want its packages
        os.execv(tools["python"], [tools["python"], *sys.argv])
    sys.path.insert(0, str(link_root()))
    wanted = [name.strip() for name in (os.environ.get("ONLY") or ",".join(PARTS)).split(",")]
    unknown = sorted(set(wanted) - set(PARTS))
    if unknown:
        print(f"ERROR: no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 1
    sizes = {name: int(os.environ.get(name.upper()) or size) for name, size in _SIZES.items()}
    found: list[figures.Figure] = []
    failed = []
    seconds = {}
    for name in wanted:
        print(f"{name} ...", flush=True)
        began = time.monotonic()
        try:
            found += importlib.import_module(f"part_{name}").run(tools, sizes)
        except _TROUBLE as error:  # the other parts have their say
            failed.append(name)
            print(f"ERROR: {name}: {error}", file=sys.stderr)
            found.append(figures.absent(name, "could not run", str(error)[:100]))
        seconds[name] = round(time.monotonic() - began, 1)
    print("\n" + figures.table(found))
    path = Path(os.environ.get("JSON") or Path(tools["tools_dir"]) / "log" / "bench.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = {"cores": os.cpu_count(), "load": os.getloadavg(), "system": platform.platform()}
    report = {"machine": machine, "sizes": sizes, "seconds": seconds, "figures": [one.as_dict() for one in found]}
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\n{path}; {sum(seconds.values()):.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
