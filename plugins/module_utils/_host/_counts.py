# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts with their nouns, as messages have them. Pure."""

from __future__ import annotations


def many(count: int, what: str) -> str:
    """Return a count with its noun, such as 1 hole or 2 holes."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def agree(count: int, what: str, one: str, more: str) -> str:
    """Return a count with its noun and verb, such as 1 file waits or 2 files wait."""
    return f"{many(count, what)} {one if count == 1 else more}"
