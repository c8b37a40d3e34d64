# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_schedule: check, do, check, do, and away again; a minute of the instance's own; what it fails with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._container import _placed
from ansible_collections.mapswipe.walg.plugins.modules import walg_schedule
from support.helper_engine import placed, write
from support.module_call import Call
from support.observe import files
from support.walg_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def cron(world: World) -> Path:
    """The cron file."""
    return world.root / "cron.d" / "mapswipe-walg-main"


@pytest.fixture
def call(world: World, cron: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    options = {"config_dir": world.instance.config_dir, "cron_dir": str(cron.parent)}
    return Call(walg_schedule, capfd, monkeypatch, **options)


def test_check_do_check_do(call: Call, world: World, cron: Path) -> None:
    foretold = call(check=True)
    assert (foretold["changed"], foretold["path"], cron.parent.exists()) == (True, str(cron), False)
    done = call()
    assert (done["changed"], done["diff"]) == (True, foretold["diff"])
    assert (cron.read_text(), cron.stat().st_mode & 0o7777) == (done["diff"]["after"], 0o644)
    (line,) = [one for one in cron.read_text().splitlines() if "walg-job" in one]
    user = world.instance.cluster.os_user
    job = f"{world.instance.program_dir}/walg-job backup --instance main --config-dir {world.instance.config_dir}"
    assert re.fullmatch(rf"\d+ 2 \* \* \* {user} .*{re.escape(job)}.*", line)
    before = files(cron.parent)
    for check in (True, False):
        again = call(check=check)
        assert (again["changed"], files(cron.parent)) == (False, before)
        assert again["diff"]["before"] == again["diff"]["after"] == cron.read_text()
    assert call(minute="7", hour="3", weekday="0")["changed"] is True
    assert "\n7 3 * * 0 " in cron.read_text()


def test_away_again(call: Call, cron: Path) -> None:
    call()
    text = cron.read_text()
    foretold = call(check=True, state="absent")
    assert (foretold["changed"], foretold["diff"]["before"], foretold["diff"]["after"], cron.exists()) == (
        True,
        text,
        "",
        True,
    )
    assert (call(state="absent")["changed"], cron.exists()) == (True, False)
    for check in (True, False):
        assert call(check=check, state="absent")["changed"] is False


def test_of_an_instance_that_is_gone_it_can_be_removed(call: Call, world: World, cron: Path) -> None:
    call()
    Path(world.instance.record_file).unlink()
    assert "is not configured" in call()["msg"]
    assert call(state="absent")["changed"] is True


def test_cron_does_not_read_any_other_directory(call: Call, cron: Path) -> None:
    (warning,) = call(check=True)["warnings"]
    assert "Cron reads /etc/cron.d only" in warning
    assert str(cron) in warning


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"minute": "60"}, "minute"),
        ({"hour": "24"}, "hour"),
        ({"weekday": "monday"}, "day"),
        ({"minute": "1\n* * * * * root reboot"}, "holds a line break"),
        ({"instance": "../x"}, "Instance name '../x' is not allowed"),
        ({"instance": "../x", "state": "absent"}, "Instance name '../x' is not allowed"),
        ({"cron_dir": "cron.d", "state": "absent"}, "walg_cron_dir"),
        ({"cron_dir": "cron.d"}, "walg_cron_dir"),
    ],
)
def test_what_it_fails_with(call: Call, cron: Path, change: dict[str, Any], text: str) -> None:
    for check in (True, False):
        assert text in call(check=check, **change)["msg"]
        assert not cron.parent.exists()


def test_an_instance_in_a_container(call: Call, world: World, cron: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's root enters the container: there is no cron in there. The instance's record is not on the machine."""
    where, config = placed(world.root), Path(world.instance.config_dir)
    (config / "main.env").unlink()
    monkeypatch.setenv(_placed.PLANNED, _placed.render(where))
    foretold = call(check=True)
    assert (foretold["changed"], cron.exists()) == (True, False)
    monkeypatch.delenv(_placed.PLANNED)
    write(where, config)
    done = call()
    assert (done["changed"], done["diff"]) == (True, foretold["diff"])
    (line,) = [one for one in cron.read_text().splitlines() if "walg-job" in one]
    job = f"{where.program_dir}/walg-job backup --instance main --config-dir {config}"
    assert re.fullmatch(rf"\d+ 2 \* \* \* root .*{re.escape(job)}.*", line)
    assert call()["changed"] is False
    assert (call(state="absent")["changed"], cron.exists()) == (True, False)


def test_a_record_of_a_container_that_is_damaged(call: Call, world: World, cron: Path) -> None:
    Path(_placed.record_path(world.instance.config_dir, "main")).write_text("{}")
    assert "is not a record of this version" in call()["msg"]
    assert not cron.exists()
