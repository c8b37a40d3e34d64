# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The download client of a process in a container: the one outside downloads, over the machine's network and by its certificates."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _inside
from ._download import Web
from ._workshop import MOST

if TYPE_CHECKING:
    from .._container._session import Offer


class DistantWeb(Web):
    """Asks the process outside; see Web."""

    def text(self, url: str) -> str:
        """Return a small text file."""
        return str(_line().ask("text", url=url))

    def save(self, url: str, stream: IO[bytes], most: int = MOST) -> str:
        """Have a file written to ``stream``; return its SHA-256."""
        return str(_line().ask("save", stream.fileno(), url=url, most=most))


def _line() -> _inside.Inside:
    inside = _inside.current()
    if inside is None:
        raise WalgError("There is no process outside that could download: this one is in no container.")
    return inside


def within_reach(web: Web) -> Web:
    """Return the client that works where this process is."""
    return DistantWeb(web.open_url, web.timeout) if _inside.current() else web


def offers(web: Web) -> Mapping[str, Offer]:
    """Return what the process outside does for the one inside."""

    def text(message: Mapping[str, Any], _descriptor: int | None) -> str:
        return web.text(str(message["url"]))

    def save(message: Mapping[str, Any], descriptor: int | None) -> str:
        if descriptor is None:
            raise WalgError("The process inside has handed over no file to download into.")
        with open(os.dup(descriptor), "wb") as stream:
            return web.save(str(message["url"]), stream, int(message["most"]))

    return {"text": text, "save": save}
