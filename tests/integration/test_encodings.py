# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters that are not UTF-8: names and settings are bytes of any encoding, and come back as they were."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.restoring import archived, backup, done
from support.sandbox import Sandbox

#: In Latin 1, as whoever has used such a cluster since its first day has typed them.
NAMES = b"""
CREATE DATABASE "d\xe9j\xe0";
CREATE ROLE "r\xe9mi" SUPERUSER;
CREATE TABLE "t\xe9" AS SELECT 1 AS id;
"""
LINES = b"cluster_name = 'caf\xe9'\nlog_line_prefix = '%m \xe9 '\nour.owner = 'R\xe9mi'  # \xff\xfe\n"


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
def test_names_and_settings(make_sandbox: Callable[..., Sandbox], encoding: str) -> None:
    """Each database is entered by its name when a restored cluster is looked over, and each setting is asked for."""
    sandbox = make_sandbox()
    history = archived(sandbox, initdb=("-E", encoding, "--locale=C"))
    cluster = history.cluster
    with (cluster.data_dir / "postgresql.conf").open("ab") as stream:
        stream.write(LINES)
    cluster.stop()
    cluster.start()
    if encoding != "EUC_JP":  # it has no such bytes
        script = sandbox.pg_dir / "names.sql"
        script.write_bytes(b"SET client_encoding TO 'SQL_ASCII';\n" + NAMES)
        made = sandbox.run([*cluster.psql(), "-f", str(script)], user=sandbox.user)
        assert made.returncode == 0, made.stdout
    asked = (
        "SELECT string_agg(encode(datname::text::bytea, 'hex'), ',' ORDER BY oid) FROM pg_database; "
        "SELECT encode(current_setting('our.owner')::bytea, 'hex')"
    )
    before = cluster.sql(asked)
    assert b"R\xe9mi".hex() in before
    backup(sandbox)
    history.step()
    then = history.step()
    history.ship(2)
    rows = history.numbers()
    cluster.lose()
    done(sandbox, "latest")
    assert history.numbers() == rows
    assert cluster.sql(asked) == before
    for module in ("walg_archive", "walg_archive_check", "walg_backup_info"):
        answer = sandbox.module(module, sandbox.instance())
        assert not answer.get("failed"), answer
    done(sandbox, "time", target_time=then["time"], stop_running=True)
    assert history.numbers() == list(range(int(then["rows"])))
