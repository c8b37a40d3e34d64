# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preloaded libraries are looked for where the server looks."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _libraries
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster


def cluster(tmp_path: Path) -> Cluster:
    (tmp_path / "bin").mkdir()
    return Cluster(str(tmp_path / "data"), str(tmp_path / "bin"), "/run", os_user=User.current().name)


@pytest.mark.parametrize("place", ["lib", "lib/postgresql", "lib64/pgsql"])
def test_the_servers_own_directory(tmp_path: Path, place: str) -> None:
    found = tmp_path / place
    found.mkdir(parents=True)
    (found / "dict_snowball.so").touch()
    assert _libraries.directory(Runner(), cluster(tmp_path)) == str(found)


def test_a_package_that_lays_it_out_otherwise_says_where(tmp_path: Path) -> None:
    made = cluster(tmp_path)
    assert _libraries.directory(Runner(), made) == ""
    program = tmp_path / "bin" / "pg_config"
    program.write_text("#!/bin/sh\necho /opt/$1\n")
    program.chmod(0o755)
    assert _libraries.directory(Runner(), made) == "/opt/--pkglibdir"


def test_what_is_missing(tmp_path: Path) -> None:
    made = cluster(tmp_path)
    for path in ("lib/there.so", "more/extra.so", "data/own/x.so"):
        (tmp_path / path).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / path).touch()
    libdir = str(tmp_path / "lib")
    names = ["there", "there.so", "$libdir/there", f"{tmp_path}/more/extra", "own/x", "extra", "$libdir/extra", "lib"]
    assert _libraries.missing(made, libdir, "", names) == ["extra", "$libdir/extra", "lib"]
    assert _libraries.missing(made, libdir, f"$libdir:{tmp_path}/more", ["extra", "gone"]) == ["gone"]
