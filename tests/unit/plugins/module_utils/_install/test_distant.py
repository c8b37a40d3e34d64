# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloads for a process in a container: the outside loads, into a file that it is handed."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._install import _distant
from ansible_collections.mapswipe.walg.plugins.module_utils._install._download import Web
from support.inside import work_inside

CONTENT = b"a build" * 1000


class Here(Web):
    """The machine's client."""

    def text(self, url: str) -> str:
        return f"text of {url}"

    def save(self, url: str, stream: Any, most: int = 10) -> str:
        if len(CONTENT) > most:
            raise WalgError(f"{url} is too big.")
        stream.write(CONTENT)
        return hashlib.sha256(CONTENT).hexdigest()


def offline(url: str, *_: object) -> Any:
    raise AssertionError(f"asked for {url}")


WEB = Here(offline, 1.0)


def test_on_its_own_machine_it_loads_by_itself() -> None:
    assert _distant.within_reach(WEB) is WEB
    with pytest.raises(WalgError, match="this one is in no container"):
        _distant.DistantWeb(offline, 1.0).text("https://there")


def test_in_a_container_the_outside_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = work_inside(monkeypatch, _distant.offers(WEB))
    web = _distant.within_reach(WEB)
    assert isinstance(web, _distant.DistantWeb)
    assert web.text("https://a") == "text of https://a"
    with (tmp_path / "file").open("w+b") as stream:
        stream.write(b"begun ")
        stream.flush()
        assert web.save("https://b", stream, 7000) == hashlib.sha256(CONTENT).hexdigest()
        assert not stream.closed
    assert (tmp_path / "file").read_bytes() == b"begun " + CONTENT
    assert inside.asked[1] == ("save", {"url": "https://b", "most": 7000})
    with (tmp_path / "other").open("wb") as stream, pytest.raises(WalgError, match=r"https://b is too big\."):
        web.save("https://b", stream, 10)


def test_no_file_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    work_inside(monkeypatch)
    with pytest.raises(WalgError, match="has handed over no file"):
        _distant.offers(WEB)["save"]({"url": "https://b", "most": 7000}, None)
    with pytest.raises(io.UnsupportedOperation):
        _distant.DistantWeb(offline, 1.0).save("https://b", io.BytesIO())
