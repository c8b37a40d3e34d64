#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out which PostgreSQL cluster an instance is and where its files belong."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_instance_info
short_description: Find the PostgreSQL cluster and the directories of an instance
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Finds the PostgreSQL data directory, programs, socket, port, user and service manager of an instance, and where
    the collection's files are on this host.
  - Options take precedence. The rest comes from the running server, then from the instance's record of an earlier run, then
    from Debian's layout of clusters (C(/etc/postgresql/VERSION/NAME), C(/var/lib/postgresql/VERSION/NAME)), which shows
    stopped clusters, and where a new host's cluster would be.
  - If there are several candidates, it fails and lists what it found.
extends_documentation_fragment:
  - mapswipe.walg.attributes.info
options:
  instance:
    description: Name of the configured cluster on this host.
    type: str
    default: main
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
  version:
    description:
      - The WAL-G version. With O(storage), a version that can't back up this PostgreSQL to that storage is rejected, and the error names
        one that can.
    type: str
  storage:
    description: The storage's URL, for O(version).
    type: str
  purpose:
    description:
      - What the instance will be used for. The module then fails early, before anything is installed or written, if this can't work here.
      - Both reject a data directory that a cluster manager controls (Patroni, repmgr, Pacemaker, Stolon, pg_auto_failover, EDB
        Failover Manager), and a O(version) that does not serve that purpose.
      - V(backup) also rejects a data directory that is missing, empty, not a cluster or of another major version than the
        programs, and one without a running server.
    type: str
    choices: [backup, restore]
  archive:
    description: With O(purpose=backup), the options for M(mapswipe.walg.walg_archive), so that it is known early if it would fail.
    type: dict
    suboptions:
      timeout:
        description: As in M(mapswipe.walg.walg_archive).
        type: int
        default: 60
      restart:
        description: As in M(mapswipe.walg.walg_archive).
        type: str
        choices: [never, allowed]
        default: never
      replace:
        description: As in M(mapswipe.walg.walg_archive).
        type: bool
        default: false
  schedule:
    description: Options of M(mapswipe.walg.walg_schedule), checked here before anything is installed.
    type: dict
    suboptions:
      minute:
        description: As there.
        type: str
      hour:
        description: As there.
        type: str
        default: "2"
      weekday:
        description: As there.
        type: str
        default: "*"
  restore:
    description:
      - Options of M(mapswipe.walg.walg_restore), checked here before anything is installed. C(request) must be one of them.
    type: dict
  variables:
    description: Names of the play's variables that begin with C(walg_).
    type: list
    elements: str
    default: []
  known_variables:
    description:
      - Names that the roles know. A name in O(variables) that is not among them is an error that suggests the nearest one. Ansible
        itself does not notice a mistyped variable.
    type: list
    elements: str
    default: []
  settings:
    description: As in M(mapswipe.walg.walg_config), for O(wanted).
    type: raw
    default: {}
  secrets:
    description: As in M(mapswipe.walg.walg_config), for O(wanted).
    type: raw
  google_credentials:
    description: As in M(mapswipe.walg.walg_config), for O(wanted).
    type: raw
  wanted:
    description:
      - Options of later tasks of the play, for M(mapswipe.walg.walg_install), M(mapswipe.walg.walg_config) and
        M(mapswipe.walg.walg_storage_check). The result shows which of them have nothing to do and can be skipped.
      - Requires O(version) and O(storage).
    type: dict
    suboptions:
      binary:
        description: Path of WAL-G. If empty, it is C(wal-g-VERSION) in the directory for programs.
        type: str
      managed:
        description: As in M(mapswipe.walg.walg_install).
        type: bool
        default: true
      src:
        description: As in M(mapswipe.walg.walg_install).
        type: str
      checksum:
        description: As in M(mapswipe.walg.walg_install).
        type: str
      mirror:
        description: As in M(mapswipe.walg.walg_install).
        type: str
        default: https://github.com/wal-g/wal-g/releases/download
      keep:
        description: As in M(mapswipe.walg.walg_install).
        type: int
        default: 1
      access:
        description: As in M(mapswipe.walg.walg_storage_check).
        type: str
        choices: [write, read, read_only]
        default: write
      tune:
        description: As in M(mapswipe.walg.walg_config).
        type: bool
        default: true
      push_timeout:
        description: As in M(mapswipe.walg.walg_config).
        type: int
        default: 15
      fetch_timeout:
        description: As in M(mapswipe.walg.walg_config).
        type: int
        default: 60
      backup_timeout:
        description: As in M(mapswipe.walg.walg_config).
        type: int
        default: 86400
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
seealso:
  - module: mapswipe.walg.walg_config
"""

EXAMPLES = r"""
- name: Find the only cluster on this host
  mapswipe.walg.walg_instance_info:
  register: found

- name: Choose one of several by its data directory, even on a new Debian host
  mapswipe.walg.walg_instance_info:
    instance: orders
    cluster:
      data_dir: /var/lib/postgresql/14/orders
"""

RETURN = r"""
cluster:
  description: The cluster.
  returned: success
  type: dict
  sample:
    data_dir: /var/lib/postgresql/14/main
    bin_dir: /usr/lib/postgresql/14/bin
    socket_dir: /var/run/postgresql
    port: "5432"
    user: postgres
    os_user: postgres
    service: systemd:postgresql@14-main.service
    start_options: ""
    system_identifier: "7310203040506070809"
    config_file: /etc/postgresql/14/main/postgresql.conf
    database: postgres
    pg_untested: ""
