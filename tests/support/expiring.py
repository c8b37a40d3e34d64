# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention on a real archive in files: at any time, killed at any object, and with base backups of any age."""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _expire
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import call_as
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _record
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._job_spec import Retention
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._client import Walg

from .sandbox import Sandbox

SENTINEL = "_backup_stop_sentinel.json"
KILLED = 9


def options(policy: Retention) -> dict[str, int]:
    """The same for the module."""
    return {name: int(number) for name, number in asdict(policy).items()}


def expire(
    sandbox: Sandbox,
    policy: Retention,
    *,
    later: timedelta = timedelta(),
    dry: bool = False,
    confirmed: bool = True,
    most: int | None = None,
    name: str = "main",
) -> dict[str, Any]:
    """Run retention as if so much later. ``most``: it is killed before it deletes one more object. An error is {"error": ...}."""
    told = {
        **sandbox.instance(name),
        "policy": options(policy),
        "now": (datetime.now(UTC) + later).isoformat(),
        "dry": dry,
        "confirmed": confirmed,
        "most": most,
    }
    argv = [sandbox.python, "-m", "support.expiring", json.dumps(told)]
    env = sandbox.environment(sandbox.control / "none")
    env["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), env["PYTHONPATH"]])
    done = sandbox.run(argv, env=env)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def stored(storage: Path) -> set[str]:
    """The objects in a storage, below its prefix."""
    return {str(path.relative_to(storage)) for path in storage.rglob("*") if path.is_file()}


def backups(storage: Path) -> list[str]:
    """The names of the base backups in the order of their records' times."""
    paths = sorted(storage.glob(f"basebackups_005/*{SENTINEL}"), key=lambda path: path.stat().st_mtime)
    return [path.name.removesuffix(SENTINEL) for path in paths]


def named_by(plan: dict[str, Any], there: set[str]) -> set[str]:
    """Which of the objects that are there a plan means by its names and ranges."""
    names = [one["name"] for one in [*plan["delete"], *plan["leftovers"]]]
    found = {
        one
        for one in there
        for name in names
        if one.startswith((f"basebackups_005/{name}/", f"basebackups_005/{name}{SENTINEL}"))
    }
    for one in there:
        folder, _slash, rest = one.partition("/")
        if folder == "wal_005" and any(run["first"] <= rest[:24] <= run["last"] for run in plan["wal"]["ranges"]):
            found.add(one)
    return found


def age(storage: Path, name: str, days: float) -> None:
    """Have a base backup be so many days older: in its records, in its objects' times, and in those of the WAL before its end."""
    folder, sentinel = storage / "basebackups_005" / name, storage / "basebackups_005" / f"{name}{SENTINEL}"
    end, times = sentinel.stat().st_mtime, {}
    for path in (sentinel, folder / "metadata.json"):
        times[path] = path.stat().st_mtime
        told = json.loads(path.read_text())
        for key in ("start_time", "finish_time", "StartTime", "FinishTime"):
            if key in told:
                when = datetime.fromisoformat(told[key]) - timedelta(days=days)
                told[key] = when.isoformat().replace("+00:00", "Z")
        path.write_text(json.dumps(told))
        os.utime(path, (times[path], times[path]))
    paths = [sentinel, *(path for path in folder.rglob("*") if path.is_file())]
    paths += [path for path in (storage / "wal_005").iterdir() if path.stat().st_mtime <= end + 1]
    for path in paths:
        when = path.stat().st_mtime - days * 86400
        os.utime(path, (when, when))


def _main(told: dict[str, Any]) -> None:
    instance = _record.require(told["config_dir"], told["instance"])

    def work() -> dict[str, Any]:
        if told["most"] is not None:
            left, remove, alone = [told["most"]], Walg.remove, threading.Lock()

            def counted(walg: Walg, name: str, place: Any = None) -> None:
                with alone:  # so that none is under way when it is killed
                    if not left[0]:
                        os._exit(KILLED)
                    left[0] -= 1
                    remove(walg, name, place)

            mock.patch.object(Walg, "remove", counted).start()
        now = datetime.fromisoformat(told["now"])
        return _expire.run(
            Runner(), instance, Retention(**told["policy"]), now, dry=told["dry"], confirmed=told["confirmed"]
        )

    try:
        answer = call_as(instance.owner, work)
    except WalgError as exc:
        answer = {"error": exc.msg}
    print(json.dumps(answer))


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
