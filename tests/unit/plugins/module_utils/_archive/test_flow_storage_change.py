# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pushes are held back while the storage changes; what they noted as sent is forgotten, and nothing else in pg_wal."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _storage_move as change
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._locks import LockedError, locked
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._record import Instance
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster

NOTES = "pg_wal/walg_data/walg_archive_status"


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    """An instance with notes, and with other things of WAL-G and PostgreSQL beside them."""
    for name in ("state", f"data/{NOTES}", "data/pg_wal/archive_status", "data/pg_wal/walg_data/delta"):
        (tmp_path / name).mkdir(parents=True)
    for name in (f"{NOTES}/A", f"{NOTES}/B", "pg_wal/A", "pg_wal/archive_status/A.ready", "pg_wal/walg_data/delta/x"):
        (tmp_path / "data" / name).write_text("x")
    where = {f"{name}_dir": str(tmp_path / name) for name in ("config", "state", "log", "program")}
    cluster = Cluster(str(tmp_path / "data"), "/bin", "/run", os_user=User.current().name)
    return Instance(name="main", binary="/wal-g", storage="file:///new", cluster=cluster, push_timeout=1, **where)


def tree(instance: Instance) -> set[str]:
    root = Path(instance.cluster.data_dir)
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def mark(instance: Instance) -> Path:
    return Path(instance.files.storage_change)


def test_the_mark_stands_while_it_changes_and_only_the_notes_go(instance: Instance) -> None:
    before = tree(instance)
    assert not change.unfinished(instance)
    with change.moving(instance):
        assert mark(instance).read_text() == "to file:///new\n"
        assert change.unfinished(instance)
        assert tree(instance) == before
    assert not mark(instance).exists()
    assert before - tree(instance) == {f"{NOTES}/A", f"{NOTES}/B"}
    assert change.forget_sent(instance.cluster.data_dir) == 0


def test_without_notes_or_a_data_directory_there_is_nothing_to_forget(tmp_path: Path) -> None:
    assert change.forget_sent(str(tmp_path / "none")) == 0
    (tmp_path / "pg_wal").mkdir()
    assert change.forget_sent(str(tmp_path)) == 0


def test_what_fails_keeps_the_mark_for_the_next_run(instance: Instance) -> None:
    before = tree(instance)
    with pytest.raises(WalgError, match="disk"), change.moving(instance):
        raise WalgError("disk")
    assert change.unfinished(instance)
    assert tree(instance) == before
    change.lift(instance)
    change.lift(instance)
    assert not change.unfinished(instance)


def pretend_push(instance: Instance, seconds: float) -> subprocess.Popen[bytes]:
    """Start a process that looks like the wrapper, as PostgreSQL calls it."""
    code = f"import time; time.sleep({seconds})"
    argv = [sys.executable, "-c", code, f"{instance.program_dir}/wal-push", instance.record_file, "pg_wal/A"]
    process = subprocess.Popen(argv)
    threading.Thread(target=process.wait, daemon=True).start()
    return process


def test_a_push_that_runs_is_waited_for(instance: Instance) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)", "wal-push", "/other.env"]) as other:
        push = pretend_push(instance, 0.7)
        argv = [sys.executable, "-c", "import time; time.sleep(0.7)", "wal-g", "wal-push", "pg_wal/A"]
        foreign = subprocess.Popen(argv, cwd=instance.cluster.data_dir)
        threading.Thread(target=foreign.wait, daemon=True).start()
        began = time.monotonic()
        with change.moving(instance):
            assert push.poll() is not None
            assert foreign.poll() is not None
            assert other.poll() is None
        assert time.monotonic() - began < 10
        other.kill()


def test_a_push_that_does_not_end_ends_the_change(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "_GRACE", -0.5)
    before = tree(instance)
    push = pretend_push(instance, 30)
    try:
        with (
            pytest.raises(WalgError, match=r"did not end within .* its archive was not changed"),
            change.moving(instance),
        ):
            raise AssertionError("nothing may be changed now")
    finally:
        push.kill()
    assert not change.unfinished(instance)
    assert tree(instance) == before


def test_a_base_backup_comes_first(instance: Instance) -> None:
    with locked(str(Path(instance.state_dir) / "backup.lock"), "x"):
        with (
            pytest.raises(LockedError, match="base backup of the instance 'main', which must end"),
            change.moving(instance),
        ):
            raise AssertionError("nothing may be changed now")
        assert not change.unfinished(instance)
