# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays with --tags and --skip-tags, on a new host and on one that is ready: each tag does what its name says, and what can't be
done alone says why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from support.observe import files
from support.sandbox import Cluster, Play, Sandbox

READY = "mapswipe.walg.walg : Instance | Make the host ready"
ARCHIVE = "mapswipe.walg.walg_backup : Archive | Switch on archiving"
TAKE = "mapswipe.walg.walg_backup : Base backup | Take the first one on this timeline"
CRON = "mapswipe.walg.walg_backup : Schedule | Write job and schedule"
SITE = "mapswipe.walg.site"
RESTORE = "mapswipe.walg.restore"
TAGGED = str(Path(__file__).parent / "playbooks" / "tagged.yml")
SCHEDULED = "cron/mapswipe-walg-main"


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Cluster:
    made = sandbox.cluster("main")
    sandbox.storage("main")
    made.sql("CREATE TABLE t AS SELECT generate_series(1, 9) AS a")
    return made


def run(sandbox: Sandbox, cluster: Cluster, *arguments: str, playbook: str = SITE) -> Play:
    """Run a play; a restore has its request and host."""
    more: dict[str, object] = {}
    if playbook == RESTORE:
        more = {"walg_restore_request": "r", "walg_restore_stop_running": True}
        arguments = ("-e", "walg_hosts=db", *arguments)
    return sandbox.play(playbook, sandbox.variables(cluster, **more), *arguments)


def actions(play: Play) -> set[str]:
    """Return the modules of the collection that a play called on the host."""
    return {
        line["action"].rpartition(".")[2]
        for line in play.results
        if line["status"] != "skipped" and ".walg_" in line["action"]
    }


def steps(play: Play) -> list[str]:
    return [one["step"] for one in play.of("walg_instance")[-1]["steps"]]


def test_preflight_alone_looks_and_changes_nothing(sandbox: Sandbox, cluster: Cluster) -> None:
    before = (files(sandbox.host), files(sandbox.storage_dir), cluster.sql("SELECT * FROM pg_settings ORDER BY name"))
    for playbook in (SITE, RESTORE):
        play = run(sandbox, cluster, "--tags", "walg_preflight", playbook=playbook)
        assert play.rc == 0, play.stdout
        assert play.changed() == []
        assert actions(play) == {"walg_instance"}
        assert steps(play) == ["install", "programs", "settings"]
    after = (files(sandbox.host), files(sandbox.storage_dir), cluster.sql("SELECT * FROM pg_settings ORDER BY name"))
    assert after == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("--tags", "walg_backup_archive"),
        ("--tags", "walg_backup_archive", "--check"),
        ("--tags", "walg_backup_take"),
        ("--skip-tags", "walg_install"),
    ],
    ids=" ".join,
)
def test_a_new_host_is_not_ready_for_a_part(sandbox: Sandbox, cluster: Cluster, arguments: Sequence[str]) -> None:
    refused(sandbox, cluster, run(sandbox, cluster, *arguments))


def test_a_new_host_is_not_ready_for_a_restore_alone(sandbox: Sandbox, cluster: Cluster) -> None:
    refused(sandbox, cluster, run(sandbox, cluster, "--tags", "walg_restore", playbook=RESTORE))


def refused(sandbox: Sandbox, cluster: Cluster, play: Play) -> None:
    """What a new host lacks is named, with the tag that brings it, and nothing was changed."""
    assert play.rc != 0
    assert "The instance 'main' is not configured" in play.failure()
    assert "walg_configure" in play.failure()
    assert play.changed() == []
    assert files(sandbox.host) == {}
    assert not files(sandbox.storage_dir / "main")
    assert cluster.sql("SHOW archive_mode") == "off"


def test_the_look_at_the_host_is_named_where_it_is_left_out(sandbox: Sandbox, cluster: Cluster) -> None:
    play = run(sandbox, cluster, "--skip-tags", "walg_preflight,walg_install")
    assert play.rc != 0
    assert "leave walg_preflight in" in play.failure()
    assert play.changed() == []


