# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration that is kept beside the data directory, by links of every kind: what is lost with the data directory comes back.

WAL-G backs up no link's target, and brings no link back as it was. What would keep the restored server down is refused while the
old state can still be had, and mended the same request goes on without a second fetch.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.restoring import History, archived, backup, beside, done, planned, refused
from support.sandbox import Sandbox

NAMES = ("postgresql.conf", "pg_hba.conf", "pg_ident.conf")


@pytest.fixture(scope="module")
def conf(sandbox: Sandbox) -> Path:
    return sandbox.pg_dir / "conf"


@pytest.fixture(scope="module")
def history(sandbox: Sandbox, conf: Path) -> History:
    """A cluster whose configuration, logs and statistics lie beside it; relative links and absolute ones.

    Links and includes name what lies in the data directory by its full path, too; and one link leads nowhere.
    """
    made = archived(sandbox)
    cluster = made.cluster
    cluster.stop()
    script = f"""
        mkdir -p {conf}/logs {conf}/stat
        cd {cluster.data_dir}
        for name in {" ".join(NAMES)}; do mv $name {conf}/; done
        ln -s ../conf/postgresql.conf postgresql.conf
        ln -s {conf}/pg_hba.conf pg_hba.conf
        ln -s ../conf/pg_ident.conf pg_ident.conf
        ln -s {conf}/logs log
        rm -rf pg_stat_tmp && ln -s ../conf/stat pg_stat_tmp
        mkdir certs && ln -s ../../conf/pg_hba.conf certs/deep
        mkdir -p conf.d/more && ln -s {cluster.data_dir}/conf.d/more/b.inc conf.d/b.conf
        echo "include '{cluster.data_dir}/conf.d/more/c.inc'" > conf.d/more/b.inc
        echo "work_mem = '5MB'" > conf.d/more/c.inc
        echo "include_dir '{cluster.data_dir}/conf.d'" >> {conf}/postgresql.conf
        ln -s /not/there nowhere
    """
    ended = sandbox.run(["sh", "-ec", script], user=sandbox.user)
    assert ended.returncode == 0, ended.stdout
    cluster.start()
    backup(sandbox)
    made.ship(2)
    return made


def links(history: History) -> dict[str, str]:
    data = history.cluster.data_dir
    return {str(path.relative_to(data)): str(path.readlink()) for path in sorted(data.rglob("*")) if path.is_symlink()}


def fetches(sandbox: Sandbox) -> float:
    """Return the seconds that the last run has spent on fetching; 0 if it has fetched nothing."""
    state = json.loads(sandbox.marker().read_text())
    return float(state["answer"]["seconds"].get("fetch", 0))


def test_links_are_as_they_were(sandbox: Sandbox, history: History) -> None:
    cluster = history.cluster
    rows, before = cluster.rows("t"), links(history)
    assert (len(before), cluster.sql("SHOW work_mem")) == (8, "5MB")
    cluster.ship()
    cluster.lose()
    assert planned(sandbox, "lost")["links"]["pg_hba.conf"] == before["pg_hba.conf"]
    done(sandbox, "lost")
    assert (cluster.rows("t"), links(history), cluster.sql("SHOW work_mem")) == (rows, before, "5MB")
    assert fetches(sandbox) > 0


def test_a_configuration_that_is_gone_too_is_refused_in_the_plan(
    sandbox: Sandbox, history: History, conf: Path
) -> None:
    cluster = history.cluster
    rows, before = cluster.rows("t"), links(history)
    cluster.ship()
    cluster.lose()
    conf.rename(conf.with_name("away"))
    told = refused(sandbox, "all-lost")
    for name in NAMES:
        assert f"{name} -> {before[name]}" in told
    assert "walg_restore_links" in told
    assert (cluster.data_dir.exists(), [one for one in beside(cluster.data_dir) if "all-lost" in one]) == (False, [])
    conf.with_name("away").rename(conf)
    done(sandbox, "all-lost")
    assert (cluster.rows("t"), links(history)) == (rows, before)


def test_it_may_lie_elsewhere_now(sandbox: Sandbox, history: History, conf: Path) -> None:
    cluster = history.cluster
    rows, elsewhere = cluster.rows("t"), conf.with_name("elsewhere")
    cluster.ship()
    cluster.lose()
    conf.rename(elsewhere)
    moved = {name: f"../elsewhere/{name}" for name in NAMES}
    done(sandbox, "moved", links={**moved, "log": "", "pg_stat_tmp": "", "certs/deep": ""})
    assert cluster.rows("t") == rows
    assert {name: target for name, target in links(history).items() if name in NAMES} == moved
    cluster.stop()
    done(sandbox, "moved", rollback=True) if cluster.data_dir.with_name("main.before-moved").exists() else None
    elsewhere.rename(conf)
    for name in NAMES:
        path = cluster.data_dir / name
        path.unlink()
        path.symlink_to(f"../conf/{name}")
    cluster.start()


