# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job's schedule on a host with a real cluster: who can read what the job is told, and what node_exporter sees of it."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.cron import call_of
from support.observe import files
from support.sandbox import Cluster, Sandbox

SECRET = "https://chat.example/s3cr3t"
STRANGER = 54321  # a user number without rights


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Cluster:
    made = sandbox.cluster("main")
    sandbox.configure(made)
    return made


@pytest.fixture(scope="module")
def metrics(sandbox: Sandbox) -> Path:
    """A directory where node_exporter looks."""
    made = sandbox.host / "metrics"
    made.mkdir()
    return made


def options(sandbox: Sandbox, metrics: Path) -> dict[str, Any]:
    return {
        **sandbox.instance(),
        "cron_dir": str(sandbox.host / "cron"),
        "minute": "7",
        "retention": {"days": 31},
        "hooks": {"webhook": SECRET},
        "metrics_dir": str(metrics),
    }


def read_as(uid: int, path: Path) -> subprocess.CompletedProcess[str]:
    """Read a file as a user who is in no group."""
    return subprocess.run(
        ["cat", str(path)], user=uid, group=uid, extra_groups=[], capture_output=True, text=True, check=False
    )


def test_check_do_check_do(sandbox: Sandbox, cluster: Cluster, metrics: Path) -> None:
    given, before = options(sandbox, metrics), files(sandbox.host)
    foretold = sandbox.module("walg_schedule", given, check=True)
    assert (foretold["changed"], files(sandbox.host)) == (True, before)
    done = sandbox.module("walg_schedule", given)
    assert (done["changed"], done["diff"], "s3cr3t" in json.dumps(done)) == (True, foretold["diff"], False)
    there = files(sandbox.host)
    for check in (True, False):
        again = sandbox.module("walg_schedule", given, check=check)
        assert (again["changed"], files(sandbox.host)) == (False, there)
    assert cluster.sql("SELECT 1") == "1"


def test_what_the_job_is_told_only_its_user_can_read(sandbox: Sandbox) -> None:
    path = sandbox.host / "config" / "main.job.json"
    told = json.loads(path.read_text())
    assert (told["backup"]["minute"], told["retention"]["days"], told["hooks"]["webhook"]) == ("7", 31, SECRET)
    owner = pwd.getpwnam(sandbox.user).pw_uid
    assert (path.stat().st_mode & 0o7777, path.stat().st_uid) == (0o600, owner)
    read = sandbox.run(["cat", str(path)], user=sandbox.user)
    assert (read.returncode, json.loads(read.stdout)) == (0, told)
    if os.geteuid() == 0:
        assert "Permission denied" in read_as(STRANGER, path).stderr


def test_cron_calls_the_job_as_that_user(sandbox: Sandbox) -> None:
    text = (sandbox.host / "cron" / "mapswipe-walg-main").read_text()
    for verb in ("check", "run"):
        user, command = call_of(text, verb)
        assert user == sandbox.user
        assert command.split()[0] == str(sandbox.host / "program" / "walg-job")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can read as another user")
def test_node_exporter_reads_the_metrics_and_nothing_else(sandbox: Sandbox, metrics: Path) -> None:
    """The job writes them as the cluster's owner; the exporter is another user, and follows the link."""
    state = sandbox.host / "state" / "main"
    script = (
        'umask 022; echo "walg_up 1" >"$0/.new" && mv "$0/.new" "$0/metrics.prom"; umask 077; echo s >"$0/facts.json"'
    )
    assert sandbox.run(["sh", "-c", script, str(state)], user=sandbox.user).returncode == 0
    for above in (sandbox.host, *sandbox.host.parents):
        if not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)
    seen = read_as(STRANGER, metrics / "mapswipe-walg-main.prom")
    assert (seen.returncode, seen.stdout) == (0, "walg_up 1\n"), seen.stderr
    assert read_as(STRANGER, state / "facts.json").returncode == 1
    listed = subprocess.run(["ls", str(state)], user=STRANGER, group=STRANGER, extra_groups=[], check=False)
    assert listed.returncode != 0


def test_away_again(sandbox: Sandbox, metrics: Path) -> None:
    given = {**options(sandbox, metrics), "state": "absent"}
    assert sandbox.module("walg_schedule", given, check=True)["changed"] is True
    assert sandbox.module("walg_schedule", given)["changed"] is True
    left = (list(metrics.iterdir()), list((sandbox.host / "cron").iterdir()))
    assert (left, (sandbox.host / "config" / "main.job.json").exists()) == (([], []), False)
    assert sandbox.module("walg_schedule", given)["changed"] is False


@pytest.mark.skipif(os.path.isdir("/run/systemd/system"), reason="systemd runs here")
def test_timers_without_systemd_are_rejected_before_anything_changes(sandbox: Sandbox, cluster: Cluster) -> None:
    before = files(sandbox.host)
    play = sandbox.play(
        "mapswipe.walg.site", sandbox.variables(cluster, walg_backup_scheduler="timer", walg_backup_keep_days=-1)
    )
    assert (play.rc, "The option retention.days is -1" in play.stdout) == (2, True), play.stdout
    play = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster, walg_backup_scheduler="timer"))
    assert (play.rc, "systemd does not run on this host" in play.stdout) == (2, True), play.stdout
    assert (play.changed(), files(sandbox.host)) == ([], before)
