# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server that recovers beside is the cluster itself, made harmless: its settings, its origins, its libraries."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.restoring import History, archived, ask, backup, done, planned, refused, restore, unharmed
from support.sandbox import Cluster, Sandbox

ORIGINS = 15
STAMPS = "SELECT string_agg(id || ' ' || pg_xact_commit_timestamp(xmin), ',' ORDER BY id) FROM t"
PROGRESS = """SELECT string_agg(external_id || ' ' || remote_lsn, ',' ORDER BY external_id) FROM pg_replication_origin_status
WHERE external_id LIKE 'o%'"""


def origin_setting(sandbox: Sandbox) -> str:
    return "max_active_replication_origins" if sandbox.major() >= 18 else "max_replication_slots"


@pytest.fixture(scope="module")
def library(sandbox: Sandbox) -> Path:
    """A preloaded library of somebody's own, which may be missing on another host."""
    libdir = next(sandbox.pg_bin_dir.parent.glob("lib*/**/auto_explain.so"))
    made = sandbox.pg_dir / "lib" / "somebodys.so"
    sandbox.run(["mkdir", str(made.parent)], user=sandbox.user)
    shutil.copy(libdir, made)
    made.chmod(0o755)
    return made


@pytest.fixture(scope="module")
def history(sandbox: Sandbox, library: Path) -> History:
    """Ten rows with commit timestamps, more origins than a stock server has room for, a prepared transaction; all settings of its own."""
    made = archived(
        sandbox,
        track_commit_timestamp="on",
        max_prepared_transactions="5",
        shared_preload_libraries=str(library.with_suffix("")),
        **{origin_setting(sandbox): "40", "myapp.region": "north"},
    )
    cluster = made.cluster
    sandbox.run(["mkdir", str(cluster.data_dir / "extra.d")], user=sandbox.user)
    (cluster.data_dir / "extra.d" / "own.conf").write_text("myapp.site = 'it''s'\nwork_mem = 5MB\nlc_messages = 'C'\n")
    with open(cluster.data_dir / "postgresql.conf", "a", encoding="utf-8") as stream:
        stream.write("include_dir 'extra.d'\n")
    cluster.sql("SELECT pg_reload_conf()")
    cluster.sql("ALTER SYSTEM SET maintenance_work_mem = '20MB'")
    for number in range(10):
        origin(cluster, number)
    backup(sandbox)
    for number in range(10, ORIGINS):
        origin(cluster, number)
    for _turn in range(8):
        made.step()
    cluster.sql("BEGIN; INSERT INTO t VALUES (100); PREPARE TRANSACTION 'open'")
    made.step()
    cluster.ship()
    return made


def origin(cluster: Cluster, number: int) -> None:
    cluster.sql(f"SELECT pg_replication_origin_create('o{number:02}')")
    cluster.sql(f"SELECT pg_replication_origin_advance('o{number:02}', '0/{number + 1:X}')")


def test_everything_is_the_clusters_own(sandbox: Sandbox, history: History) -> None:
    """Commit timestamps, origins with their progress, a prepared transaction, settings: the same at the target and after it."""
    cluster = history.cluster
    stamps, progress = cluster.sql(STAMPS), cluster.sql(PROGRESS)
    assert (stamps.count(","), progress.count(",")) == (9, ORIGINS - 1)
    lsn = cluster.sql("SELECT pg_current_wal_insert_lsn()")
    history.step()
    with unharmed(cluster):
        found = done(sandbox, "own", target_lsn=lsn, action="pause")
        assert ask(sandbox, found["connect"], STAMPS) == stamps
        assert ask(sandbox, found["connect"], "SHOW myapp.site") == "it's"
        assert ask(sandbox, found["connect"], "SHOW maintenance_work_mem") == "20MB"
        assert ask(sandbox, found["connect"], "SHOW shared_preload_libraries").endswith('somebodys"')
    done(sandbox, "own", target_lsn=lsn, stop_running=True)
    assert cluster.sql(STAMPS) == stamps
    assert cluster.sql(PROGRESS) == progress
    assert cluster.sql("SHOW work_mem") == "5MB"
    cluster.sql("COMMIT PREPARED 'open'")
    assert cluster.sql("SELECT count(*) FROM t WHERE id = 100") == "1"
    done(sandbox, "own", rollback=True, stop_running=True)


