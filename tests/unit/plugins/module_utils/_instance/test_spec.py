# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that can't be right on any host: told by one rule for all modules."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _options


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"config_dir": "$HOME/x"}, "walg_config_dir is '\\$HOME/x', a relative path"),
        ({"src": "~/wal-g"}, "walg_binary_src is '~/wal-g', a relative path"),
        ({"cluster": {"data_dir": "x"}}, "walg_pg_data_dir is 'x', a relative path"),
        ({"cluster": {"bin_dir": "/a/../b"}}, "walg_pg_bin_dir is /a"),
        ({"directories": {"state_dir": "."}}, "walg_state_dir"),
        ({"binary": "wal-g"}, "walg_binary_path"),
        ({"wal_dir": "wal"}, "walg_restore_wal_dir"),
        ({"instance": "a\nb"}, "line break"),
        ({"cluster": {"data_dir": "/a\0"}}, "control character"),
        ({"push_timeout": -1}, "push_timeout is -1. Expected: a whole number from 1 to"),
        ({"storage_timeout": 0}, "storage_timeout"),
        ({"binary_src": "wal-g"}, "walg_binary_src"),
        ({"mirror_ca": "ca.pem"}, "walg_binary_mirror_ca"),
        ({"archive": {"push_timeout": 0}}, "push_timeout"),
        ({"keep": -1}, "keep"),
        ({"timeout": 10**30}, "timeout"),
        ({"archive": {"timeout": -5}}, "timeout"),
        ({"restore": {"fetch_timeout": "0"}}, "fetch_timeout"),
    ],
)
def test_what_is_refused(params: dict[str, Any], told: str) -> None:
    with pytest.raises(WalgError, match=told):
        _options.judge(params)


def test_what_is_not() -> None:
    _options.judge(
        {"config_dir": "/etc/x", "src": "", "wal_dir": None, "timeout": 0, "cluster": {"data_dir": ""}, "keep": None}
    )


def test_a_limit_that_is_higher_in_one_module() -> None:
    _options.judge({"timeout": 1}, timeout=1)
    with pytest.raises(WalgError, match=r"timeout is 0\. Expected: a whole number from 1 to"):
        _options.judge({"timeout": 0}, timeout=1)


@pytest.mark.parametrize("name", ["url_password", "primary_conninfo", "mirror", "storage", "restore"])
def test_a_secret_is_not_shown(name: str) -> None:
    with pytest.raises(WalgError) as caught:
        _options.judge({name: "Planted\n"})
    assert "Planted" not in caught.value.msg
