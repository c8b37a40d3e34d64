# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layouts of which no base backup is taken, since it would lack files or never end; each with the way out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _restorable
from support.walg_world import write_cluster

ENTRY = "PG_14_202107181"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A cluster with one tablespace of the usual kind."""
    path = tmp_path / "data"
    write_cluster(path)
    for name in ("base/1", "pg_tblspc", "pg_wal", "pg_replslot/slot"):
        (path / name).mkdir(parents=True)
    space(path, tmp_path / "space", "16390")
    return path


def space(data: Path, location: Path, oid: str, target: str = "") -> None:
    """Make a tablespace, and the link to it."""
    (location / ENTRY / "1").mkdir(parents=True, exist_ok=True)
    os.symlink(target or location, data / "pg_tblspc" / oid)


def refuse(data: Path) -> None:
    _restorable.refuse_unrestorable(str(data), User.current())


def rejected(data: Path) -> str:
    with pytest.raises(WalgError) as caught:
        refuse(data)
    return caught.value.msg


def test_the_usual_layout(data: Path, tmp_path: Path) -> None:
    """Links of configuration, logs, slots and a WAL directory elsewhere do no harm; what is no cluster is another rule's."""
    (tmp_path / "wal").mkdir()
    (data / "pg_wal").rmdir()
    (data / "pg_wal").symlink_to(tmp_path / "wal")
    for name in ("pg_hba.conf", "postgresql.conf", "pg_log", "pg_replslot/slot/link", "own-link"):
        (data / name).symlink_to(tmp_path)
    (data / "pg_tblspc" / "16400" / ENTRY).mkdir(parents=True)  # allow_in_place_tablespaces
    refuse(data)
    refuse(tmp_path / "none")


def test_a_tablespace_inside_the_data_directory(data: Path) -> None:
    space(data, data / "inner", "16391")
    text = rejected(data)
    assert f"The tablespace with OID 16391 is at {data}/inner, inside {data} (the data directory)" in text
    assert "CREATE TABLESPACE" in text


def test_a_tablespace_inside_another(data: Path, tmp_path: Path) -> None:
    space(data, tmp_path / "space" / "inner", "16391")
    assert f"inside {tmp_path}/space (the tablespace 16390)" in rejected(data)


def test_a_tablespace_that_holds_the_data_directory(data: Path, tmp_path: Path) -> None:
    """WAL-G would walk in circles."""
    space(data, tmp_path, "16391")
    (data / "pg_tblspc" / "16390").unlink()
    assert (
        f"The data directory {data} is inside {tmp_path}, the directory of the tablespace with OID 16391"
        in rejected(data)
    )


def test_wal_inside_a_tablespace(data: Path, tmp_path: Path) -> None:
    (data / "pg_wal").rmdir()
    (tmp_path / "space" / "wal").mkdir()
    (data / "pg_wal").symlink_to(tmp_path / "space" / "wal")
    assert f"The WAL directory {tmp_path}/space/wal is inside {tmp_path}/space" in rejected(data)


@pytest.mark.parametrize(("how", "why"), [("relative", "is a relative path"), ("link", "is a symbolic link itself")])
def test_a_link_that_wal_g_does_not_follow(data: Path, tmp_path: Path, how: str, why: str) -> None:
    (tmp_path / "by-link").symlink_to(tmp_path / "other")
    space(data, tmp_path / "other", "16391", "../../other" if how == "relative" else str(tmp_path / "by-link"))
    text = rejected(data)
    assert f"which {why}. WAL-G does not follow it" in text
    assert f"let the first link lead to {tmp_path}/other (ln -sfn)" in text


def test_what_alter_system_wrote_is_no_link(data: Path, tmp_path: Path) -> None:
    (tmp_path / "auto").touch()
    (data / "postgresql.auto.conf").symlink_to(tmp_path / "auto")
    assert "a base backup lacks what ALTER SYSTEM has set" in rejected(data)


@pytest.mark.parametrize("where", ["base/1/2619", "pg_xact", f"pg_tblspc/16390/{ENTRY}/1/16400"])
def test_links_among_postgresqls_own_files(data: Path, tmp_path: Path, where: str) -> None:
    (tmp_path / "elsewhere").touch()
    (data / where).symlink_to(tmp_path / "elsewhere")
    named = tmp_path / "space" / where.partition("16390/")[2] if "16390" in where else data / where
    assert f"among PostgreSQL's own files: {named}. WAL-G does not follow them" in rejected(data)


def test_a_name_that_can_not_be_written_down(data: Path, tmp_path: Path) -> None:
    space(data, tmp_path / "a\nb", "16391")
    text = rejected(data)
    assert "The name of the directory of the tablespace with OID 16391" in text
    assert r"a\nb" in text
