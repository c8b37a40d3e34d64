#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore a cluster from its archive."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_restore
short_description: A data directory holds the cluster as its archive has it
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Fetches the newest base backup that can be restored into a directory beside the data directory, recovers there to the end of
    the archive on a private socket, proves that the cluster takes writes, stops it, and only then renames it into place. The
    old data directory is renamed and kept.
  - A restore is a request. The same O(request) again does nothing once it is done, whatever was written since; a run that was
    killed is finished, or undone and begun again. A new restore needs a new O(request).
  - What can be known to fail is refused before the first change.
  - On a Debian host that never had the cluster, the data directory is registered with Debian's cluster tools, with Debian's default
    configuration (C(registered) of RV(restore)). What the lost server had otherwise is named, as far as its backup tells
    (C(differs)).
extends_documentation_fragment:
  - mapswipe.walg.instance
  - mapswipe.walg.attributes
options:
  request:
    description:
      - Name of this restore, such as a date or a ticket. It names directories.
    type: str
    required: true
  target:
    description: The point to restore to.
    type: str
    choices: [latest]
    default: latest
  stop_running:
    description: Stop a server that still runs on the data directory, before anything else. Otherwise it is refused.
    type: bool
    default: false
  fetch_timeout:
    description: Seconds that fetching the base backup may take.
    type: int
    default: 86400
  recovery_timeout:
    description: Seconds that recovery may take.
    type: int
    default: 86400
"""

EXAMPLES = r"""
- name: The disk is gone; bring everything back
  mapswipe.walg.walg_restore:
    request: lost-disk-2026-01-31
"""

RETURN = r"""
restore:
  description: The plan in check mode; what was done, and where recovery ended, otherwise.
  returned: success
  type: dict
  sample:
    request: lost-disk-2026-01-31
    data_dir: /var/lib/postgresql/14/main
    kept_as: /var/lib/postgresql/14/main.before-lost-disk-2026-01-31
    replayed_lsn: 0/5000148
    last_commit: "2026-01-31 03:04:05.678+00"
    timeline: 2
    host_was:
      hostname: db1
      libc: glibc 2.36
      limits:
        max_connections: "150"
    differs:
      max_connections:
        then: "150"
        now: "100"
    registered:
      cluster: 14/main
      config_dir: /etc/postgresql/14/main
      port: "5432"
    seconds:
      fetch: 1.5
      recover: 0.8
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils import _data_dir, _flow_restore, _lock, _restore_plan
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import Instance
from ansible_collections.mapswipe.walg.plugins.module_utils._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._spec import instance_from, instance_options


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **instance_options(),
            "request": {"type": "str", "required": True},
            "target": {"type": "str", "choices": ["latest"], "default": "latest"},
            "stop_running": {"type": "bool", "default": False},
            "fetch_timeout": {"type": "int", "default": 86400},
            "recovery_timeout": {"type": "int", "default": 86400},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        instance = instance_from(params, module.check_mode)
        state, _marker = _flow_restore.standing(instance, params["request"])
        if module.check_mode or state == "done":  # nothing is written
            answer = _restore(instance, params, check=True)
        else:
            lock = os.path.join(instance.state_dir, "restore.lock")
            with _lock.held(lock, f"A restore of the instance {instance.name!r}", instance.cluster.owner()):
                answer = _restore(instance, params, check=False)
    except WalgError as exc:
        module.fail_json(msg=exc.msg, **exc.fields)
    module.exit_json(**answer)


def _restore(instance: Instance, params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Do what the request still needs; the plan alone in check mode."""
    runner = Runner()
    state, marker = _flow_restore.standing(instance, params["request"])
    if state == "done" and marker:
        return {"changed": False, "restore": marker.result}
    restore = _flow_restore.Restore(runner, instance, params["fetch_timeout"], params["recovery_timeout"])
    if state == "finish" and marker:
        return {"changed": True, "restore": marker.result if check else restore.swap(marker)}
    ours = marker.work_dir if marker else ""
    plan = _restore_plan.make(runner, instance, params["request"], params["stop_running"], ours)
    if check:
        return {"changed": True, "restore": plan.summary(), "diff": plan.diff()}
    if _data_dir.servers_on(plan.data_dir):
        restore.stop_old(plan.data_dir)
        plan = _restore_plan.make(runner, instance, params["request"], False, ours)
    return {"changed": True, "restore": restore.run(plan, marker), "diff": plan.diff()}


if __name__ == "__main__":
    main()
