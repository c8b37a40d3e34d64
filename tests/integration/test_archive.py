# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_archive against real servers: refusals, reload, restart, what overrides us."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.restoring import archived, segments
from support.sandbox import Cluster, Sandbox

Configured = Callable[..., tuple[Sandbox, Cluster]]


@pytest.fixture
def configured(make_sandbox: Callable[..., Sandbox], request: pytest.FixtureRequest) -> Configured:
    """A factory of clusters with WAL-G and settings, archiving not yet switched on."""

    def make(**settings: str) -> tuple[Sandbox, Cluster]:
        sandbox = make_sandbox()
        cluster = sandbox.cluster("main", **settings)
        sandbox.configure(cluster)
        request.addfinalizer(cluster.stop)
        return sandbox, cluster

    return make


def state(cluster: Cluster) -> tuple[str, str, dict[str, str]]:
    """Return what must not change: the start, the settings, the configuration files."""
    files = {path.name: path.read_text() for path in cluster.data_dir.glob("*.conf")}
    return (
        cluster.sql("SELECT pg_postmaster_start_time()"),
        cluster.sql("SELECT name, setting, sourcefile FROM pg_settings ORDER BY 1"),
        files,
    )


def refused(sandbox: Sandbox, cluster: Cluster, **options: Any) -> str:
    """Run walg_archive, which has to refuse before the first change, in check mode as well; return the message."""
    before = state(cluster)
    messages = set()
    for check in (True, False):
        answer = sandbox.module("walg_archive", {**sandbox.instance(), **options}, check=check)
        assert answer.get("failed"), answer
        messages.add(str(answer["msg"]))
    assert state(cluster) == before
    assert len(messages) == 1
    return messages.pop()


def test_a_stock_server_is_not_restarted_unasked(configured: Configured) -> None:
    sandbox, cluster = configured()
    message = refused(sandbox, cluster)
    assert "walg_backup_restart: allowed" in message
    assert "archive_mode" in message


def test_reload_is_enough_where_archive_mode_is_on(configured: Configured) -> None:
    sandbox, cluster = configured(archive_mode="on")
    started = cluster.sql("SELECT pg_postmaster_start_time()")
    first = sandbox.module("walg_archive", sandbox.instance())
    assert (first.get("changed"), first.get("restart")) == (True, False), first
    assert cluster.sql("SELECT sourcefile FROM pg_settings WHERE name = 'archive_command'") == first["conf_file"]
    assert cluster.sql("SELECT pg_postmaster_start_time()") == started
    assert sandbox.module("walg_archive", sandbox.instance())["changed"] is False
    assert sandbox.module("walg_archive", {**sandbox.instance(), "timeout": 77}, check=True)["changed"] is True
    assert cluster.sql("SHOW archive_timeout") == "1min"
    assert sandbox.module("walg_archive", {**sandbox.instance(), "timeout": 77})["changed"] is True
    assert cluster.sql("SHOW archive_timeout") == "77s"


def test_minimal_wal_level_is_raised_with_the_restart(configured: Configured) -> None:
    sandbox, cluster = configured(wal_level="minimal", max_wal_senders="0")
    options = {**sandbox.instance(), "restart": "allowed"}
    assert sandbox.module("walg_archive", options).get("restart") is True
    assert cluster.sql("SHOW wal_level") == "replica"
    assert cluster.sql("SHOW archive_mode") == "on"
    assert sandbox.module("walg_archive", options)["changed"] is False


def test_the_options_of_a_start_by_hand_survive_the_restart(configured: Configured) -> None:
    sandbox, cluster = configured()
    cluster.stop()
    cluster.start("-c", "work_mem=7MB")
    assert sandbox.module("walg_archive", {**sandbox.instance(), "restart": "allowed"}).get("restart") is True
    assert cluster.sql("SHOW work_mem") == "7MB"


@pytest.mark.parametrize("mode", ["on", "off"])
def test_a_foreign_archive_command_is_refused_unless_replaced(configured: Configured, mode: str) -> None:
    sandbox, cluster = configured(archive_mode=mode, archive_command="/opt/other/push %p")
    assert "/opt/other/push %p" in refused(sandbox, cluster, restart="allowed")
    note = cluster.data_dir / "pg_wal/walg_data/walg_archive_status/000000010000000000000001"
    for argv in (["mkdir", "-p", str(note.parent)], ["touch", str(note)]):
        assert sandbox.run(argv, user=sandbox.user).returncode == 0
    assert sandbox.module("walg_archive", {**sandbox.instance(), "restart": "allowed", "replace": True}).get("changed")
    assert "wal-push" in cluster.sql("SHOW archive_command")
    assert note.exists() is (mode == "off"), "what was sent ahead by another command is not in this storage"


def test_alter_system_is_named(configured: Configured) -> None:
    sandbox, cluster = configured(archive_mode="on")
    cluster.sql("ALTER SYSTEM SET archive_timeout = '3min'")
    cluster.sql("SELECT pg_reload_conf()")
    wait_for(cluster, "archive_timeout", "3min")
    assert "ALTER SYSTEM RESET archive_timeout" in refused(sandbox, cluster)


