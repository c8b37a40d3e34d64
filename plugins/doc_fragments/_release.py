# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options for a release of WAL-G. Private to this collection."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as mapswipe.walg._release."""

    DOCUMENTATION = r"""
options:
  version:
    description:
      - The WAL-G version, such as V(3.0.8). The binary must report it.
      - A binary built without a version stamp reports C(devel) and is rejected unless this is V(devel).
    type: str
  mirror:
    description: Where releases are downloaded from. It must provide C(TAG/ASSET) below this URL, as WAL-G's release page does.
    type: str
    default: https://github.com/wal-g/wal-g/releases/download
"""