def test_settings_of_roles_and_databases_do_not_reach_our_questions(sandbox: Sandbox, history: History) -> None:
    cluster = history.cluster
    hostile = ("role = weak", "statement_timeout = 1", "default_transaction_read_only = on")
    settings = "".join(f"ALTER ROLE postgres IN DATABASE postgres SET {one};" for one in hostile)
    # In one session, which was there before them.
    lsn = cluster.sql(
        f"CREATE ROLE weak; {settings} ALTER DATABASE postgres SET search_path = nowhere; SELECT pg_current_wal_insert_lsn();"
        "ALTER ROLE postgres IN DATABASE postgres RESET ALL; ALTER DATABASE postgres RESET search_path"
    )
    cluster.ship()
    with unharmed(cluster):
        found = done(sandbox, "hostile", target_lsn=lsn, action="pause")
    assert found["state"] == "paused"
    restore(sandbox, "hostile", discard=True)


def test_a_library_that_this_host_lacks(sandbox: Sandbox, history: History, library: Path) -> None:
    """Refused in the plan by name, with the line that leaves exactly that out; with it, restored and started without."""
    cluster = history.cluster
    wanted = cluster.rows("t")
    aside = library.with_name("gone")
    library.rename(aside)
    try:
        with unharmed(cluster):
            text = refused(sandbox, "library", stop_running=True)
        assert "preloads " + str(library.with_suffix("")) in text
        assert 'walg_restore_settings: {shared_preload_libraries: ""}' in text
        assert refused(sandbox, "library", stop_running=True, check=True) == text
        done(sandbox, "library", stop_running=True, settings={"shared_preload_libraries": ""})
        assert cluster.rows("t") == wanted
        assert cluster.sql("SHOW shared_preload_libraries") == ""
    finally:
        aside.rename(library)
    done(sandbox, "library", rollback=True, stop_running=True)
    assert cluster.sql("SHOW shared_preload_libraries") == str(library.with_suffix(""))


def test_an_unknown_old_base_backup_is_refused_before_recovery(
    sandbox: Sandbox, history: History, library: Path
) -> None:
    """Without a record in the base backup, what it asks of the host is known when it is fetched; nothing is touched."""
    cluster = history.cluster
    sentinels = sandbox.storage_dir / "main" / "basebackups_005"
    kept = {path: path.read_text() for path in sentinels.glob("*.json")}
    metadata = {path: path.read_text() for path in sentinels.glob("*/metadata.json")}
    aside = library.with_name("gone")
    library.rename(aside)
    try:
        for path, text in {**kept, **metadata}.items():
            path.write_text(text.replace('"mapswipe_walg"', '"somebody"'))
        with unharmed(cluster):
            text = refused(sandbox, "old", target="immediate", stop_running=True)
    finally:
        aside.rename(library)
        for path, text_before in {**kept, **metadata}.items():
            path.write_text(text_before)
    assert "postgresql.conf, line" in text
    assert f"{cluster.data_dir} was not touched" in text
    assert restore(sandbox, "old", discard=True)["changed"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"{origins}": 5}, "10 replication origins, for which recovery needs {origins} = 10"),
        ({"no_such_setting": "1"}, "no_such_setting (walg_restore_settings)"),
        ({"lc_monetary": "xx_XX"}, "lc_monetary (walg_restore_settings)"),
        ({"work_mem": "much"}, 'work_mem (walg_restore_settings): invalid value for parameter "work_mem": "much"'),
        ({"recovery_target_xid": "5"}, "walg_restore_settings can't set recovery_target_xid"),
        ({"port": 5}, "walg_restore_settings can't set port"),
    ],
)
def test_what_this_host_can_not_do_is_refused_in_the_plan(
    sandbox: Sandbox, history: History, settings: dict[str, object], expected: str
) -> None:
    name = origin_setting(sandbox)
    given = {key.format(origins=name): value for key, value in settings.items()}
    with unharmed(history.cluster):
        text = refused(sandbox, "unfit", check=True, stop_running=True, settings=given)
    assert expected.replace("{origins}", name) in text


