# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_schedule: check, do, check, do, and away again, by cron and by timers; what the job is told; what it fails with."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _timer
from ansible_collections.mapswipe.walg.plugins.module_utils._container import _placed
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _directories, _job_spec
from ansible_collections.mapswipe.walg.plugins.module_utils._job import _metrics_file
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _supervisor
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _metrics_link
from ansible_collections.mapswipe.walg.plugins.modules import walg_schedule
from support.cron import call_of
from support.helper_engine import placed, write
from support.module_call import Call
from support.observe import files
from support.walg_world import World

SYSTEMCTL = """#!/bin/sh
# Answers as systemctl does, of timers alone, and keeps what it was told.
echo "$*" >>{root}/told
verb=$1
[ "$verb" != daemon-reload ] || exit 0
shift
now=
[ "$1" != --now ] || {{ now=1; shift; }}
code=0
for unit; do
    case $verb in
        is-enabled) [ -e {root}/enabled.$unit ] && echo enabled || {{ echo disabled; code=1; }} ;;
        is-active) [ -e {root}/active.$unit ] && echo active || {{ echo inactive; code=3; }} ;;
        enable) [ -e {units}/$unit ] || exit 1; touch {root}/enabled.$unit; [ -z "$now" ] || touch {root}/active.$unit ;;
        disable) [ -e {units}/$unit ] || exit 1; rm -f {root}/enabled.$unit; [ -z "$now" ] || rm -f {root}/active.$unit ;;
        stop) rm -f {root}/active.$unit ;;
        *) exit 1 ;;
    esac
done
exit $code
"""
ADDRESS = "https://chat.example/s3cr3t"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def cron(world: World) -> Path:
    """The cron file."""
    return world.root / "cron.d" / "mapswipe-walg-main"


