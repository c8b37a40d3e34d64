# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of systemd: what they say, and that systemd reads them as meant."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _timer
from ansible_collections.mapswipe.walg.plugins.module_utils._backup._schedule import Job
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError

JOB = Job("main", "postgres", "/usr/local/lib/mapswipe-walg", "/etc/mapswipe-walg", "db1")
REACH = _timer.Reach(("/var/lib/postgresql/15/main",), ("/var/lib/mapswipe-walg/main", "/var/log/mapswipe-walg/main"))


def settings(text: str) -> dict[str, str]:
    """What a unit sets; of what is set several times the last."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


def test_the_names() -> None:
    names = [os.path.basename(path) for path in _timer.texts(JOB, REACH, 5, 0)]
    assert names == [f"mapswipe-walg-main-{verb}.{kind}" for verb in ("check", "run") for kind in ("service", "timer")]


def test_the_service_of_a_host() -> None:
    text = _timer.service(JOB, "run", REACH, 10)
    told = settings(text)
    assert told["ExecStart"] == (
        "/usr/local/lib/mapswipe-walg/walg-job run --instance main --config-dir /etc/mapswipe-walg --scheduled"
    )
    wanted = {
        "Type": "oneshot",
        "User": "postgres",
        "TimeoutStartSec": "infinity",
        "KillMode": "mixed",
        "Nice": "10",
        "UMask": "0077",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "SystemCallArchitectures": "native",
        "CapabilityBoundingSet": "",
    }
    assert {name: told.get(name) for name in wanted} == wanted
    writable = [line for line in text.splitlines() if line.startswith("ReadWritePaths")]
    assert writable == [f"ReadWritePaths=-{path}" for path in REACH.writes]
    assert "Nice" not in settings(_timer.service(JOB, "check", REACH))


@pytest.mark.parametrize(
    ("reads", "writes", "home", "tmp"),
    [
        (("/home/pg/key.json",), (), "read-only", "yes"),
        (("/run/user/26/key.json",), (), "read-only", "yes"),
        ((), ("/home/pg/state",), "read-only", "yes"),
        (("/homes/key.json", "/tmpfs"), (), "yes", "yes"),
        (("/tmp",), (), "yes", "no"),
        ((), ("/var/tmp/storage",), "yes", "no"),
    ],
)
def test_what_is_needed_is_not_closed(reads: tuple[str, ...], writes: tuple[str, ...], home: str, tmp: str) -> None:
    text = _timer.service(JOB, "run", _timer.Reach(reads, writes))
    told = settings(text)
    assert (told["ProtectHome"], told["PrivateTmp"]) == (home, tmp)
    assert ("ReadWritePaths=-/tmp" in text.splitlines()) is (tmp == "no")


def test_the_service_of_a_container_can_enter_it() -> None:
    """As root, with all capabilities, into other namespaces and another control group."""
    job = replace(JOB, user="root")
    text = _timer.service(job, "run", _timer.Reach((), ("/opt/mapswipe-walg/main/kit",), enters=True))
    told = settings(text)
    assert (told["User"], told["ProtectSystem"], told["ProtectHome"]) == ("root", "full", "read-only")
    assert not {"RestrictNamespaces", "CapabilityBoundingSet", "ProtectControlGroups", "PrivateDevices"} & set(told)


@pytest.mark.parametrize(("minutes", "when"), [(1, "*"), (5, "{}/5"), (7, "{}/7"), (60, "{}")])
def test_when_a_timer_fires(minutes: int, when: str) -> None:
    told = settings(_timer.timer(JOB, "check", minutes))
    assert told["OnCalendar"] == f"*-*-* *:{when.format(JOB.minute('check', minutes))}:00"
    assert (told["Persistent"], told["WantedBy"]) == ("true", "timers.target")


def test_a_path_with_a_space() -> None:
    text = _timer.service(replace(JOB, config_dir="/etc/my config"), "run", _timer.Reach((), ("/var/my state",)))
    assert '--config-dir "/etc/my config"' in text
    assert 'ReadWritePaths="-/var/my state"' in text


@pytest.mark.parametrize("bad", ["/a%h", "/a$b", '/a"b', "/a'b", "/a\\b", "/a\nb", "/\ud800"])
def test_a_path_that_systemd_reads_otherwise(bad: str) -> None:
    with pytest.raises(WalgError, match="can't be used in a systemd unit"):
        _timer.service(replace(JOB, config_dir=bad), "run", REACH)
    with pytest.raises(WalgError, match="can't be used in a systemd unit"):
        _timer.service(JOB, "run", _timer.Reach((), (bad,)))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("enters", [False, True])
@pytest.mark.parametrize("minutes", [1, 5, 60])
def test_systemd_takes_all_of_it(tmp_path: Path, enters: bool, minutes: int) -> None:
    job = tmp_path / "walg-job"
    job.write_text("#!/bin/sh\n")
    job.chmod(0o755)
    reach = _timer.Reach(("/tmp",), ("/var/my state",), enters)
    here = replace(JOB, user="root", program_dir=str(tmp_path))
    units = {Path(path).name: text for path, text in _timer.texts(here, reach, minutes, 10).items()}
    for name, text in units.items():
        (tmp_path / name).write_text(text)
    argv = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in units)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in done.stderr.splitlines() if "mapswipe-walg" in line]
    assert (done.returncode, said) == (0, []), done.stderr
