# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mirror that sends its clients elsewhere gets no credentials out of them, and leads them nowhere without encryption."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible.module_utils import urls
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._install._download import Web, opener
from support import releases
from support.attackers import Tally
from support.releases import Releases

CODES = [301, 302, 303, 307, 308]
SECRET = "Basic " + base64.b64encode(b"backup:opensesame").decode()
ALONE = "Basic " + base64.b64encode(b"backup:").decode()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Releases, Releases, Releases]]:
    """The mirror that is named, another server of the same trust, and one without encryption."""
    for name in ("near", "far", "open"):
        (tmp_path / name).mkdir()
    with Releases(tmp_path / "near") as near:
        (near.directory / "files").mkdir()
        (near.directory / "files" / "it").write_text("text")
        with (
            Releases(tmp_path / "far", certificates=near.certificates) as far,
            Releases(tmp_path / "open", secure=False) as plain,
        ):
            for one in (far, plain):
                (one.directory / "files").mkdir()
                (one.directory / "files" / "it").write_text("text")
            yield near, far, plain


def fetch(near: Releases, password: str = "opensesame") -> str:
    """Ask as the module does, with its own client."""
    client = opener(urls.open_url, urls.ConnectionError, near.ca, "backup", password)
    try:
        text = Web(client, 20).text(f"{near.url}/it")
    except WalgError as exc:
        text = exc.msg
    assert "opensesame" not in text
    return text


@pytest.mark.parametrize("password", ["opensesame", ""])
def test_credentials_go_to_the_named_server_only(
    servers: tuple[Releases, Releases, Releases], tally: Tally, password: str
) -> None:
    """A user name alone is one of them."""
    near, far, _plain = servers
    for code in CODES:
        near.faults[:] = [("", releases.redirect(far.url, code))]
        far.requests.clear()
        near.requests.clear()
        text = fetch(near, password)
        tally.count({sent for _path, sent in far.requests} != {""})
        assert (text, {sent for _path, sent in near.requests}) == ("text", {SECRET if password else ALONE})


def test_no_hop_without_encryption(servers: tuple[Releases, Releases, Releases], tally: Tally) -> None:
    """Not the first, and not one on the way to a last one that is encrypted again."""
    near, far, plain = servers
    plain.faults[:] = [("", releases.redirect(far.url + "/last"))]
    for code in CODES:
        for first in (plain, far):
            near.faults[:] = [("", releases.redirect(first.url, code))]
            far.faults[:] = [("/it", releases.redirect(plain.url, code))]
            text = fetch(near)
            tally.count(bool(plain.requests) or "without encryption; that is not followed" not in text)


def test_a_file_of_the_host_is_no_answer(servers: tuple[Releases, Releases, Releases], tally: Tally) -> None:
    near = servers[0]
    for target in ("file:///etc/passwd", "ftp://localhost/it", "https://backup:x@localhost:1/it", "data:text/plain,x"):
        near.faults[:] = [("", releases.redirect_to(target))]
        tally.count("is not followed" not in fetch(near))
