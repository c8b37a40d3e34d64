# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server in a container beside one of the host: the wrappers over WAL-G alone, both in the container, and a second site run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import container_tests
import engine
import figures
from support.container_world import ContainerWorld, images
from support.sandbox import Sandbox

PART = "containers"
_LIMIT = 5.0  # ms
_NS = 1e9

#: Takes a program's time for each name, and that of another one beside it, the first in turn. Run by the image's shell.
_LOOP = """
now() { date +%s%N; }
took() { began=$(now); "$@" >/dev/null 2>&1 || exit 1; echo $(($(now) - began)); }
turn=0
for name in $NAMES; do
    turn=$((turn + 1))
    if [ $((turn % 2)) -eq 0 ]; then took ours $name; else took beside $name; fi
done
"""
_PUSH = 'ours() { "$KIT/lib/wal-push" "$KIT/etc/main.env" "pg_wal/$1"; }\nbeside() { bare wal-push "pg_wal/$1"; }'
_FETCH = (
    'ours() { "$KIT/lib/wal-fetch" recovery "$KIT/etc/main.env" /tmp/plan.env "$1" "fetched-$1"; }\n'
    'beside() { bare wal-fetch "$1" "fetched-$1"; }'
)
_BARE = 'bare() { "$WALG" --config "$KIT/etc/main.json" "$@"; }\nexport WALG_DOWNLOAD_CONCURRENCY=1'


def run(tools: dict[str, Any], sizes: Mapping[str, int]) -> list[figures.Figure]:
    """One project of Compose, and one sandbox of the host."""
    if os.geteuid() != 0:
        return [figures.absent(PART, "a server in a container", "only root can make the images")]
    with engine.running():
        os.environ.update(container_tests.make())
        found = images()
        world = ContainerWorld(tools, found[min(found)])
        try:
            return [*_sites(tools, world, sizes["rounds"]), *_wrappers(world, sizes["fetches"])]
        finally:
            world.close()


def _sites(tools: dict[str, Any], world: ContainerWorld, rounds: int) -> list[figures.Figure]:
    world.up()
    world.play("site")  # names the line
    world.write_env(world.line())
    world.site(walg_backup_restart="allowed")
    sandbox = Sandbox(tools)
    try:
        cluster = sandbox.cluster("main")
        sandbox.storage("main")
        variables = sandbox.variables(cluster)
        sandbox.play("mapswipe.walg.site", variables)

        def inside() -> float:
            return _second(world.site())

        def host() -> float:
            return _second(sandbox.play("mapswipe.walg.site", variables))

        pairs = figures.alternate(rounds, inside, host)
    finally:
        sandbox.close()
    return [figures.ratio(PART, "second site run, of a container over of the host", pairs, 1.5)]


def _second(play: Any) -> float:
    if play.rc or play.changed():
        raise SystemExit(f"The second run failed or changed something: {play.failure() if play.rc else play.changed()}")
    return float(play.seconds)


def _wrappers(world: ContainerWorld, count: int) -> list[figures.Figure]:
    names = [f"000000010000A000{number:08X}" for number in range(2 * count)]
    listed = " ".join(names)
    done = world.run_inside(
        "sh",
        "-c",
        f'cd "$PGDATA/pg_wal" && for name in {listed}; do cp "$(ls | grep -m1 -E "^[0-9A-F]{{24}}$")" $name; done',
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    world.run_inside("sh", "-c", "printf \"LAST_SEGMENTS=''\\nCONTROL_OBJECT=none\\n\" >/tmp/plan.env")
    return [_timed(world, what, body, listed) for what, body in (("push", _PUSH), ("fetch", _FETCH))]


def _timed(world: ContainerWorld, what: str, body: str, listed: str) -> figures.Figure:
    kit = world.kit_dir / "main" / "kit"
    values = f'KIT={kit}\nWALG=$(ls "$KIT"/bin/wal-g-*)\nNAMES="{listed}"\ncd "$PGDATA"'
    done = world.run_inside("sh", "-c", f"{values}\n{_BARE}\n{body}\n{_LOOP}")
    if done.returncode:
        raise SystemExit(f"wal-{what} failed in the container: {done.stderr}")
    times = [int(line) / _NS for line in done.stdout.split()]
    pairs = list(zip(times[1::2], times[::2], strict=True))
    return figures.over(
        PART, f"wal-{what} of a segment over bare WAL-G, both in a container, file://", pairs, _LIMIT, "ms"
    )
