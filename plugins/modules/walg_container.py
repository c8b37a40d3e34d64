#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve a server that runs in a container, from the machine outside."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_container
short_description: Serve a PostgreSQL server in a container from outside
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Records on the machine that runs Docker or Podman which container an instance's server is in. All other modules of this collection
    and C(walg-job) then work in that container by themselves, from outside. Its image needs neither Python nor WAL-G.
  - What they keep is in the kit, a directory of the machine that is mounted into the container at the same path. So is
    C(/etc/machine-id), by which C(wal-push) knows its machine. For Docker Compose,
    this module writes a small compose file that adds these mounts, and enough time to stop, to one service. Your own compose file is never
    changed; it is combined with the other one by C(COMPOSE_FILE) in the project's C(.env).
  - Whether the kit is mounted is seen by inspecting the container. If it is not, the module fails with the line to add, the command, or
    the flags for C(docker run). It creates the container again only if O(restart) and O(recreate) say so.
  - It must run as root. Compose runs as the owner of the project's directory, who must be allowed to use the engine.
  - Engines without root and engines with users of their own (userns-remap) are not supported.
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
  container:
    description: Name of the container. Use either this or O(compose).
    type: str
  compose:
    description: The service of Docker Compose whose container is meant.
    type: dict
    suboptions:
      project_dir:
        description: Directory on this machine that has the compose file.
        type: str
      service:
        description: Name of the service.
        type: str
  engine:
    description: The engine. If not given, it is Docker if the machine has its program, else Podman.
    type: str
    choices: [docker, podman]
  kit_dir:
    description: Directory on this machine for kits. The kit of an instance is C(INSTANCE/kit) in it.
    type: str
    default: /opt/mapswipe-walg
  program_dir:
    description: Directory on this machine for the job.
    type: str
    default: /usr/local/lib/mapswipe-walg
  data_dir:
    description:
      - PostgreSQL's data directory in the container. If not given, it is what the container's command or its variable C(PGDATA) says.
      - It must be on a volume or on a directory of the machine.
    type: str
  restart:
    description: Whether the server may be restarted, which is what creating its container again amounts to.
    type: str
    choices: [never, allowed]
    default: never
  recreate:
    description:
      - Whether to create the container again if it lacks the kit. With V(false), RV(needs_recreate) says that it is necessary.
      - Only this service's container is created again, with the same image and data.
    type: bool
    default: false
  purpose:
    description: What the instance will be used for. With V(restore), the container may be stopped.
    type: str
    choices: [backup, restore]
    default: backup
  stop_grace:
    description: Seconds that the server gets to stop, and to archive its last WAL. A longer time in your own compose file is kept.
    type: int
    default: 120
  state:
    description:
      - V(absent) removes the record and the kit. If the container still has the kit, or C(COMPOSE_FILE) still names its compose file,
        nothing is removed, and RV(advice) says what to do first.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: mapswipe.walg.walg_instance
"""

EXAMPLES = r"""
- name: Serve the database of a Compose project
  mapswipe.walg.walg_container:
    compose:
      project_dir: /srv/maps
      service: db

- name: The same, and create its container again if that is necessary
  mapswipe.walg.walg_container:
    compose:
      project_dir: /srv/maps
      service: db
    restart: allowed
    recreate: true

- name: Serve a container without Compose
  mapswipe.walg.walg_container:
    container: maps-db
"""

RETURN = r"""
container:
  description: The container.
  returned: O(state=present)
  type: dict
  contains:
    name:
      description: Its name.
      type: str
    id:
      description: Its identifier.
      type: str
    engine:
      description: V(docker) or V(podman).
      type: str
    image:
      description: Its image, as it was asked for.
      type: str
    status:
      description: The engine's word for its state, such as V(running).
      type: str
  sample:
    name: maps-db-1
    id: 3f4e5a1c9d6b7a80112233445566778899aabbccddeeff001122334455667788
    engine: docker
    image: postgres:16
    status: running
kit:
  description: The kit, the same path on the machine and in the container.
  returned: O(state=present), and O(state=absent) if there was a record
  type: str
  sample: /opt/mapswipe-walg/main/kit
compose_file:
  description: The compose file that adds the kit. Null without Compose.
  returned: O(state=present)
  type: str
  sample: /opt/mapswipe-walg/main.compose.yml
in_force:
  description: Whether the container has the kit.
  returned: O(state=present)
  type: bool
needs_recreate:
  description: Whether the container must be created again for that.
  returned: O(state=present)
  type: bool
advice:
  description: What must be done before the kit can be removed.
  returned: O(state=absent) if the kit is still used
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._container import _kit, _leave
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import judge
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer, _specs


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **_specs.configured_options(),
            **_specs.restart_options(),
            **_specs.state_options(),
            "container": {"type": "str"},
            "compose": {"type": "dict", "options": {"project_dir": {"type": "str"}, "service": {"type": "str"}}},
            "engine": {"type": "str", "choices": ["docker", "podman"]},
            "kit_dir": {"type": "str", "default": "/opt/mapswipe-walg"},
            "program_dir": {"type": "str", "default": "/usr/local/lib/mapswipe-walg"},
            "data_dir": {"type": "str"},
            "recreate": {"type": "bool", "default": False},
            "purpose": {"type": "str", "choices": ["backup", "restore"], "default": "backup"},
            "stop_grace": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    _answer.begin(module)
    try:
        judge(module.params)
        flow = _leave.leave if module.params["state"] == "absent" else _kit.place
        answer = flow(Runner(), module.params, module.check_mode)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    for warning in answer.pop("warnings"):
        _answer.warn(module, warning)
    _answer.succeed(module, **answer)


if __name__ == "__main__":
    main()
