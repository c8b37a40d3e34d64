#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the cron file of an instance's job."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_schedule
short_description: Schedule base backups with cron
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Makes sure that cron takes base backups of an instance. The schedule is one file in C(cron.d) format.
extends_documentation_fragment:
  - mapswipe.walg._attributes
  - mapswipe.walg._attributes.action_group
  - mapswipe.walg._instance
  - mapswipe.walg._instance.configured
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  action_group:
    membership:
      - mapswipe.walg.walg
options:
  cron_dir:
    description: Directory of cron files. Cron itself reads C(/etc/cron.d) only.
    type: str
    default: /etc/cron.d
  minute:
    description: Cron's minute field. If not given, it depends on the host and the instance, so that not all hosts start at once.
    type: str
  hour:
    description: Cron's hour field.
    type: str
    default: "2"
  weekday:
    description: Cron's day of week field.
    type: str
    default: "*"
  state:
    description: Whether the file should exist.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: mapswipe.walg.walg_backup
"""

EXAMPLES = r"""
- name: Take a base backup every night between two and three
  mapswipe.walg.walg_schedule:

- name: Take no more base backups
  mapswipe.walg.walg_schedule:
    state: absent
"""

RETURN = r"""
path:
  description: The cron file.
  returned: success
  type: str
  sample: /etc/cron.d/mapswipe-walg-main
"""

import os
import socket

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _schedule
from ansible_collections.mapswipe.walg.plugins.module_utils._container import _placed
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _files, _trust
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _record
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import (
    instance_from,
    judge,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer, _specs


def _job_of(module: AnsibleModule) -> _schedule.Job:
    """Return what cron starts. A server in a container has no cron there; the machine's root enters the container."""
    params = module.params
    placed = _placed.load(params["config_dir"], params["instance"], module.check_mode)
    if placed is not None:
        return _schedule.Job(placed.instance, "root", placed.program_dir, params["config_dir"])
    instance = instance_from(params, module.check_mode)
    return _schedule.Job(instance.name, instance.cluster.os_user, instance.program_dir, instance.config_dir)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **_specs.configured_options(),
            "cron_dir": {"type": "str", "default": "/etc/cron.d"},
            **_specs.schedule_options(),
            **_specs.state_options(),
        },
        supports_check_mode=True,
    )
    _answer.begin(module)
    params = module.params
    path = os.path.join(params["cron_dir"], f"mapswipe-walg-{params['instance']}")
    try:
        judge(params)
        _record.check_name(params["instance"])
        _trust.refuse_loose(params["cron_dir"], "walg_cron_dir")
        before = _files.read_text(path)
        if params["state"] == "absent":
            changed, after = before is not None, ""
            if changed and not module.check_mode:
                os.unlink(path)
        else:
            job = _job_of(module)
            after = _schedule.job_file(job, params["minute"], params["hour"], params["weekday"], socket.gethostname())
            me = User.current()
            plans = [_files.parent(params["cron_dir"], me), _files.owned(path, after, 0o644, me)]
            changed = any(plan.differs() for plan in plans)
            if changed and not module.check_mode:
                for plan in plans:
                    plan.apply()
            if params["cron_dir"] != "/etc/cron.d":
                _answer.warn(module, f"Cron reads /etc/cron.d only: make it, or whatever runs jobs here, read {path}.")
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    _answer.succeed(
        module,
        changed=changed,
        path=path,
        diff={"before_header": path, "after_header": path, "before": before or "", "after": after},
    )


if __name__ == "__main__":
    main()
