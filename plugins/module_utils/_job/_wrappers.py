# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wrappers that PostgreSQL calls, put together: each is one file on the host, and what both do is written once."""

from __future__ import annotations

from . import _wal_fetch, _wal_head, _wal_push

_TOP = """#!/bin/sh
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Managed by the Ansible collection mapswipe.walg, which puts this file together: a change made here is lost at its next run.
#"""


def texts() -> dict[str, str]:
    """Return the texts of the wrappers, by file name."""
    return {
        "wal-fetch": _put_together(_wal_fetch.ABOUT, _wal_fetch.VALUES, _wal_fetch.BODY),
        "wal-push": _put_together(_wal_push.ABOUT, _wal_push.VALUES, _wal_push.BODY),
    }


def _put_together(about: str, values: str, body: str) -> str:
    return f"{_TOP}{about}{values}{_wal_head.TEXT}{body}"
