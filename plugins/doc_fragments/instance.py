# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options that modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments used as mapswipe.walg.instance."""

    DOCUMENTATION = r"""
options:
  instance:
    description: Name of the configured cluster on this host. It is part of the names of files, units and metrics.
    type: str
    default: main
  config_dir:
    description: Directory of the instance's settings and record.
    type: str
    default: /etc/mapswipe-walg
notes:
  - Run it as root, or as the operating system user that owns the data directory. As root, it runs WAL-G and PostgreSQL's programs as that
    user.
"""
