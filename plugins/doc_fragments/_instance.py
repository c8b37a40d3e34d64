# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that name an instance. Private to this collection."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as mapswipe.walg._instance."""

    DOCUMENTATION = r"""
options:
  instance:
    description:
      - Name of the cluster on this host. It is part of the names of files and metrics.
      - Lower-case letters, digits, C(-) and C(_) are allowed.
    type: str
    default: main
notes:
  - Run it as root, or as the operating system user that owns the data directory. As root, it runs WAL-G and PostgreSQL's programs as that
    user.
"""

    CONFIGURED = r"""
options:
  config_dir:
    description: Directory of the instance's settings and record.
    type: str
    default: /etc/mapswipe-walg
"""
