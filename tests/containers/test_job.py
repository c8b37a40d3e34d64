# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine's job for a server in a container: as confined as its timer's service, and with hooks that fail.

systemd runs on no machine of these tests. What a service's unit takes away is taken away here by mounts and capabilities instead; not by
seccomp filters (RestrictAddressFamilies, SystemCallArchitectures, RestrictRealtime, RestrictSUIDSGID, LockPersonality).
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _timer
from ansible_collections.mapswipe.walg.plugins.module_utils._container import _placed
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _job_spec
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _schedule_wanted
from support.container_world import ContainerWorld

#: ProtectSystem=full, ProtectHome=read-only, ProtectKernelTunables, NoNewPrivileges, ProtectKernelModules, ProtectKernelLogs, UMask.
CONFINED = """
for place in /usr /boot /etc /home /root /proc/sys /sys; do
    [ ! -d $place ] || { mount --rbind $place $place && mount -o remount,bind,ro $place; }
done
umask 0077
exec setpriv --no-new-privs --bounding-set -sys_module,-syslog "$@"
"""


@pytest.fixture(scope="module")
def world(make_world: Callable[..., ContainerWorld]) -> ContainerWorld:
    made = make_world()
    made.up()
    made.play("site")
    made.write_env(made.line())
    metrics = made.sandbox.host / "node"
    metrics.mkdir()
    made.site(
        walg_backup_restart="allowed",
        walg_backup_first=False,
        walg_backup_metrics_dir=str(metrics),
        walg_backup_failure_command=["/bin/false"],
    )
    return made


def unit(world: ContainerWorld, verb: str) -> dict[str, str]:
    """Return a service of the timers, by directive."""
    config_dir = str(world.sandbox.host / "config")
    placed = _placed.load(config_dir, "main")
    assert placed is not None
    spec = _job_spec.load(config_dir, "main")
    params = {"scheduler": "timer", "cron_dir": "/etc/cron.d", "config_dir": config_dir}
    wanted = _schedule_wanted.of_container(placed, spec, params)
    lines = _timer.service(wanted.job, verb, wanted.reach).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def run(world: ContainerWorld, verb: str) -> subprocess.CompletedProcess[str]:
    """Start what a timer would start."""
    told = unit(world, verb)
    assert (told["User"], told["ProtectSystem"], told["ProtectHome"]) == ("root", "full", "read-only")
    argv = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-euc",
        CONFINED,
        "sh",
        *shlex.split(told["ExecStart"]),
    ]
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/root",
    }
    return subprocess.run(argv, env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=300)


def history(world: ContainerWorld) -> list[dict[str, Any]]:
    file = world.kit_dir / "main" / "kit" / "state" / "main" / "history.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def metrics(world: ContainerWorld) -> str:
    return (world.sandbox.host / "node" / "mapswipe-walg-main.prom").read_text(encoding="utf-8")


def test_a_hook_that_fails_is_an_alarm_in_the_instances_history_and_metrics(world: ContainerWorld) -> None:
    """Nothing can be restored yet: that is told, and that it could not be told is known to status and metrics at once."""
    done = run(world, "check")
    assert done.returncode not in (0, 75), done.stderr
    assert "The failure command failed: false ended with 1" in done.stderr
    (tell,) = [one for one in history(world) if one["verb"] == "tell"]
    assert (tell["code"], tell["text"]) == (8, "The failure command failed: false ended with 1: no output.")
    assert 'verb="tell"' in metrics(world), metrics(world)


def test_what_a_timer_starts_takes_a_base_backup_in_the_container(world: ContainerWorld) -> None:
    assert world.base_backups() == 0
    done = run(world, "run")
    assert world.base_backups() == 1, done.stderr
    (taken,) = [one for one in history(world) if one["verb"] == "backup" and one["changed"]]
    assert taken["code"] == 0
