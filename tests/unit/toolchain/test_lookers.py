# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What looks at page and rules is a step of `make tools`, which says what it could not have, ends well without it, and asks once a day."""

from __future__ import annotations

import json
import time
from pathlib import Path

import locations
import lookers
import pytest
import tools as toolchain
from locations import ToolError
from parts import Part


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tools folder, and a machine with no program at all."""
    place, empty = tmp_path / "tools", tmp_path / "bin"
    empty.mkdir()
    monkeypatch.setenv("WALG_TOOLS_DIR", str(place))
    monkeypatch.setenv("PATH", str(empty))
    monkeypatch.delenv("RETRY", raising=False)
    return place


@pytest.fixture
def nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other parts are there."""
    done = Part("other", [], [], lambda: None)
    monkeypatch.setattr(Part, "current", lambda one: not one.name.startswith("looker-") or (one.stamp.exists()))
    for name in ("venv_part", "pip_wheel_part", "gcs_part"):
        monkeypatch.setattr(f"parts.{name}", lambda: done)
    monkeypatch.setattr(toolchain, "servers_and_walg", list)
    monkeypatch.setattr(toolchain, "make_chosen", lambda _venv: [])
    monkeypatch.setattr("parts.link_clients", lambda _major: None)


@pytest.mark.usefixtures("nothing_else")
def test_without_a_source_make_tools_ends_with_0_and_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    for _run in range(2):
        assert toolchain.install() == 0
        said = capsys.readouterr()
        assert said.err == ""
        assert (
            "chromium is missing, so tests of the report's page are skipped: chromium comes from Debian's packages, which need apt-get and "
            "dpkg-deb (make tools RETRY=1 tries again)" in said.out
        )
        assert "promtool is missing, so tests of the alert rules are skipped: " in said.out
    with pytest.raises(ToolError, match="which need apt-get and dpkg-deb"):
        lookers.find("chromium")


@pytest.mark.usefixtures("nothing_else")
def test_what_was_not_to_be_had_is_asked_for_again_after_a_day_or_at_will(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lookers.due("promtool")
    toolchain.install()
    assert not lookers.due("promtool")
    monkeypatch.setenv("RETRY", "1")
    assert lookers.due("promtool")
    monkeypatch.delenv("RETRY")
    note = bare / "lookers" / "promtool.json"
    note.write_text(json.dumps({"why": "x", "at": time.time() - 25 * 3600}))
    assert lookers.due("promtool")
    note.write_text("damaged")
    assert lookers.due("promtool")


def test_the_machines_own_is_used(bare: Path) -> None:
    own = bare.parent / "bin" / "promtool"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert (lookers.find("promtool"), lookers.due("promtool")) == (own, False)
    with pytest.raises(ToolError, match="run make tools"):
        lookers.find("chromium")


def test_each_says_what_its_absence_costs() -> None:
    assert all(one["tests"] for one in locations.VERSIONS["lookers"].values())
