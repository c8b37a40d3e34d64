# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links out of a data directory: which are recorded, which are refused since they would lead nowhere, and how they come back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _linked
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _data_dir
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _backups
from support.walg_world import IDENTIFIER, listed, write_cluster

ME = User.current()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with links of every kind."""
    made, conf = tmp_path / "data", tmp_path / "conf"
    write_cluster(made)
    (conf / "logs").mkdir(parents=True)
    for name in ("postgresql.conf", "pg_hba.conf", "postgresql.auto.conf"):
        (conf / name).write_text("x")
    (made / "postgresql.conf").symlink_to("../conf/postgresql.conf")
    (made / "pg_hba.conf").symlink_to(conf / "pg_hba.conf")
    (made / "postgresql.auto.conf").symlink_to(conf / "postgresql.auto.conf")
    (made / "log").symlink_to(conf / "logs")
    (made / "pg_stat_tmp").symlink_to(conf)
    (made / "dangling").symlink_to("/nowhere")
    (made / "certs").mkdir()
    (made / "certs" / "ca.crt").symlink_to("../../conf/pg_hba.conf")
    (made / "pg_wal").symlink_to(conf)
    (made / "base").mkdir()
    (made / "base" / "1").symlink_to(conf)
    return made


def backup(**recorded: Any) -> _backups.Backup:
    row = listed(1, 2, "2026-01-02T00:00:00Z")
    (made,) = _backups.parse_list(json.dumps([{**row, "user_data": {"mapswipe_walg": recorded}}]))
    return made


def planned(data: Path, made: _backups.Backup, **wanted: str) -> dict[str, str]:
    old = _data_dir.inspect(str(data), None)
    return _linked.planned(ME, made, old, str(data), wanted)


def test_what_is_recorded(data: Path) -> None:
    assert _linked.found(str(data)) == {
        "postgresql.conf": "../conf/postgresql.conf",
        "pg_hba.conf": f"{data.parent}/conf/pg_hba.conf",
        "log": f"{data.parent}/conf/logs",
        "pg_stat_tmp": f"{data.parent}/conf",
        "certs/ca.crt": "../../conf/pg_hba.conf",
    }


def test_what_is_planned(data: Path, tmp_path: Path) -> None:
    """What the base backup says counts; of one that says nothing the old directory is asked, and the user before both."""
    links = _linked.found(str(data))
    assert planned(data, backup(links=links)) == links
    assert planned(data, backup()) == {**links, "dangling": "/nowhere"}
    assert planned(data, backup(links={})) == {}
    assert planned(tmp_path / "gone", backup()) == {}
    write_cluster(tmp_path / "other", "7")
    (tmp_path / "other" / "log").symlink_to("/tmp")
    assert planned(tmp_path / "other", backup()) == {}
    assert planned(data, backup(links=links), log="/tmp") == {**links, "log": "/tmp"}
    assert str(backup().system_identifier) == IDENTIFIER


def test_what_led_nowhere_is_no_reason_to_refuse(data: Path) -> None:
    """It comes back as it was, leading there or not; what the user says counts."""
    dead = _linked.found(str(data), leading=False)
    assert dead == {"dangling": "/nowhere"}
    made = backup(links={"own": "PG_VERSION"}, dead_links={**dead, "base/1": "/x"})
    assert planned(data, made) == {"own": "PG_VERSION", **dead}
    assert planned(data, made, dangling="/tmp") == {"own": "PG_VERSION", "dangling": "/tmp"}


def test_what_would_lead_nowhere_is_refused_and_can_be_said_otherwise(data: Path) -> None:
    made = backup(links={"postgresql.conf": "../gone/postgresql.conf", "inner": "PG_VERSION", "own": str(data / "x")})
    with pytest.raises(
        WalgError, match=r"postgresql\.conf -> \.\./gone/postgresql\.conf\..*walg_restore_links"
    ) as caught:
        planned(data, made)
    assert caught.value.fields["found"] == ["postgresql.conf"], "what leads into the data directory comes with it"
    assert planned(data, made, **{"postgresql.conf": "../conf/postgresql.conf"})["inner"] == "PG_VERSION"
    assert planned(data, made, **{"postgresql.conf": ""})["postgresql.conf"] == ""


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "base/1", "pg_wal", "a/../../x", "postgresql.auto.conf", "a\nb", ""]
)
def test_names_that_are_no_such_links(data: Path, name: str) -> None:
    """The record lies in the storage, and is not believed."""
    assert planned(data, backup(links={name: "/tmp"})) == {}
    with pytest.raises(WalgError, match="walg_restore_links names"):
        _linked.refuse_unfit({name: "/tmp"})


def test_they_come_back(data: Path, tmp_path: Path) -> None:
    links, work = _linked.found(str(data)), tmp_path / "data.restore-r1"
    write_cluster(work)
    for name in ("postgresql.conf", "pg_hba.conf"):
        (work / name).symlink_to(f"/{name}")
    (work / "certs").mkdir()
    (work / "certs" / "ca.crt").symlink_to("/certs/ca.crt")
    assert _linked.lost(str(work)) == ["certs/ca.crt", "pg_hba.conf", "postgresql.conf"]
    _linked.after_fetch(str(work))
    assert (work / "pg_stat_tmp").is_dir()
    (work / "pg_stat_tmp" / "global.stat").write_text("x")
    for _turn in range(2):
        _linked.lay(str(work), {**links, "left/out": ""})
        assert _linked.found(str(work)) == links
    assert _linked.lost(str(work)) == []
    assert sorted(os.listdir(tmp_path / "conf")) == ["logs", "pg_hba.conf", "postgresql.auto.conf", "postgresql.conf"]


def test_what_alter_system_had_set_is_not_lost_in_silence(tmp_path: Path) -> None:
    write_cluster(tmp_path / "work")
    path = tmp_path / "work" / "postgresql.auto.conf"
    path.symlink_to("/postgresql.auto.conf")
    with pytest.raises(WalgError, match=r"was a symbolic link when it was taken\. Put that file in the place of"):
        _linked.refuse_lost_settings(str(tmp_path / "work"))
    path.unlink()
    path.write_text("work_mem = '6MB'\n")
    _linked.refuse_lost_settings(str(tmp_path / "work"))


def test_a_file_in_the_place_of_a_link_is_not_overwritten(tmp_path: Path) -> None:
    write_cluster(tmp_path / "work")
    (tmp_path / "work" / "pg_hba.conf").write_text("mine")
    with pytest.raises(WalgError, match="is a file"):
        _linked.lay(str(tmp_path / "work"), {"pg_hba.conf": "/etc/pg_hba.conf"})
    assert (tmp_path / "work" / "pg_hba.conf").read_text() == "mine"
