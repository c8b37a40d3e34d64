# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's own settings: what wins over what, before the fetch and after it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive._recorded import Recorded
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _own_settings
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._own_settings import Own

RECORDED = Recorded(
    {"a": "recorded", "b": "recorded", "shared_preload_libraries": "old", "c": "recorded"}, altered=["c"]
)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    for name in ("etc", "data", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "etc" / "postgresql.conf").write_text("a = 'host'\nc = 'host'\nd = 'host'\n")
    (tmp_path / "work" / "postgresql.conf").write_text("a = 'backup'\nd = 'backup'\n")
    (tmp_path / "work" / "postgresql.auto.conf").write_text("d = 'altered'\n")
    return Cluster(
        str(tmp_path / "data"),
        "/bin",
        "/run",
        os_user=User.current().name,
        start_options="-c e=called -p 5433",
        config_file=str(tmp_path / "etc" / "postgresql.conf"),
    )


def values(own: Own) -> dict[str, str]:
    return {name: one.value for name, one in own.settings.items()}


def test_the_hosts_files_come_first(cluster: Cluster) -> None:
    own = _own_settings.predicted(cluster, RECORDED, {"f": "asked", "e": "asked"})
    wanted = {"a": "host", "b": "recorded", "c": "recorded", "d": "host", "e": "called", "f": "asked", "port": "5433"}
    assert (values(own), own.files) == (wanted, True)
    assert _own_settings.place(own.settings["a"]) == f"{cluster.config_file}, line 1"
    assert _own_settings.place(own.settings["b"]) == "the base backup's record"
    assert _own_settings.place(own.settings["f"]) == "walg_restore_settings"
    work = str(Path(cluster.data_dir).with_name("work"))
    own = _own_settings.fetched(cluster, work, RECORDED, {})
    assert values(own) == {"a": "host", "b": "recorded", "c": "host", "d": "altered", "e": "called", "port": "5433"}


def test_else_those_of_the_base_backup(cluster: Cluster) -> None:
    inside = replace(cluster, config_file="", start_options="")
    assert values(_own_settings.predicted(inside, RECORDED, {})) == dict(RECORDED.settings)
    work = Path(cluster.data_dir).with_name("work")
    own = _own_settings.fetched(inside, str(work), RECORDED, {"a": "asked"})
    assert values(own) == {"a": "asked", "b": "recorded", "c": "recorded", "d": "altered"}
    (work / "other.conf").write_text("a = 'other'\n")
    named = replace(inside, start_options=f"-c config_file={cluster.data_dir}/other.conf")
    assert values(_own_settings.fetched(named, str(work), RECORDED, {}))["a"] == "other"


def test_else_the_record(cluster: Cluster) -> None:
    """As where Debian's files were lost with the host."""
    lost = replace(cluster, config_file="/nowhere/postgresql.conf", start_options="")
    work = Path(cluster.data_dir).with_name("work")
    (work / "postgresql.conf").unlink()
    own = _own_settings.fetched(lost, str(work), RECORDED, {})
    assert (values(own), own.files) == ({**RECORDED.settings, "d": "altered"}, False)


def test_numbers() -> None:
    assert [_own_settings.whole(text, 7) for text in ("40", "0x10", None, "many", "1.5")] == [40, 16, 7, 7, 7]
