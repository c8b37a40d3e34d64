# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the attributes that modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments used as mapswipe.walg.attributes."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return what would change without changing it.
    support: full
  diff_mode:
    description: Returns what changed, or would change, in check mode with C(--diff).
    support: full
  platform:
    description: Operating systems that the module works on.
    platforms: linux
    support: full
"""
    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode; this module never changes anything.
    support: full
  diff_mode:
    description: Returns what changed.
    support: none
    details: Nothing ever changes.
  platform:
    description: Operating systems that the module works on.
    platforms: linux
    support: full
"""
