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
  - mapswipe.walg._attributes
  - mapswipe.walg._attributes.action_group
  - mapswipe.walg._attributes.info
  - mapswipe.walg._host
  - mapswipe.walg._instance
attributes:
  action_group:
    membership:
      - mapswipe.walg.host
seealso:
  - module: mapswipe.walg.walg_instance
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
  contains:
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
      description: The server's port.
      type: str
    user:
      description: Database role to connect as.
      type: str
    os_user:
      description: Operating system user that owns the data directory.
      type: str
    service:
      description: Who starts and stops the server.
      type: str
    start_options:
      description: Options of a start by C(pg_ctl), quoted for a shell.
      type: str
    system_identifier:
      description: The cluster's system identifier; empty if it is lost.
      type: str
    start_dir:
      description: What a start by C(pg_ctl) names with C(-D), if that is not the data directory.
      type: str
    start_environment:
      description: Variables of a start by C(pg_ctl), as words for a shell.
      type: str
    config_file:
      description: The main configuration file, if it is outside of the data directory.
      type: str
    database:
      description: Database to connect to.
      type: str
    pg_untested:
      description: C(true) if a PostgreSQL version that is newer than all tested ones is accepted.
      type: str
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
  contains:
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
      description: Directory for the instance's state.
      type: str
    log_dir:
      description: Directory for the instance's logs.
      type: str
    cron_dir:
      description: Directory for cron files.
      type: str
  sample:
    bin_dir: /usr/local/bin
    config_dir: /etc/mapswipe-walg
    program_dir: /usr/local/lib/mapswipe-walg
    state_dir: /var/lib/mapswipe-walg/main
    log_dir: /var/log/mapswipe-walg/main
    cron_dir: /etc/cron.d
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import judge
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import (
    _answer,
    _enter,
    _find,
    _given,
    _preflight,
    _specs,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **_specs.instance_options(),
            **_specs.host_options(),
        },
        supports_check_mode=True,
    )
    _answer.begin(module)
    _enter.enter(module, _enter.FILES)
    try:
        judge(module.params)
        _given.judge_cluster(module.params["cluster"])
        runner = Runner()
        found = _find.find(runner, module.params)
        _preflight.check(runner, found.cluster, None, None, None)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    _answer.succeed(module, changed=False, **found.answer())


if __name__ == "__main__":
    main()
