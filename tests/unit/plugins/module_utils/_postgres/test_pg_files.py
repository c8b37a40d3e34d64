# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration files with includes are read as the server reads them."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _pg_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def values(found: _pg_files.ConfigFiles) -> dict[str, str]:
    return {name: one.value for name, one in found.settings.items()}


def test_includes_are_followed_where_they_stand(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "etc/postgresql.conf": "a = 1\nb = 1\nINCLUDE 'sub/one.conf'\nb = 3\ninclude_dir conf.d\n",
            "etc/sub/one.conf": "a = 2\nb = 2\ninclude_if_exists 'gone.conf'\ninclude 'two.conf'\n",
            "etc/sub/two.conf": "c = 'here'\n",
            "etc/conf.d/b.conf": "d = 2\n",
            "etc/conf.d/Z.conf": "d = 1\n",
            "etc/conf.d/.c.conf": "d = 3\n",
            "etc/conf.d/c.conf.off": "d = 4\n",
            "etc/conf.d/dir.conf/x.conf": "d = 5\n",
            "data/postgresql.auto.conf": "c = 'altered'\n",
        },
    )
    found = _pg_files.read(None, str(root / "etc/postgresql.conf"), str(root / "data"))
    assert values(found) == {"a": "2", "b": "3", "c": "altered", "d": "2"}
    assert found.problems == ()
    names = [os.path.relpath(path, root) for path in found.files]
    assert names == [
        "etc/postgresql.conf",
        "etc/sub/one.conf",
        "etc/sub/two.conf",
        "etc/conf.d/Z.conf",
        "etc/conf.d/b.conf",
        "data/postgresql.auto.conf",
    ]
    assert found.settings["b"] == _pg_files.Setting("b", "3", str(root / "etc/postgresql.conf"), 4)
    assert [one.value for one in found.lines if one.name == "d"] == ["1", "2"]


def test_what_the_server_would_refuse_is_told(tmp_path: Path) -> None:
    main = tmp_path / "postgresql.conf"
    write(
        tmp_path,
        {
            "postgresql.conf": "include 'gone.conf'\nx = \ninclude ''\ninclude_dir 'none.d'\ninclude 'dir'\ninclude 'loop.conf'\n",
            "loop.conf": "y = 1\ninclude 'loop.conf'\n",
        },
    )
    (tmp_path / "dir").mkdir()
    found = _pg_files.read(None, str(main))
    assert [str(one) for one in found.problems] == [
        f"{tmp_path}/gone.conf: does not exist ({main}, line 1)",
        f"{main}: is not a setting in PostgreSQL's syntax ({main}, line 2)",
        f"include: names nothing ({main}, line 3)",
        f"{tmp_path}/none.d: can't be read (No such file or directory) ({main}, line 4)",
        f"{tmp_path}/dir: can't be read (Is a directory) ({main}, line 5)",
        f"{tmp_path}/loop.conf: included more than 10 levels deep ({tmp_path}/loop.conf, line 2)",
    ]
    assert values(found) == {"y": "1"}
    gone = _pg_files.read(None, str(tmp_path / "no.conf"), str(tmp_path / "data"))
    assert [str(one) for one in gone.problems] == [f"{tmp_path}/no.conf: does not exist"]
    assert (gone.settings, gone.files) == ({}, ())


def test_nothing_holds_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.conf")
    write(tmp_path, {"postgresql.conf": "include 'pipe.conf'\ninclude '/dev/null'\na = 1\n"})
    found = _pg_files.read(None, str(tmp_path / "postgresql.conf"))
    assert values(found) == {"a": "1"}
    assert found.problems == ()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_are_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.conf"
    path.write_bytes(content.replace(b"include", b""))
    assert _pg_files.read(None, str(path)).files == (str(path),)


def test_bytes_that_are_no_utf_8_stay_what_they_were(tmp_path: Path) -> None:
    path = tmp_path / "latin.conf"
    path.write_bytes(b"cluster_name = 'M\xfcnchen'\n")
    value = _pg_files.read(None, str(path)).settings["cluster_name"].value
    assert value.encode("utf-8", "surrogateescape") == b"M\xfcnchen"
