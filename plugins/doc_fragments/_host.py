# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options for a cluster and the directories of files. Private to this collection."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as mapswipe.walg._host."""

    DOCUMENTATION = r"""
options:
  cluster:
    description: What is known already. Empty values are found automatically.
    type: dict
    default: {}
    suboptions:
      data_dir:
        description: PostgreSQL's data directory.
        type: str
      bin_dir:
        description: Directory of PostgreSQL's server programs.
        type: str
      socket_dir:
        description: Directory of the server's socket.
        type: str
      port:
        description: The server's port; it is part of the socket's name too.
        type: str
      user:
        description: Database role to connect as; it must be a superuser. C(postgres) if not given.
        type: str
      database:
        description: Database to connect to. C(postgres) if not given.
        type: str
      os_user:
        description: Operating system user that owns the data directory, by name or number.
        type: str
      pg_untested:
        description: Whether to accept a PostgreSQL version that is newer than all that this collection was tested with.
        type: bool
      service:
        description:
          - "Who starts and stops the server: C(systemd:UNIT), C(pg_ctlcluster:VERSION/NAME), C(pg_ctl), C(command:/path) or
            C(none). The command is called with C(start) or C(stop). After C(stop) it must keep the server down until C(start)."
          - It is C(none) if stopping the server would end its container, or if a supervisor would start it again.
        type: str
  directories:
    description:
      - Directories. An empty value means the default, which follows the filesystem hierarchy standard for root and is below the home
        directory for any other user.
    type: dict
    default: {}
    suboptions:
      bin_dir:
        description: Directory for WAL-G.
        type: str
      config_dir:
        description: Directory for settings and records.
        type: str
      program_dir:
        description: Directory for the wrappers and the job.
        type: str
      state_dir:
        description: Directory for state; each instance has its own below it.
        type: str
      log_dir:
        description: Directory for logs; each instance has its own below it.
        type: str
      cron_dir:
        description: Directory for cron files.
        type: str
"""

    FOUND = r"""
options:
  binary:
    description: Path of the WAL-G binary of this instance.
    type: str
  cluster:
    description: The cluster as M(mapswipe.walg.walg_instance_info) returns it.
    type: dict
  directories:
    description: The directories as M(mapswipe.walg.walg_instance_info) returns them.
    type: dict
"""
