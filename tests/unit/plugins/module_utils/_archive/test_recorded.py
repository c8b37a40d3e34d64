# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a base backup records of its cluster's settings, and what never."""

from __future__ import annotations

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _recorded


@pytest.mark.parametrize(
    ("name", "value", "vartype", "secret"),
    [
        ("shared_buffers", "16384", "integer", False),
        ("shared_preload_libraries", "pg_stat_statements", "string", False),
        ("lc_monetary", "de_DE.utf8", "string", False),
        ("ssl_key_file", "/etc/ssl/key.pem", "string", False),
        ("password_encryption", "md5", "enum", False),
        ("pg_stat_statements.max", "100", "integer", False),
        ("auto_explain.log_level", "log", "string", False),
        ("archive_command", "x", "string", True),
        ("primary_conninfo", "host=a", "string", True),
        ("ssl_passphrase_command", "x", "string", True),
        ("cluster_name", "password=x", "string", True),
        ("synchronous_standby_names", "postgres://u:p@h", "string", True),
        ("myapp.anything", "x", "string", True),
        ("myapp.level", "3", "integer", False),
        ("pgaudit.role", "x", "string", False),
    ],
)
def test_what_may_be_secret(name: str, value: str, vartype: str, secret: bool) -> None:
    assert _recorded.may_be_secret(name, value, vartype) is secret


def test_a_record_is_read_whatever_it_is() -> None:
    assert _recorded.read({}) == _recorded.Recorded()
    odd = {"settings": [], "limits": None, "withheld": None, "origins": None, "subscriptions": ["x"], "altered": ["a"]}
    assert _recorded.read(odd) == _recorded.Recorded(altered=("a",))
    told = {"settings": {"max_connections": 5}, "limits": {"max_connections": "5"}, "origins": 3}
    assert _recorded.read(told) == _recorded.Recorded(
        {"max_connections": "5"}, limits={"max_connections": "5"}, origins=3
    )
