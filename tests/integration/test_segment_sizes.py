# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""initdb --wal-segsize: WAL-G is told by us, and every row comes back, on this host and on one that knows nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import pytest
from locations import pg_major
from support import cron
from support.restoring import archived, done
from support.sandbox import Sandbox

MIB = 1024 * 1024
TABLE = "CREATE TABLE ledger (id int PRIMARY KEY, note text);"
ROWS = "INSERT INTO ledger SELECT g, md5(g::text) FROM generate_series({0}, {1}) g;"
NOW = (
    "SELECT pg_sleep(0.1); SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'); "
    "SELECT pg_sleep(0.1)"
)


def mib_of(wanted: int) -> int:
    """Return the size that this PostgreSQL can have: in 10 it is compiled in."""
    return wanted if pg_major() >= 11 else 16


def sized(mib: int) -> tuple[str, ...]:
    """Return initdb's option, which PostgreSQL 10 does not have."""
    return ("--wal-segsize", str(mib)) if pg_major() >= 11 else ()


def told(sandbox: Sandbox) -> str:
    """Return what the settings say to WAL-G, whose default is 16."""
    return str(json.loads((sandbox.host / "config" / "main.json").read_text()).get("WALG_PG_WAL_SIZE", "16"))


@pytest.mark.parametrize("mib", sorted({mib_of(1), mib_of(32)}))
def test_latest_a_time_and_a_standby(make_sandbox: Callable[..., Sandbox], mib: int) -> None:
    sandbox = make_sandbox()
    history = archived(sandbox, initdb=sized(mib))
    cluster = history.cluster
    history.ship(2)
    then = history.step()
    history.ship(1)
    assert told(sandbox) == str(mib)
    shown = sandbox.module("walg_backup_info", sandbox.instance())
    assert (shown["segment_size"], len(shown["windows"]), shown["windows"][0]["missing"]) == (mib * MIB, 1, None)
    rows = history.numbers()
    cluster.lose()
    assert sandbox.module("walg_backup_info", sandbox.instance())["segment_size"] == mib * MIB
    done(sandbox, "latest")
    assert history.numbers() == rows
    done(sandbox, "time", target_time=then["time"], timeline=1, stop_running=True)
    assert history.numbers() == list(range(int(then["rows"])))
    cluster.ship()  # the newest timeline is in the archive
    cluster.lose()
    done(sandbox, "standby", standby=True, timeline=1, archive="none")
    assert cluster.sql("SELECT pg_is_in_recovery(), timeline_id FROM pg_control_checkpoint()") == "t|1"
    assert history.numbers() == rows
    assert cluster.sql("SHOW recovery_target_timeline" if pg_major() >= 12 else "SELECT 1") == "1"


def test_the_largest_segments(make_sandbox: Callable[..., Sandbox]) -> None:
    """1 GiB each. They are nearly empty, which makes them quick to compress and costs the disk little."""
    sandbox = make_sandbox()
    history = archived(sandbox, initdb=sized(mib_of(1024)))
    then = history.step()
    history.ship(1)
    assert told(sandbox) == str(mib_of(1024))
    rows = history.numbers()
    history.cluster.lose()
    done(sandbox, "latest")
    assert history.numbers() == rows
    done(sandbox, "time", target_time=then["time"], timeline=1, stop_running=True)
    assert history.numbers() == list(range(int(then["rows"])))


def test_the_whole_play_a_new_host_and_a_time(sandbox: Sandbox) -> None:
    """64 MiB: min_wal_size is below two segments by default. The new host has no directory and no settings of the old one."""
    cluster = sandbox.cluster("main", sized(64))
    sandbox.storage("main")
    variables = sandbox.variables(cluster)
    play = sandbox.play("mapswipe.walg.site", variables)
    assert play.rc == 0, play.stdout
    again = sandbox.play("mapswipe.walg.site", variables)
    assert (again.rc, again.changed()) == (0, []), again.stdout
    cluster.sql(TABLE + ROWS.format(1, 500))
    user, command = cron.backup_of((sandbox.host / "cron" / "mapswipe-walg-main").read_text())
    job = sandbox.run(["/bin/sh", "-c", command], user=user, env={"PATH": "/usr/bin:/bin"})
    assert (job.returncode, job.stdout) == (0, "")
    cluster.sql(ROWS.format(501, 700))
    then, before = cluster.sql(NOW), cluster.rows("ledger")
    cluster.sql(ROWS.format(701, 900))
    cluster.ship()
    rows = cluster.rows("ledger")
    cluster.lose()
    shutil.rmtree(sandbox.host)
    sandbox.host.mkdir()
    for request, target, wanted in (("latest", {}, rows), ("time", {"walg_restore_target_time": then}, before)):
        asked = {**variables, **target, "walg_restore_request": request, "walg_restore_timeline": 1}
        restore = sandbox.play(
            "mapswipe.walg.restore", asked, "-e", "walg_hosts=db", "-e", "walg_restore_stop_running=true"
        )
        assert restore.rc == 0, restore.stdout
        assert cluster.rows("ledger") == wanted
        assert told(sandbox) == str(mib_of(64))


def test_a_setting_that_is_not_the_cluster_s(make_sandbox: Callable[..., Sandbox]) -> None:
    """Refused by the cluster, and by its archive where it is lost."""
    sandbox = make_sandbox()
    history = archived(sandbox, initdb=sized(1))
    config = sandbox.host / "config" / "main.json"
    for source, lost in (("the cluster in", False), ("the cluster whose base backups are in", True)):
        if lost:
            history.cluster.lose()
        before = config.read_bytes()
        with pytest.raises(
            AssertionError, match=rf"is 64 MiB, but {source} \S+ has segments of {mib_of(1)} MiB"
        ) as caught:
            sandbox.configure(history.cluster, settings={"WALG_PG_WAL_SIZE": "64"})
        assert "WALG_PG_WAL_SIZE in walg_settings is 64 MiB" in str(caught.value)
        assert f"but {source}" in str(caught.value)
        assert config.read_bytes() == before