FAULTS = {
    "an include": ("include 'more.conf'\n", "more.conf", "touch {conf}/more.conf {data}.restore-{request}/more.conf"),
    "a key that others may read": (
        "ssl = on\nssl_cert_file = '../conf/server.crt'\nssl_key_file = '../conf/server.key'\n",
        "server.key",
        "chmod 600 {conf}/server.key",
    ),
    "a log directory": (
        "logging_collector = on\nlog_directory = '../conf/no/logs'\n",
        "log_directory",
        "mkdir -p {conf}/no",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_keeps_the_server_down_is_refused_before_the_swap(
    sandbox: Sandbox, history: History, conf: Path, name: str
) -> None:
    """The data directory is lost and fetched once; then the fault is seen, mended, and the same request goes on at the swap."""
    lines, named, mend = FAULTS[name]
    cluster, request = history.cluster, name.replace(" ", "-")
    argv = "openssl req -new -x509 -days 9 -nodes -subj /CN=db -out server.crt -keyout server.key"
    made = sandbox.run(["sh", "-ec", f"cd {conf} && {argv} && chmod 644 server.key"], user=sandbox.user)
    assert made.returncode == 0, made.stdout
    rows, text = cluster.rows("t"), (conf / "postgresql.conf").read_text()
    cluster.ship()
    cluster.lose()
    (conf / "postgresql.conf").write_text(text + lines)
    for _turn in range(2):
        told = refused(sandbox, request)
        assert "would not start on" in told
        assert named in told
        assert (
            f"Way on (walg_restore_request: {request}): run it again; it continues with the swap and fetches nothing."
            in told
        )
        assert not cluster.data_dir.exists()
    command = mend.format(conf=conf, data=cluster.data_dir, request=request)
    assert sandbox.run(["sh", "-ec", command], user=sandbox.user).returncode == 0
    answer = done(sandbox, request)
    assert "fetch" not in answer["seconds"]
    assert cluster.rows("t") == rows
    cluster.stop()
    (conf / "postgresql.conf").write_text(text)
    cluster.start()


def test_a_base_backup_that_records_no_links(sandbox: Sandbox, history: History, conf: Path) -> None:
    """One of an older version, or of WAL-G alone: the check before the swap sees it, and says what was there."""
    cluster = history.cluster
    rows = cluster.rows("t")
    for path in sandbox.storage_dir.rglob("*_backup_stop_sentinel.json"):
        path.write_text(path.read_text().replace('"links":', '"no_links":'))
    for path in sandbox.storage_dir.rglob("metadata.json"):
        path.write_text(path.read_text().replace('"links":', '"no_links":'))
    cluster.ship()
    cluster.lose()
    told = refused(sandbox, "old-backup")
    assert "would not start on" in told
    assert "These were symbolic links" in told
    for name in NAMES:
        assert name in told
    inner = {"conf.d/b.conf": f"{cluster.data_dir}/conf.d/more/b.inc"}
    answer = done(sandbox, "old-backup", links={**{name: f"{conf}/{name}" for name in NAMES}, **inner})
    assert "fetch" not in answer["seconds"]
    assert cluster.rows("t") == rows


def test_given_up_nothing_is_left(sandbox: Sandbox, history: History, conf: Path) -> None:
    """Refused before the swap with a server that runs: a rollback removes what was restored, and nobody was disturbed."""
    cluster = history.cluster
    history.step()
    cluster.ship()
    lsn, rows = history.steps[-1]["lsn"], cluster.rows("t")
    backup(sandbox)
    history.ship(1)
    started = cluster.sql("SELECT pg_postmaster_start_time()")
    text = (conf / "postgresql.conf").read_text()
    (conf / "postgresql.conf").write_text(f"{text}no_such_setting = 1\n")
    lsn = history.steps[-1]["lsn"]
    told = refused(sandbox, "given-up", target_lsn=lsn, stop_running=True)
    assert "no_such_setting" in told
    assert cluster.sql("SELECT pg_postmaster_start_time()") == started
    assert done(sandbox, "given-up", rollback=True)["started"] is False
    (conf / "postgresql.conf").write_text(text)
    assert "main.restore-given-up" not in beside(cluster.data_dir)
    assert cluster.rows("t")[: len(rows)] == rows
    shutil.rmtree(conf / "no", ignore_errors=True)
