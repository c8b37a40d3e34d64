# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects go one by one or a few at a time; what the storage holds back is named, and what depends on it stays."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _retention_look
from ansible_collections.mapswipe.walg.plugins.module_utils._backup._deletion import Deletion
from ansible_collections.mapswipe.walg.plugins.module_utils._backup._retention import Drop
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _times
from support.walg_world import World


@dataclass
class Storage:
    """Says no to what is held, fails at what is broken, and lacks what is gone."""

    held: tuple[str, ...] = ()
    broken: str = ""
    gone: str = ""
    asked: list[str] = field(default_factory=list)

    def remove(self, name: str) -> None:
        self.asked.append(name)
        if name.startswith(self.held):
            raise WalgError("no", stderr="googleapi: Error 403: Object is subject to bucket's retention policy")
        if name == self.broken:
            raise WalgError("dead", stderr="connection refused")
        if name == self.gone:
            raise WalgError("gone", stderr=f"Object {name} does not exist")


def deletion(storage: Storage) -> Deletion:
    return Deletion(cast(Any, storage), lambda _done: None)


@pytest.mark.parametrize("number", [5, 200])
def test_all_that_can_go_goes(number: int) -> None:
    names = [f"o{one}" for one in range(number)]
    storage = Storage(held=("o3",), gone="o4")
    run = deletion(storage)
    assert run.remove(names) is False
    held = [one for one in names if one.startswith("o3")]
    assert (run.locked, sorted(storage.asked)) == (held, sorted(names))
    assert run.gone == [one for one in names if one not in (*held, "o4")]


@pytest.mark.parametrize("number", [5, 200])
def test_a_storage_that_fails_ends_it_and_what_is_gone_is_known(number: int) -> None:
    storage = Storage(broken="o2")
    run = deletion(storage)
    with pytest.raises(WalgError, match="dead"):
        run.remove([f"o{one}" for one in range(number)])
    assert set(run.gone) == set(storage.asked) - {"o2"}
    assert len(storage.asked) < 40


def test_enough_that_are_locked_are_enough() -> None:
    storage = Storage(held=("o",))
    run = deletion(storage)
    assert run.remove([f"o{one}" for one in range(40)]) is False
    assert (len(storage.asked), run.untried) == (12, 28)  # of four at a time, the first ten and two more


def test_what_a_locked_backup_is_based_on_stays() -> None:
    drops = [Drop(name, "", (f"{name}.sentinel", f"{name}/part"), 1) for name in ("delta", "base", "other")]
    storage = Storage(held=("delta.sentinel",))
    assert deletion(storage).backups(drops, {"delta": ["base"]}) == ["delta", "base"]
    assert storage.asked == ["delta.sentinel", "other.sentinel", "other/part"]


def test_nothing_goes_while_a_restore_runs_here(tmp_path: Path) -> None:
    """EnterpriseDB/barman#200: retention deleted the base backup that was being restored."""
    instance = World(tmp_path).instance
    for told, rejected in (
        ({"what": "restore", "phase": "fetch", "updated": _times.now()}, True),
        ({"what": "restore", "phase": "done", "updated": _times.now()}, False),
        ({"what": "restore", "phase": "fetch", "updated": "2026-01-01T00:00:00Z"}, False),
        ({"what": "backup", "phase": "push", "updated": _times.now()}, False),
        ([], False),
    ):
        Path(instance.files.progress).write_text(json.dumps(told))
        if rejected:
            with pytest.raises(WalgError, match="restore of the instance 'main' is under way"):
                _retention_look.refuse_restoring(instance)
        else:
            _retention_look.refuse_restoring(instance)


def test_prefixes_that_are_shared() -> None:
    _retention_look.refuse_nested(["wal_005", "basebackups_005", "mapswipe_walg_owner.json_chunks"], "s")
    for strange in ("other", "walg"):
        with pytest.raises(WalgError, match="is not WAL-G's"):
            _retention_look.refuse_nested(["wal_005", strange], "s")
