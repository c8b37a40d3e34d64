# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job of systemd can reach: all that the instance's settings name, and what it writes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._job_spec import Hooks, JobSpec
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _metrics_link, _schedule_wanted
from support.helper_engine import placed
from support.walg_world import World

PARAMS: dict[str, Any] = {"scheduler": "timer", "cron_dir": "/etc/cron.d", "config_dir": "/etc/mapswipe-walg"}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(_metrics_link, "KNOWN", ())
    return World(tmp_path)


def test_a_host(world: World) -> None:
    spec = JobSpec(hooks=Hooks(failure_command=("/opt/tell", "/never")))
    world.root.joinpath("config", "main.json").write_text(
        '{"GOOGLE_APPLICATION_CREDENTIALS": "/home/pg/key.json", "WALG_FILE_PREFIX": "/storage", "WALG_GS_PREFIX": "gs://x"}'
    )
    wanted = _schedule_wanted.of_host(world.instance, spec, PARAMS)
    instance = world.instance
    assert set(wanted.reach.writes) == {instance.state_dir, instance.log_dir, "/storage"}
    for path in (
        "/home/pg/key.json",
        "/opt/tell",
        instance.cluster.data_dir,
        instance.config_dir,
        instance.program_dir,
    ):
        assert path in wanted.reach.reads
    assert not {"/never", "gs://x"} & set(wanted.reach.reads)
    assert (wanted.reach.enters, wanted.metrics) == (False, f"{instance.state_dir}/metrics.prom")
    assert any(path in wanted.reach.reads for path in (sys.executable, str(Path(sys.executable).resolve())))


def test_a_link_is_followed(world: World, tmp_path: Path) -> None:
    """Systemd closes what is below /home, whatever leads there."""
    (tmp_path / "key.json").symlink_to("/home/pg/key.json")
    world.root.joinpath("config", "main.json").write_text(
        f'{{"GOOGLE_APPLICATION_CREDENTIALS": "{tmp_path / "key.json"}", "WALG_FILE_PREFIX": "/storage"}}'
    )
    wanted = _schedule_wanted.of_host(world.instance, JobSpec(), PARAMS)
    assert "/home/pg/key.json" in wanted.reach.reads


def test_a_container(world: World) -> None:
    where = placed(world.root)
    wanted = _schedule_wanted.of_container(where, JobSpec(), PARAMS)
    assert (wanted.job.user, wanted.job.program_dir, wanted.job.config_dir) == (
        "root",
        where.program_dir,
        "/etc/mapswipe-walg",
    )
    assert (wanted.reach.enters, wanted.reach.writes, wanted.metrics) == (True, (where.kit,), "")