def test_the_command_line_is_named(configured: Configured) -> None:
    sandbox, cluster = configured()
    cluster.stop()
    cluster.start("-c", "archive_mode=off")
    assert "command line" in refused(sandbox, cluster, restart="allowed")


def test_an_error_in_the_configuration_is_named(configured: Configured) -> None:
    sandbox, cluster = configured(archive_mode="on")
    with open(cluster.data_dir / "postgresql.conf", "a", encoding="utf-8") as stream:
        stream.write("work_mem = 'much'\n")
    assert "work_mem" in refused(sandbox, cluster) or "invalid value" in refused(sandbox, cluster)


def test_a_storage_that_is_not_there_is_refused(configured: Configured) -> None:
    sandbox, cluster = configured(archive_mode="on")
    shutil.rmtree(sandbox.storage_dir / "main")
    assert str(sandbox.storage_dir / "main") in refused(sandbox, cluster)


def test_the_archive_of_another_cluster_is_refused(configured: Configured) -> None:
    sandbox, _cluster = configured(archive_mode="on")
    assert sandbox.module("walg_archive", sandbox.instance())["changed"]
    assert sandbox.module("walg_backup", sandbox.instance())["changed"]
    other = sandbox.cluster("other", archive_mode="on")
    with pytest.raises(AssertionError, match="another cluster"):
        sandbox.configure(other, storage=f"file://{sandbox.storage_dir}/main")
    assert not (sandbox.host / "config" / "other.json").exists()
    assert other.sql("SHOW archive_command") == ""


def test_a_server_that_reports_another_directory_is_refused(configured: Configured) -> None:
    sandbox, cluster = configured(archive_mode="on")
    other = sandbox.cluster("other")
    record = sandbox.host / "config" / "main.env"
    record.write_text(
        record.read_text()
        .replace(f"PG_PORT='{cluster.port}'", f"PG_PORT='{other.port}'")
        .replace(f"PG_SOCKET_DIR='{cluster.socket_dir}'", f"PG_SOCKET_DIR='{other.socket_dir}'")
    )
    assert str(other.data_dir) in refused(sandbox, cluster)


def test_a_failing_archive_is_found_out(configured: Configured) -> None:
    sandbox, _cluster = configured(archive_mode="on")
    assert sandbox.module("walg_archive", sandbox.instance())["changed"]
    storage = Path(sandbox.storage_dir / "main")
    shutil.move(storage, storage.with_suffix(".gone"))
    answer = sandbox.module("walg_archive_check", {**sandbox.instance(), "timeout": 5})
    assert answer.get("failed")
    assert "did not leave the server" in answer["msg"]
    shutil.move(storage.with_suffix(".gone"), storage)
    proved = sandbox.module("walg_archive_check", {**sandbox.instance(), "timeout": 90})
    assert proved.get("changed"), proved
    assert list(storage.glob(f"wal_005/{proved['segment']}*"))
    assert sandbox.module("walg_archive_check", sandbox.instance())["changed"] is False
    assert sandbox.module("walg_archive_check", {**sandbox.instance(), "force": True})["changed"] is True


def wait_for(cluster: Cluster, name: str, value: str) -> None:
    """Wait until a reload has arrived."""
    for _turn in range(100):
        if cluster.sql(f"SHOW {name}") == value:
            return
        time.sleep(0.05)
    raise AssertionError(f"{name} did not become {value}")


def test_a_cut_off_object_is_told_and_moved_away_it_is_sent_again(make_sandbox: Callable[..., Sandbox]) -> None:
    """Before 3.0.9 WAL-G writes into a file storage under the final name: the next push is refused, with the way out."""
    sandbox = make_sandbox()
    cluster = archived(sandbox).cluster
    cluster.ship()
    object_ = segments(cluster)[-1]
    whole = object_.read_bytes()
    record = sandbox.host / "config" / "main.env"
    segment = cluster.data_dir / "pg_wal" / object_.name[:24]
    argv = [str(sandbox.host / "program" / "wal-push"), str(record), str(segment)]
    for left in (whole[: len(whole) // 2], b""):
        object_.write_bytes(left)
        for note in cluster.data_dir.rglob(f"walg_data/**/{segment.name}*"):
            note.unlink()  # WAL-G's own, that it was sent
        said = sandbox.run(["sh", "-c", 'cd "$0" && exec "$@"', str(cluster.data_dir), *argv], user=sandbox.user)
        assert said.returncode == 1, said.stdout
        assert "move it away" in said.stdout
        assert object_.read_bytes() == left, "nothing is replaced by itself"
    object_.unlink()
    said = sandbox.run(["sh", "-c", 'cd "$0" && exec "$@"', str(cluster.data_dir), *argv], user=sandbox.user)
    assert (said.returncode, object_.read_bytes()) == (0, whole), said.stdout