def test_origins_that_came_after_the_base_backup(sandbox: Sandbox, history: History) -> None:
    """The record can't tell of them: recovery fails, says why, and the same request goes on with the line that raises the limit."""
    name, cluster = origin_setting(sandbox), history.cluster
    asked = {"target_lsn": cluster.sql("SELECT pg_current_wal_insert_lsn()"), "action": "pause"}
    history.step()
    progress = cluster.sql(PROGRESS)
    with unharmed(cluster):
        text = refused(sandbox, "later", settings={name: 12}, **asked)
        assert f"Increase {name}" in text.replace('"', "")
        found = done(sandbox, "later", settings={name: 16}, **asked)
        assert ask(sandbox, found["connect"], PROGRESS) == progress
        assert ask(sandbox, found["connect"], f"SHOW {name}") == "16"
        assert restore(sandbox, "later", discard=True)["changed"]


def test_settings_outside_of_the_data_directory(sandbox: Sandbox) -> None:
    """The configuration lies elsewhere on this host, and some of it on the command line only: the recovery server has both."""
    cluster = sandbox.idle_cluster("outside")
    cluster.create(track_commit_timestamp="on", default_transaction_isolation="serializable")
    outside = sandbox.pg_dir / "outside.etc"
    sandbox.run(["mkdir", str(outside)], user=sandbox.user)
    sandbox.run(["mv", str(cluster.data_dir / "postgresql.conf"), str(outside)], user=sandbox.user)
    slots = origin_setting(sandbox)
    cluster.start("-c", f"config_file={outside / 'postgresql.conf'}", "-c", f"{slots}=30")
    sandbox.configure(cluster)
    instance = sandbox.instance("outside")
    assert sandbox.module("walg_archive", {**instance, "restart": "allowed"})["changed"]
    cluster.sql("CREATE TABLE t (id int PRIMARY KEY)")
    history = History(cluster)
    for number in range(ORIGINS):
        origin(cluster, number)
        history.step()
    assert sandbox.module("walg_backup", {**instance, "max_age": 0})["changed"]
    history.step()
    cluster.ship()
    stamps, progress = cluster.sql(STAMPS), cluster.sql(PROGRESS)
    cluster.lose()
    asked = {**instance, "request": "outside"}
    plan = sandbox.module("walg_restore", asked, check=True)
    assert not plan.get("failed"), plan
    found = sandbox.module("walg_restore", asked)
    assert found.get("changed"), found
    assert cluster.sql(STAMPS) == stamps
    assert cluster.sql(PROGRESS) == progress
    assert cluster.sql("SHOW config_file") == str(outside / "postgresql.conf")


def test_the_record_has_no_secret(sandbox: Sandbox, history: History) -> None:
    cluster = history.cluster
    with open(cluster.data_dir / "extra.d" / "own.conf", "a", encoding="utf-8") as stream:
        stream.write("myapp.api_token = 'geheim1'\n")
    cluster.sql("SELECT pg_reload_conf()")
    if sandbox.major() > 11:
        cluster.sql("ALTER SYSTEM SET primary_conninfo = 'host=x password=geheim2'; SELECT pg_reload_conf()")
    name = backup(sandbox)["name"]
    (sentinel,) = (sandbox.storage_dir / "main" / "basebackups_005").glob(f"{name}_backup_stop_sentinel.json")
    text = sentinel.read_text()
    assert "track_commit_timestamp" in text
    assert "geheim" not in text
    assert planned(sandbox, "secret", stop_running=True)["backup"]["name"] == name
    assert os.access(cluster.data_dir, os.X_OK)
