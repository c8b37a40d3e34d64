# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Call an address: a webhook, a ping. Loaded only where there is one, since Python's own part for it takes long to load.

An address may be a secret (a webhook's is a password), so no message names more than its host.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from urllib.parse import urlsplit

from .._errors import WalgError
from .._host._waiting import OutOfTimeError, limit

_ANSWER = 1024  # bytes of an answer that are read


def fetch(address: str, timeout: int, body: bytes | None) -> None:
    """Send ``body``, or get, within ``timeout`` seconds. Raises WalgError."""
    where = urlsplit(address).hostname or "its address"
    headers = {"User-Agent": "mapswipe.walg", **({"Content-Type": "application/json"} if body else {})}
    request = urllib.request.Request(address, data=body, headers=headers, method="POST" if body else "GET")

    try:
        with limit(timeout), urllib.request.build_opener().open(request, timeout=timeout) as answer:
            answer.read(_ANSWER)
    except urllib.error.HTTPError as exc:
        exc.close()
        raise WalgError(f"{where} answered {exc.code}") from None
    except (OutOfTimeError, TimeoutError):
        raise WalgError(f"{where} did not answer within {timeout} s") from None
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "reason", exc)
        raise WalgError(f"{where} can't be reached: {type(reason).__name__}") from None
