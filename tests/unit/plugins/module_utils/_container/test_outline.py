# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outline of YAML is what PyYAML, which docker-compose 1.x writes by, has put in."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._container import _outline
from hypothesis import given
from hypothesis import strategies as st
from support.fake_engine import old_yaml

#: As docker-compose 1.29.2 wrote it.
WRITTEN = """\
services:
  db:
    command:
    - postgres
    - -c
    - archive_mode=on
    environment:
      FROMSHELL: ''
      MULTI: "line1\\nline2: x\\n  db:\\n"
      POSTGRES_PASSWORD: 'a b $$c: ''x'' long long long long long long long long long
        long long long long long lon'
    image: postgres:14
    profiles:
    - x
    stop_grace_period: 120s
    volumes:
    - /srv/maps/init:/docker-entrypoint-initdb.d:ro
    - source: /opt/kit
      target: /opt/kit
      type: bind
    - data:/var/lib/postgresql/data:rw
version: '3.8'
volumes:
  data: {}

"""


def test_what_docker_compose_wrote() -> None:
    told = _outline.read(WRITTEN)
    assert list(told) == ["services", "version", "volumes"]
    service = told["services"]["db"]
    assert service["command"] == ["postgres", "-c", "archive_mode=on"]
    assert service["volumes"] == [
        "/srv/maps/init:/docker-entrypoint-initdb.d:ro",
        {"source": "/opt/kit", "target": "/opt/kit", "type": "bind"},
        "data:/var/lib/postgresql/data:rw",
    ]
    assert (service["image"], service["profiles"], service["stop_grace_period"]) == ("postgres:14", ["x"], "120s")
    assert service["environment"]["MULTI"] == "line1\nline2: x\n  db:\n"
    assert (told["version"], told["volumes"]) == ("3.8", {"data": {}})


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n"])
def test_nothing_is_nothing(text: str) -> None:
    assert _outline.read(text) is None


WORDS = st.text("abc/:-_ '\"#$%{}[]é\n", max_size=120)
NAMES = st.text("abc-_./:'1", min_size=1, max_size=20)
TREES: Any = st.recursive(WORDS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4))


def flat(value: Any) -> Any:
    """White space at the breaks of lines is of no interest, nor is an empty text."""
    if isinstance(value, dict):
        return {flat(key): flat(one) for key, one in value.items()}
    if isinstance(value, list):
        return [flat(one) for one in value]
    return "".join(str(value or "").split())


@given(st.dictionaries(NAMES, TREES, min_size=1, max_size=4))
def test_it_reads_what_was_written(tree: dict[str, Any]) -> None:
    assert flat(_outline.read(old_yaml(tree))) == flat(tree)