def test_the_parts_one_after_another(sandbox: Sandbox, cluster: Cluster) -> None:
    installed = run(sandbox, cluster, "--tags", "walg_install")
    assert (installed.rc, installed.changed()) == (0, [READY]), installed.stdout
    assert actions(installed) == {"walg_instance"}
    assert cluster.sql("SHOW archive_mode") == "off"
    again = run(sandbox, cluster, "--tags", "walg_configure")
    assert (again.rc, again.changed(), steps(again)) == (0, [], []), again.stdout
    early = run(sandbox, cluster, "--tags", "walg_backup_take")
    assert early.rc != 0
    assert "archive_mode is off" in early.failure()

    foretold = run(sandbox, cluster, "--tags", "walg_backup_archive", "--check")
    archived = run(sandbox, cluster, "--tags", "walg_backup_archive")
    assert (foretold.rc, archived.rc) == (0, 0), foretold.stdout + archived.stdout
    assert foretold.changed()[0] == archived.changed()[0] == ARCHIVE
    assert {"walg_backup", "walg_schedule"} & actions(archived) == set()
    assert cluster.sql("SHOW archive_mode") == "on"

    taken = run(sandbox, cluster, "--tags", "walg_backup_take")
    assert (taken.rc, taken.changed()) == (0, [TAKE]), taken.stdout
    rest = run(sandbox, cluster, "--skip-tags", "walg_backup_schedule")
    assert (rest.rc, rest.changed()) == (0, []), rest.stdout
    assert not (sandbox.host / SCHEDULED).exists()
    scheduled = run(sandbox, cluster, "--tags", "walg_backup_schedule")
    assert (scheduled.rc, scheduled.changed()) == (0, [CRON]), scheduled.stdout
    assert (sandbox.host / SCHEDULED).exists()


def test_a_host_that_is_ready_is_left_as_it_is(sandbox: Sandbox, cluster: Cluster) -> None:
    """New settings wait for the tag that writes them, and the look names what they would change."""
    settings = files(sandbox.host / "config")
    new = sandbox.variables(cluster, walg_settings={"WALG_UPLOAD_CONCURRENCY": "3"})
    for arguments in (
        ("--tags", "walg_backup_archive"),
        ("--skip-tags", "walg_install"),
        ("--skip-tags", "walg_preflight"),
    ):
        play = sandbox.play(SITE, new, *arguments, *(("--check",) if "walg_preflight" in arguments else ()))
        assert play.rc == 0, play.stdout
        assert play.changed() == ([READY] if "walg_preflight" in arguments else [])
        assert steps(play) == ["settings"]
    assert files(sandbox.host / "config") == settings


def test_a_restore_alone(sandbox: Sandbox, cluster: Cluster) -> None:
    cluster.ship()
    prepared = run(sandbox, cluster, "--skip-tags", "walg_restore", playbook=RESTORE)
    assert (prepared.rc, prepared.changed()) == (0, []), prepared.stdout
    assert not sandbox.marker().exists()
    restored = run(sandbox, cluster, "--tags", "walg_restore", playbook=RESTORE)
    assert restored.rc == 0, restored.stdout
    assert restored.of("walg_restore")[0]["restore"]["state"] == "done"
    assert {"walg_archive", "walg_backup"} <= actions(restored)
    assert cluster.sql("SELECT sum(a) FROM t") == "45"


def test_a_tag_of_ones_own_play_runs_all_of_it(sandbox: Sandbox) -> None:
    other = sandbox.cluster("other")
    sandbox.storage("other")
    left_out = run(sandbox, other, "--tags", "walg_backup_schedule", playbook=TAGGED)
    assert (left_out.rc, actions(left_out)) == (0, set()), left_out.stdout
    done = run(sandbox, other, "--tags", "database", playbook=TAGGED)
    assert done.rc == 0, done.stdout
    assert {READY, ARCHIVE, TAKE} <= set(done.changed())
    again = run(sandbox, other, "--tags", "database", "--skip-tags", "walg_install", playbook=TAGGED)
    assert (again.rc, again.changed()) == (0, []), again.stdout


def test_a_removal_alone(sandbox: Sandbox, cluster: Cluster) -> None:
    removed = run(sandbox, cluster, "-e", "walg_hosts=db", "--tags", "walg_remove", playbook="mapswipe.walg.remove")
    assert removed.rc == 0, removed.stdout
    assert not (sandbox.host / SCHEDULED).exists()
    assert cluster.sql("SHOW archive_command").startswith("(disabled)") or cluster.sql("SHOW archive_mode") == "off"
