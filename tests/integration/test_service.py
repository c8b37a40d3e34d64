# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A manager of somebody's own, which gives up waiting while the server is still in its recovery."""

from __future__ import annotations

import shutil
from pathlib import Path

from support.sandbox import Cluster, Sandbox

MANAGER = """\
#!/bin/sh
as_owner() { if [ "$(id -u)" = 0 ]; then runuser -u USER -- "$@"; else "$@"; fi; }
echo "$1" >> DIRECTORY/calls
case $1 in
  start) (sleep 4; touch DIRECTORY/go) > /dev/null 2>&1 &
         as_owner PG_CTL -D DATA -l LOG -w -t 1 start ;;
  stop) as_owner PG_CTL -D DATA -m fast -w stop ;;
esac
ended=$?
echo "$1 ended with $ended" >> DIRECTORY/calls
exit $ended
"""


def recover_at_the_next_start(cluster: Cluster, command: str) -> None:
    """Let the next start be a recovery from an archive that is slow to say that it has nothing."""
    settings = f"restore_command = '{command}'\n"
    if int((cluster.data_dir / "PG_VERSION").read_text()) < 12:
        name = "recovery.conf"
    else:
        name = "recovery.signal"
        with (cluster.data_dir / "postgresql.conf").open("a", encoding="utf-8") as stream:
            stream.write(settings)
    (cluster.data_dir / name).write_text(settings)
    shutil.chown(cluster.data_dir / name, cluster.sandbox.user)


def test_a_recovery_that_outlasts_its_manager_is_no_failure(sandbox: Sandbox) -> None:
    cluster = sandbox.cluster("main")
    sandbox.configure(cluster)
    directory = sandbox.pg_dir / "manager"
    directory.mkdir()
    directory.chmod(0o777)
    manager = sandbox.control / "manager"  # root's: in a play of root's it runs as root
    text = MANAGER.replace("DIRECTORY", str(directory)).replace("DATA", str(cluster.data_dir))
    text = text.replace("PG_CTL", str(cluster.bin_dir / "pg_ctl")).replace("USER", sandbox.user)
    manager.write_text(text.replace("LOG", str(cluster.log)))
    manager.chmod(0o755)
    record = Path(sandbox.instance()["config_dir"]) / "main.env"
    record.write_text(record.read_text().replace("PG_SERVICE='pg_ctl'", f"PG_SERVICE='command:{manager}'"))
    recover_at_the_next_start(cluster, f"while [ ! -e {directory}/go ]; do sleep 0.1; done; exit 1")

    answer = sandbox.module("walg_archive", {**sandbox.instance(), "restart": "allowed"})
    assert (answer.get("failed"), answer.get("restart")) == (None, True), answer
    assert (directory / "calls").read_text().split("\n")[:-1] == [
        "stop",
        "stop ended with 0",
        "start",
        "start ended with 1",
    ]
    assert (directory / "go").exists()
    assert cluster.sql("SHOW archive_mode") == "on"
