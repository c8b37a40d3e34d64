# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The attributes that every module documents: a module says itself how far it supports the first three. Private to this collection."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as mapswipe.walg._attributes."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: In check mode the module returns what it would change, and changes nothing.
  diff_mode:
    description: With C(--diff) the module returns what it changed, or would change in check mode.
  idempotent:
    description: A second run with the same options changes nothing, unless the host or the storage has changed in between.
  platform:
    description: Operating systems of the managed hosts.
    platforms: linux
    support: full
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: The module never changes anything.
  diff_mode:
    support: N/A
    details: The module never changes anything.
  idempotent:
    support: full
"""

    ACTION_GROUP = r"""
options: {}
attributes:
  action_group:
    description: Groups for C(module_defaults), written C(group/NAME), whose modules share options.
    support: full
"""
