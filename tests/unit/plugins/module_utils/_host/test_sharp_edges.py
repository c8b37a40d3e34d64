# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inputs that once slipped through: each of these was a defect."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _times
from ansible_collections.mapswipe.walg.plugins.module_utils._host._files import FilePlan
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _record
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _conf, _recovery
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _options
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _variables
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _backups, _compatibility, _inventory


@pytest.mark.parametrize("text", ["2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T25:00:00Z"])
def test_impossible_times(text: str) -> None:
    with pytest.raises(WalgError, match="Not a time"):
        _times.moment(text)


@pytest.mark.parametrize("text", ['{"a": 1}', '[{"time": "x"}]', '["x"]', "5"])
def test_backup_lists_of_another_form(text: str) -> None:
    with pytest.raises(WalgError, match="another form"):
        _backups.parse_list(text)


def test_wal_lists_of_another_form() -> None:
    with pytest.raises(WalgError, match="another form"):
        _inventory.inventory([{"id": 1}])


def test_a_backslash_in_a_setting_is_doubled() -> None:
    assert _conf.settings_text({"x": "a\\nb'c"}) == "x = 'a\\\\nb''c'\n"


def test_a_line_break_in_a_setting_is_refused() -> None:
    with pytest.raises(WalgError, match="line break"):
        _conf.settings_text({"x": "a\nb"})


def test_the_include_leaves_other_lines_as_they_are() -> None:
    text = "# a\x0cb \u2028 c\x85 d\r\nport = 1\n"
    assert _conf.with_include(text).startswith(text)


def test_a_name_does_not_end_in_a_line_break() -> None:
    with pytest.raises(WalgError):
        _record.check_name("main\n")
    with pytest.raises(WalgError):
        _options.check_request("r1\n")


def test_an_object_with_quotes_stays_a_word_of_the_shell(tmp_path: Path) -> None:
    name = "basebackups_005/x'$(touch pwned)'y"
    (tmp_path / "plan").write_text(_recovery.plan_fragment([], name))
    argv = ["sh", "-c", '. ./plan; printf %s "$CONTROL_OBJECT"']
    assert subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True).stdout == name
    assert not (tmp_path / "pwned").exists()


def test_line_ends_are_kept_and_compared(tmp_path: Path) -> None:
    plan = FilePlan(str(tmp_path / "f"), "a\r\nb\n", 0o600, os.geteuid(), os.getegid())
    plan.apply()
    assert not plan.differs()
    (tmp_path / "f").write_bytes(b"a\nb\n")
    assert plan.differs()


def test_a_tick_that_fails_does_not_leave_the_program_behind(tmp_path: Path) -> None:
    def tick() -> None:
        raise WalgError("disk full")

    argv = ["/bin/sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 20"]
    with pytest.raises(WalgError, match="disk full"):
        Runner(tick=tick, tick_every=0.2).run(argv, timeout=15)
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_unknown_variables_are_named_with_the_nearest_known() -> None:
    known = ["walg_storage", "walg_backup_schedule"]
    _variables.refuse_unknown(["walg_storage"], known)
    _variables.refuse_unknown(["walg_anything"], [])
    with pytest.raises(WalgError, match=r"walg_backup_shedule \(did you mean walg_backup_schedule\?\)"):
        _variables.refuse_unknown(["walg_storage", "walg_backup_shedule"], known)


def test_a_version_that_does_not_serve_the_purpose_is_refused_by_name() -> None:
    _compatibility.refuse_unfit("2.0.1", 15, "gs://b/p", "backup")
    _compatibility.refuse_unfit("devel", 15, "gs://b/p", "backup")
    _compatibility.refuse_unfit(None, 15, "gs://b/p", "backup")
    _compatibility.refuse_unfit("1.1.3", 15, "gs://b/p", "restore")
    with pytest.raises(WalgError, match=r"2\.0\.1"):
        _compatibility.refuse_unfit("1.1.3", 15, "gs://b/p", "backup")
    with pytest.raises(WalgError, match=r"3\.0\.8"):
        _compatibility.refuse_unfit("3.0.9", 15, "gs://b/p", "restore")
