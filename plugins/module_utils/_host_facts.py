# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a host decides whether a cluster's indexes are right on it. Kept with each base backup. Private to this collection."""

from __future__ import annotations

import platform

#: What ICU a server sorts by; the collation "und-x-icu" exists wherever there is ICU.
ICU_VERSION = (
    "SELECT coalesce(max(pg_collation_actual_version(oid)), '') FROM pg_collation "
    "WHERE collprovider = 'i' AND collname = 'und-x-icu'"
)


def libc() -> str:
    """Return this host's C library and its version, such as "glibc 2.36"; text sorts as it says."""
    return " ".join(platform.libc_ver()).strip()


def system() -> str:
    """Return the operating system as it calls itself, such as "Debian GNU/Linux 12 (bookworm)"; empty if it does not say."""
    try:
        with open("/etc/os-release", encoding="utf-8") as stream:
            lines = dict(line.rstrip("\n").split("=", 1) for line in stream if "=" in line)
    except OSError:
        return ""
    return lines.get("PRETTY_NAME", "").strip('"')
