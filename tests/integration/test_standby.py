# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole play on a streaming standby: settings and schedule only, and what is left out says why."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

from support.observe import snapshot
from support.sandbox import Cluster, Sandbox


def streaming_standby(primary: Cluster) -> Cluster:
    """Copy a stopped primary and let the copy follow it."""
    standby = primary.sandbox.idle_cluster("standby")
    primary.stop()
    shutil.copytree(primary.data_dir, standby.data_dir)
    primary.start()
    for path in (standby.data_dir, *standby.data_dir.rglob("*")):
        shutil.chown(path, primary.sandbox.user)
    (standby.data_dir / "postmaster.opts").unlink(missing_ok=True)
    connection = f"primary_conninfo = 'host={primary.socket_dir} port={primary.port} user=postgres'\n"
    conf, recovery = standby.data_dir / "postgresql.conf", "standby.signal"
    if int((standby.data_dir / "PG_VERSION").read_text()) < 12:
        recovery, connection = "recovery.conf", f"standby_mode = on\n{connection}"
    (standby.data_dir / recovery).write_text(connection)
    shutil.chown(standby.data_dir / recovery, primary.sandbox.user)
    with conf.open("a", encoding="utf-8") as stream:
        stream.write(f"port = {standby.port}\nunix_socket_directories = '{standby.socket_dir}'\nhot_standby = on\n")
        stream.write(connection if recovery == "standby.signal" else "")
    standby.start()
    return standby


def test_a_standby_gets_settings_and_schedule_only(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    primary = sandbox.cluster("main")
    sandbox.storage("main")
    primary.sql("CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 100)")
    standby = streaming_standby(primary)
    storage = sandbox.storage_dir / "main"
    variables = sandbox.variables(standby, walg_storage=f"file://{storage}")
    predicted = sandbox.play("mapswipe.walg.site", variables, "--check", "--diff")
    assert predicted.rc == 0, predicted.stdout
    done = sandbox.play("mapswipe.walg.site", variables)
    assert done.rc == 0, done.stdout
    assert done.changed() == predicted.changed()
    lines = {line["action"].split(".")[-1]: line for line in done.results}
    answers = {action: line["result"] for action, line in lines.items()}
    assert answers["walg_archive_check"]["reason"] == "a standby writes no WAL: its primary proves the archive"
    assert lines["walg_archive_check"]["status"] == "skipped"
    assert [one["reason"] for one in done.of("walg_backup")] == ["this is a standby; its primary is backed up"]
    assert [path for path in storage.rglob("*") if path.is_file()] == []
    assert standby.sql("SELECT pg_is_in_recovery(), current_setting('archive_mode')") == "t|on"
    assert (sandbox.host / "cron" / "mapswipe-walg-standby").exists()

    before = snapshot(sandbox, standby, storage)
    again = sandbox.play("mapswipe.walg.site", variables)
    assert (again.rc, again.changed()) == (0, []), again.stdout
    assert snapshot(sandbox, standby, storage) == before

    primary.sql("INSERT INTO t SELECT generate_series(101, 200)")  # it still follows, after its restart
    deadline = time.monotonic() + 20
    while standby.sql("SELECT count(*) FROM t") != "200" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert standby.sql("SELECT count(*) FROM t") == "200"