@pytest.fixture
def units(world: World, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where units are. This host has no systemd."""
    made = world.root / "units"
    made.mkdir()
    monkeypatch.setattr(_timer, "UNIT_DIR", str(made))
    monkeypatch.setattr(_supervisor, "systemd_runs", lambda: False)
    monkeypatch.setattr(_metrics_link, "KNOWN", (str(world.root / "metrics"),))
    return made


@pytest.fixture
def systemd(world: World, units: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that keeps in files what it was told; its calls are in the file told."""
    root = world.root / "systemd"
    root.mkdir()
    (root / "told").touch()
    program = root / "systemctl"
    program.write_text(SYSTEMCTL.format(root=root, units=units))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{root}:{os.environ['PATH']}")
    monkeypatch.setattr(_supervisor, "systemd_runs", lambda: True)
    return root


@pytest.fixture
def call(
    world: World, units: Path, cron: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Call:
    assert units.is_dir()
    options = {"config_dir": world.instance.config_dir, "cron_dir": str(cron.parent)}
    return Call(walg_schedule, capfd, monkeypatch, **options)


def spec(world: World) -> _job_spec.JobSpec:
    return _job_spec.load(world.instance.config_dir, "main", os.geteuid())


def spec_file(world: World) -> Path:
    return Path(_job_spec.spec_path(world.instance.config_dir, "main"))


def after(answer: dict[str, Any], path: Path) -> str:
    """What the diff says that a file will hold."""
    (found,) = [one["after"] for one in answer["diff"] if one["after_header"] == str(path)]
    return str(found)


def test_check_do_check_do(call: Call, world: World, cron: Path) -> None:
    foretold = call(check=True)
    assert (foretold["changed"], foretold["path"], cron.parent.exists()) == (True, str(cron), False)
    assert not spec_file(world).exists()
    done = call()
    assert (done["changed"], done["diff"]) == (True, foretold["diff"])
    assert (cron.read_text(), cron.stat().st_mode & 0o7777) == (after(done, cron), 0o644)
    user, program = world.instance.cluster.os_user, f"{world.instance.program_dir}/walg-job"
    for verb in ("check", "run"):
        job = f"{program} {verb} --instance main --config-dir {world.instance.config_dir} --scheduled"
        assert call_of(cron.read_text(), verb) == (user, job)
        assert re.search(rf"^[0-4]-59/5 \* \* \* \* {user} {re.escape(job)}$", cron.read_text(), re.MULTILINE)
    assert (done["spec_file"], spec_file(world).read_text()) == (str(spec_file(world)), after(done, spec_file(world)))
    assert (spec_file(world).stat().st_mode & 0o7777, spec_file(world).stat().st_uid) == (0o600, os.geteuid())
    before = files(world.root)
    for check in (True, False):
        again = call(check=check)
        assert (again["changed"], again["diff"], files(world.root)) == (False, [], before)
    assert call(minute="7", hour="3", weekday="0", check_minutes=1)["changed"] is True
    assert "\n* * * * * " in cron.read_text()
    told = spec(world)
    assert told.backup is not None
    assert (told.backup.minute, told.backup.hour, told.backup.weekday, told.check_minutes) == ("7", "3", "0", 1)


def test_the_options_reach_the_job(call: Call, world: World) -> None:
    call(
        source="standby",
        retention={"days": 31},
        verify={"rate": 9},
        wal_pressure="drop",
        pressure_limit=7,
        metrics_dir="",
    )
    told = spec(world)
    assert told.backup is not None
    assert told.retention is not None
    assert (told.backup.source, told.retention.days, told.retention.minimum_backups) == ("standby", 31, 2)
    assert (told.verification.rate, told.verification.days, told.wal_pressure, told.pressure_limit) == (
        9,
        30,
        "drop",
        7,
    )
    call(expire=False)
    assert spec(world).retention is None


def test_no_address_is_shown(call: Call, world: World) -> None:
    hooks = {"webhook": ADDRESS, "ping": f"{ADDRESS}/ping", "failure_command": ["/bin/tell", "s3cr3t"]}
    for check in (True, False):
        answer = call(check=check, hooks=hooks)
        assert answer["changed"] is True
        assert "s3cr3t" not in str(answer)
        assert "/bin/tell" in str(answer)
    assert spec(world).hooks == _job_spec.Hooks(("/bin/tell", "s3cr3t"), ADDRESS, f"{ADDRESS}/ping", 10)
    changed = call(hooks={**hooks, "webhook": f"{ADDRESS}2"})
    (diff,) = changed["diff"]
    assert ("(secret, changed)" in diff["after"], diff["before"] == diff["after"], "s3cr3t" in str(changed)) == (
        True,
        False,
        False,
    )
    gone = call(state="absent")
    assert "s3cr3t" not in str(gone)


def test_away_again(call: Call, world: World, cron: Path) -> None:
    (world.root / "metrics").mkdir()
    call()
    text, before = cron.read_text(), files(world.root)
    foretold = call(check=True, state="absent")
    assert (foretold["changed"], files(world.root)) == (True, before)
    assert {"before_header": str(cron), "after_header": str(cron), "before": text, "after": ""} in foretold["diff"]
    done = call(state="absent")
    assert (done["changed"], done["diff"]) == (True, foretold["diff"])
    assert (cron.exists(), spec_file(world).exists(), os.listdir(world.root / "metrics")) == (False, False, [])
    for check in (True, False):
        assert call(check=check, state="absent")["changed"] is False


# --- timers -----------------------------------------------------------------------------------------------------------


def told(systemd: Path) -> list[str]:
    """What systemctl was told since the last look, without questions."""
    lines = (systemd / "told").read_text().splitlines()
    (systemd / "told").write_text("")
    return [line for line in lines if not line.startswith("is-")]


TIMERS = "mapswipe-walg-main-check.timer mapswipe-walg-main-run.timer"


def test_timers_check_do_check_do(call: Call, world: World, cron: Path, units: Path, systemd: Path) -> None:
    call()  # by cron
    assert told(systemd) == []
    before = cron.read_text()
    foretold = call(check=True, scheduler="timer")
    assert (foretold["changed"], told(systemd), os.listdir(units), cron.read_text()) == (True, [], [], before)
    assert foretold["path"] == str(units / "mapswipe-walg-main-run.timer")
    done = call(scheduler="timer")
    assert (done["changed"], done["diff"], cron.exists()) == (True, foretold["diff"], False)
    assert told(systemd) == ["daemon-reload", f"enable --now {TIMERS}"]
    assert sorted(os.listdir(units)) == sorted(map(os.path.basename, _timer.paths("main")))
    for path in map(Path, _timer.paths("main")):
        assert (path.read_text(), path.stat().st_mode & 0o7777) == (after(done, path), 0o644)
    for check in (True, False):
        again = call(check=check, scheduler="timer")
        assert (again["changed"], again["diff"], told(systemd)) == (False, [], [])
    assert call(scheduler="timer", check_minutes=10)["changed"] is True
    assert told(systemd) == [f"stop {TIMERS}", "daemon-reload", f"enable --now {TIMERS}"]


def test_back_to_cron(call: Call, cron: Path, units: Path, systemd: Path) -> None:
    call(scheduler="timer")
    told(systemd)
    foretold = call(check=True)
    done = call()
    assert (done["diff"], told(systemd)) == (foretold["diff"], [f"disable --now {TIMERS}", "daemon-reload"])
    assert (os.listdir(units), cron.exists(), call()["changed"]) == ([], True, False)


def test_timers_away_again(call: Call, world: World, units: Path, systemd: Path) -> None:
    call(scheduler="timer")
    told(systemd)
    assert call(state="absent")["changed"] is True
    assert told(systemd) == [f"disable --now {TIMERS}", "daemon-reload"]
    assert (os.listdir(units), spec_file(world).exists(), call(state="absent")["changed"]) == ([], False, False)


@pytest.mark.parametrize("lost", ["enabled", "active"])
def test_a_timer_that_was_stopped_is_started_again(call: Call, systemd: Path, lost: str) -> None:
    call(scheduler="timer")
    (systemd / f"{lost}.mapswipe-walg-main-run.timer").unlink()
    told(systemd)
    assert call(check=True, scheduler="timer")["changed"] is True
    assert call(scheduler="timer")["changed"] is True
    assert told(systemd) == [f"enable --now {TIMERS}"]
    assert call(scheduler="timer")["changed"] is False


def test_a_removal_that_was_killed_is_finished(call: Call, units: Path, systemd: Path) -> None:
    call(scheduler="timer")
    (units / "mapswipe-walg-main-check.timer").unlink()
    told(systemd)
    assert call(state="absent")["changed"] is True
    assert told(systemd) == ["disable --now mapswipe-walg-main-run.timer", "daemon-reload"]
    assert os.listdir(units) == []


def test_systemctl_that_fails(call: Call, systemd: Path) -> None:
    (systemd / "systemctl").write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2; exit 1\n")
    assert "`systemctl daemon-reload` failed: Failed to connect to bus" in call(scheduler="timer")["msg"]


def test_timers_without_systemd(call: Call, world: World) -> None:
    before = files(world.root)
    for check in (True, False):
        assert "systemd does not run on this host" in call(check=check, scheduler="timer")["msg"]
    assert files(world.root) == before


def test_units_that_are_left_where_systemd_does_not_run(call: Call, units: Path) -> None:
    """As in an image that is changed while it does not run."""
    for path in _timer.paths("main"):
        Path(path).touch()
    (units / "timers.target.wants").mkdir()
    (units / "timers.target.wants" / "mapswipe-walg-main-run.timer").symlink_to(units / "mapswipe-walg-main-run.timer")
    assert call()["changed"] is True
    assert files(units).keys() == {"timers.target.wants"}


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_a_link_where_node_exporter_looks(call: Call, world: World) -> None:
    link = world.root / "metrics" / "mapswipe-walg-main.prom"
    assert call()["metrics_link"] == ""
    link.parent.mkdir()
    foretold = call(check=True)
    assert (foretold["changed"], foretold["metrics_link"], os.listdir(link.parent)) == (True, str(link), [])
    done = call()
    assert (done["diff"], os.readlink(link)) == (foretold["diff"], f"{world.instance.state_dir}/metrics.prom")
    assert spec(world).metrics_dir == str(link.parent)
    assert call()["changed"] is False
    (world.root / "other").mkdir()
    assert call(metrics_dir=str(world.root / "other"))["changed"] is True
    assert (os.listdir(link.parent), os.listdir(world.root / "other")) == ([], [link.name])
    assert call(metrics_dir="")["changed"] is True
    assert (os.listdir(world.root / "other"), call(metrics_dir="")["changed"]) == ([], False)


def test_what_is_not_ours_stays(call: Call, world: World) -> None:
    place = world.root / "metrics"
    place.mkdir()
    other = place / "mapswipe-walg-main.prom"
    for make in (lambda: other.write_text("walg 1"), lambda: other.symlink_to("/etc/passwd")):
        make()
        before = files(world.root)
        for check in (True, False):
            assert "is not the collection's link" in call(check=check)["msg"]
        assert call(state="absent")["changed"] is False
        assert files(world.root) == before
        other.unlink()


def test_a_directory_that_is_not_there(call: Call, world: World) -> None:
    assert "there is no such directory" in call(metrics_dir=str(world.root / "missing"))["msg"]


def test_a_state_directory_that_others_can_not_pass(call: Call, world: World) -> None:
    (world.root / "metrics").mkdir()
    os.chmod(world.instance.state_dir, 0o750)
    (warning,) = [one for one in call()["warnings"] if "chmod o+x" in one]
    assert warning.endswith(world.instance.state_dir)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a link as another user")
def test_the_owner_of_the_directory_makes_the_link(call: Call, world: World) -> None:
    """So a directory that its owner exchanges for a link leads root nowhere: he can write only what he can write."""
    place = world.root / "metrics"
    place.mkdir()
    os.chown(place, 65534, 65534)
    for above in (world.root, *world.root.parents):
        if not above.stat().st_mode & 0o001:
            os.chmod(above, 0o711)
    call()
    assert (place / "mapswipe-walg-main.prom").lstat().st_uid == 65534
    call(state="absent")
    assert os.listdir(place) == []


# --- more -------------------------------------------------------------------------------------------------------------


def test_of_an_instance_that_is_gone_it_can_be_removed(call: Call, world: World, cron: Path) -> None:
    call()
    Path(world.instance.record_file).unlink()
    assert "is not configured" in call()["msg"]
    assert call(state="absent")["changed"] is True


def test_cron_does_not_read_any_other_directory(call: Call, cron: Path) -> None:
    (warning,) = [one for one in call(check=True)["warnings"] if "Cron" in one]
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
    for verb in ("check", "run"):
        job = f"{where.program_dir}/walg-job {verb} --instance main --config-dir {config} --scheduled"
        assert call_of(cron.read_text(), verb) == ("root", job)
    found = spec_file(world).stat()
    assert (found.st_mode & 0o7777, found.st_uid) == (0o600, os.geteuid())
    assert call()["changed"] is False
    assert (call(state="absent")["changed"], cron.exists()) == (True, False)


def test_the_metrics_of_a_server_in_a_container(call: Call, world: World) -> None:
    """The machine's root writes them itself, so only where nobody else can exchange the directory."""
    write(placed(world.root), Path(world.instance.config_dir))
    place = world.root / "metrics"
    place.mkdir()
    done = call()
    path = place / "mapswipe-walg-main.prom"
    assert (spec(world).metrics_dir, done["metrics_link"], os.listdir(place)) == (str(place), str(path), [])
    path.write_text('# HELP walg_up x\nwalg_up{instance="main"} 1\n')
    assert call()["changed"] is False
    assert call(state="absent")["changed"] is True
    assert os.listdir(place) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has somebody to fear")
def test_root_writes_no_metrics_where_others_write(call: Call, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As into Debian's directory, which is the user prometheus's: that user's link leads to a file in a directory of root."""
    own, place = world.root / "own", world.root / "metrics"
    monkeypatch.setitem(_directories._ROOT, "state_dir", str(own))
    config = Path(world.instance.config_dir)
    write(placed(world.root), config)
    place.mkdir()
    os.chown(place, 65534, 65534)
    for above in (world.root, *world.root.parents):
        if not above.stat().st_mode & 0o001:
            os.chmod(above, 0o711)
    link, file = place / "mapswipe-walg-main.prom", own / "mapswipe-walg-main.prom"
    foretold = call(check=True)
    assert (foretold["metrics_link"], own.exists(), os.listdir(place)) == (str(link), False, [])
    done = call()
    assert (done["diff"], done["metrics_link"]) == (foretold["diff"], str(link))
    assert (os.readlink(link), link.lstat().st_uid, spec(world).metrics_dir) == (str(file), 65534, str(own))
    assert (own.stat().st_uid, own.stat().st_mode & 0o7777) == (0, 0o755)
    _metrics_file.publish(str(config), "main", spec(world).metrics_dir, "walg_up 1\n")
    assert (link.read_text(), file.stat().st_mode & 0o7777, call()["changed"]) == ("walg_up 1\n", 0o644, False)
    assert "belongs to the user 'nobody'" in call(metrics_dir=str(place))["msg"]
    assert call(state="absent")["changed"] is True
    assert (os.listdir(place), os.listdir(own)) == ([], [])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has somebody to fear")
def test_a_directory_of_root_that_others_can_change_gets_no_metrics(call: Call, world: World) -> None:
    write(placed(world.root), Path(world.instance.config_dir))
    place = world.root / "metrics"
    place.mkdir()
    place.chmod(0o777)
    done = call()
    assert (spec(world).metrics_dir, done["metrics_link"]) == ("", "")
    assert any("written by root" in one for one in done["warnings"])


def test_timers_of_an_instance_in_a_container(call: Call, world: World, units: Path, systemd: Path, cron: Path) -> None:
    """They are the machine's: its systemd starts the job as root, which enters the container."""
    write(placed(world.root), Path(world.instance.config_dir))
    foretold = call(check=True, scheduler="timer", hooks={"failure_command": ["/tmp/tell"]})
    done = call(scheduler="timer", hooks={"failure_command": ["/tmp/tell"]})
    assert (done["diff"], cron.exists()) == (foretold["diff"], False)
    assert told(systemd) == ["daemon-reload", f"enable --now {TIMERS}"]
    text = (units / "mapswipe-walg-main-run.service").read_text().splitlines()
    assert {"User=root", "ProtectSystem=full", "After=network.target docker.service", "PrivateTmp=no"} <= set(text)
    assert call(scheduler="timer", hooks={"failure_command": ["/tmp/tell"]})["changed"] is False
    assert call(state="absent")["changed"] is True
    assert os.listdir(units) == []


def test_a_record_of_a_container_that_is_damaged(call: Call, world: World, cron: Path) -> None:
    Path(_placed.record_path(world.instance.config_dir, "main")).write_text("{}")
    assert "is not a record of this version" in call()["msg"]
    assert not cron.exists()
