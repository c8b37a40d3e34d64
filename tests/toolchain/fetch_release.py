# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask a server for WAL-G's release by the collection's own code, as the module walg_install does; released.py starts this.

    python fetch_release.py look|fetch VERSION SERVER SECONDS FOLDER

The venv's Python runs it, for Ansible's download client. SERVER may be empty: where the collection asks by default. "look" fetches
the digest only, "fetch" the build too, into FOLDER, checked and started once. The answer is one object of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from ansible.module_utils import urls
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._install import _release, _workshop
from ansible_collections.mapswipe.walg.plugins.module_utils._install._download import Web, opener
from ansible_collections.mapswipe.walg.plugins.module_utils._install._wanted import Wanted
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _compatibility, _releases
from locations import VERSIONS

NOT_A_SERVER = (
    "WALG_RELEASES must be a URL that begins with https:// and names a host, without credentials, query and fragment."
)


def ask(command: str, version: str, server: str, seconds: float, folder: str) -> dict[str, Any]:
    """Return the answer: `outcome` is had, away (the server or the file), unfit (for this machine) or wrong, with `why`."""
    wanted = Wanted(os.path.join(folder, "installed", "wal-g"), version, mirror=server or _releases.PUBLISHED)
    try:
        if _release.judged(wanted.mirror).scheme != "https":
            return {"outcome": "wrong", "why": NOT_A_SERVER}
    except WalgError:
        return {"outcome": "wrong", "why": NOT_A_SERVER}
    try:
        release = wanted.release()
    except WalgError as exc:
        return {"outcome": "unfit", "why": exc.msg}
    shop = _workshop.Workshop(Runner(), folder, _workshop.starter(None))
    web = Web(opener(urls.open_url, urls.ConnectionError, "", "", ""), seconds)
    try:
        made = _release.plan(shop, web, release, wanted.path)
        if command == "fetch":
            made = _release.fetch(shop, web, made)
    except WalgError as exc:
        kind = outcome(exc)
        # What follows the first sentence of such an error is advice on the options of a play.
        return {"outcome": kind, "why": f"{exc.msg.partition('. ')[0].rstrip('.')}." if kind == "away" else exc.msg}
    return {"outcome": "had", "why": "", "url": release.url, "sha256": made.wanted, "postgres": newest(version)}


def outcome(exc: WalgError) -> str:
    """Tell what the download could not bring from what it brought and is not right: only an error of the first kind names the URL."""
    if "url" in exc.fields:
        return "away"
    return "unfit" if "missing" in exc.fields else "wrong"


def newest(version: str) -> int:
    """The newest PostgreSQL of the toolchain that this WAL-G can back up, by the collection's own rule."""
    numbers, kind = _releases.parse_version(version), _compatibility.BACKUP
    return max(
        int(one) for one in VERSIONS["postgres"] if not _compatibility.check_pair(numbers, int(one), "file", kind)
    )


if __name__ == "__main__":
    what, which, where, limit, into = sys.argv[1:]
    print(json.dumps(ask(what, which, where, float(limit), into)))
