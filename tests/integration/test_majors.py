# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job with each PostgreSQL that this WAL-G can back up, and the refusal of those that it can't."""

from __future__ import annotations

import pytest
from locations import pg_major, pg_majors
from support import cron
from support.majors import each_major, refusal, tools_for
from support.observe import snapshot
from support.sandbox import Sandbox

TABLE = "CREATE TABLE ledger (id int PRIMARY KEY, note text, raw bytea, at timestamptz);"
ROWS = "INSERT INTO ledger SELECT g, md5(g::text), decode(md5(g::text), 'hex'), now() FROM generate_series({0}, {1}) g;"


@pytest.mark.long
@pytest.mark.parametrize("major", each_major({pg_major(): "test_cycle.py does all this with it, and more"}))
def test_cycle(major: int) -> None:
    """Site, and again; rows before and after the scheduled base backup; loss; restore; every row."""
    sandbox = Sandbox(tools_for(major))
    try:
        cluster = sandbox.cluster("main")
        assert sandbox.major() == major
        sandbox.storage("main")
        storage, variables = sandbox.storage_dir / "main", sandbox.variables(cluster)
        play = sandbox.play("mapswipe.walg.site", variables)
        assert play.rc == 0, play.stdout
        before = snapshot(sandbox, cluster, storage)
        again = sandbox.play("mapswipe.walg.site", variables)
        assert (again.rc, again.changed()) == (0, []), again.stdout
        assert snapshot(sandbox, cluster, storage) == before
        cluster.sql(TABLE + ROWS.format(1, 500))
        user, command = cron.backup_of((sandbox.host / "cron" / "mapswipe-walg-main").read_text())
        job = sandbox.run(["/bin/sh", "-c", command], user=user, env={"PATH": "/usr/bin:/bin"})
        assert (job.returncode, job.stdout) == (0, "")
        taken = sorted(path.name for path in storage.glob("basebackups_005/*_backup_stop_sentinel.json"))
        assert len(taken) == 2, taken
        cluster.sql(ROWS.format(501, 900))
        cluster.ship()
        rows, system_identifier = cluster.rows("ledger"), cluster.system_identifier()
        cluster.lose()
        lost = {**variables, "walg_restore_request": "lost"}
        restore = sandbox.play("mapswipe.walg.restore", lost, "-e", "walg_hosts=db")
        assert restore.rc == 0, restore.stdout
        assert cluster.rows("ledger") == rows
        done = restore.of("walg_restore")[0]["restore"]
        assert taken[-1].startswith(done["backup"]["name"]), "the base backup that the job took"
        assert done["timeline"] == 2
        assert cluster.sql("SELECT pg_is_in_recovery()") == "f"
        assert cluster.system_identifier() == system_identifier
        cluster.sql(ROWS.format(901, 910))
        cluster.ship()
        assert list(storage.glob("wal_005/00000002*")), "the new timeline is archived"
    finally:
        sandbox.close()


REFUSED = [major for major in pg_majors() if refusal(major)]


@pytest.mark.skipif(not REFUSED, reason="this WAL-G can back up every PostgreSQL of this run")
@pytest.mark.parametrize("major", REFUSED[:1] or [0], ids=lambda major: f"pg{major}")
def test_refused_before_any_change(major: int) -> None:
    """Archiving alone would work there, and make a site believe that it is protected."""
    sandbox = Sandbox(tools_for(major))
    try:
        cluster = sandbox.cluster("main")
        assert sandbox.major() == major
        sandbox.storage("main")
        storage = sandbox.storage_dir / "main"
        before = snapshot(sandbox, cluster, storage)
        for arguments in (["--check", "--diff"], []):
            play = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster), *arguments)
            assert play.rc != 0
            assert refusal(major) in play.failure()
            assert play.changed() == []
            assert snapshot(sandbox, cluster, storage) == before
    finally:
        sandbox.close()