directories:
  description: Where the collection's files are. C(state_dir) and C(log_dir) are the instance's own.
  returned: success
  type: dict
  sample:
    bin_dir: /usr/local/bin
    config_dir: /etc/mapswipe-walg
    program_dir: /usr/local/lib/mapswipe-walg
    state_dir: /var/lib/mapswipe-walg/main
    log_dir: /var/log/mapswipe-walg/main
    cron_dir: /etc/cron.d
settled:
  description:
    - Which parts of O(wanted) are in place already, according to the plans of the modules. These are V(binary), V(settings), and
      V(storage), which means that these settings are in force and WAL arrives in the storage.
  returned: when O(wanted) was given
  type: list
  elements: str
record:
  description: Text of the instance's record if its settings are as in O(wanted), otherwise empty.
  returned: when O(wanted) was given
  type: str
"""

import os
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _schedule
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _trust
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._install import _release
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _directories, _record
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import judge
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _cluster, _discovery
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _options
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import (
    _answer,
    _given,
    _preflight,
    _up_to_date,
    _variables,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _releases


def main() -> None:
    paths = {
        name: {"type": "str"} for name in ("bin_dir", "config_dir", "program_dir", "state_dir", "log_dir", "cron_dir")
    }
    archive = {
        "timeout": {"type": "int", "default": 60},
        "restart": {"type": "str", "choices": ["never", "allowed"], "default": "never"},
        "replace": {"type": "bool", "default": False},
    }
    schedule = {
        "minute": {"type": "str"},
        "hour": {"type": "str", "default": "2"},
        "weekday": {"type": "str", "default": "*"},
    }
    wanted = {
        "binary": {"type": "str"},
        "managed": {"type": "bool", "default": True},
        "src": {"type": "str"},
        "checksum": {"type": "str"},
        "mirror": {"type": "str", "default": _releases.PUBLISHED, "no_log": True},
        "keep": {"type": "int", "default": 1},
        "access": {"type": "str", "choices": ["write", "read", "read_only"], "default": "write"},
        "tune": {"type": "bool", "default": True},
        "push_timeout": {"type": "int", "default": 15},
        "fetch_timeout": {"type": "int", "default": 60},
        "backup_timeout": {"type": "int", "default": 86400},
    }
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "str", "default": "main"},
            "cluster": {
                "type": "dict",
                "default": {},
                "options": {
                    "data_dir": {"type": "str"},
                    "bin_dir": {"type": "str"},
                    "socket_dir": {"type": "str"},
                    "port": {"type": "str"},
                    "user": {"type": "str"},
                    "database": {"type": "str"},
                    "os_user": {"type": "str"},
                    "pg_untested": {"type": "bool"},
                    "service": {"type": "str"},
                },
            },
            "version": {"type": "str"},
            "storage": {"type": "str", "no_log": True},
            "purpose": {"type": "str", "choices": ["backup", "restore"]},
            "archive": {"type": "dict", "options": archive},
            "schedule": {"type": "dict", "options": schedule},
            "restore": {"type": "dict", "no_log": True},
            "variables": {"type": "list", "elements": "str", "default": []},
            "known_variables": {"type": "list", "elements": "str", "default": []},
            "directories": {"type": "dict", "default": {}, "options": paths},
            # raw: a failed conversion would print the value
            "settings": {"type": "raw", "default": {}, "no_log": True},
            "secrets": {"type": "raw", "no_log": True},
            "google_credentials": {"type": "raw", "no_log": True},
            "wanted": {"type": "dict", "options": wanted},
        },
        required_together=[("version", "storage")],
        required_by={"wanted": "version"},
        supports_check_mode=True,
    )
    _answer.begin(module)
    try:
        judge(module.params)
        name = module.params["instance"]
        _variables.refuse_unknown(module.params["variables"], module.params["known_variables"])
        given = _judged(module.params)
        directories = _directories.of_instance(name, module.params["directories"])
        _directories.refuse_loose(directories)
        recorded = _record.load(directories["config_dir"], name)
        runner = Runner()
        cluster = _discovery.find(runner, module.params["cluster"], recorded.cluster if recorded else None)
        cluster = replace(cluster, credentials=_record.credentials({**given.settings, **given.secrets}))
        version, storage, purpose = (module.params[key] for key in ("version", "storage", "purpose"))
        _preflight.check(runner, cluster, version, storage, purpose)
        if purpose == "backup" and module.params["archive"]:
            _preflight.archive(runner, name, cluster, directories, module.params["archive"])
        found: dict[str, object] = {"cluster": _cluster.cluster_dict(cluster), "directories": directories}
        if module.params["wanted"]:
            if module.params["wanted"]["binary"]:
                _trust.refuse_loose(
                    os.path.dirname(module.params["wanted"]["binary"]), "The directory of walg_binary_path"
                )
            found.update(_up_to_date.look(runner, module.params, _cluster.cluster_dict(cluster), directories))
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    _answer.succeed(module, changed=False, **found)


def _judged(params: dict[str, Any]) -> _given.Given:
    """Return what is given of WAL-G's settings. Raises WalgError for all that can be told to be wrong without a look at the host."""
    if params["version"]:
        _releases.refuse_odd(params["version"])
    _given.judge_cluster(params["cluster"])
    if params["schedule"]:
        _schedule.judge(params["schedule"]["minute"], params["schedule"]["hour"], params["schedule"]["weekday"])
    if params["wanted"]:
        _release.judged(params["wanted"]["mirror"])
    if params["restore"]:
        _options.wish(params["restore"])
    return _given.judge(params)


if __name__ == "__main__":
    main()
