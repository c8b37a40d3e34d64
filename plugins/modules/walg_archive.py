#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring PostgreSQL's archive settings into force."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_archive
short_description: Archive PostgreSQL's WAL with WAL-G
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Makes sure that C(archive_mode), C(archive_command) and C(archive_timeout) are in force, according to the running server and not
    only to a file.
  - The settings are written to a separate file; C(ALTER SYSTEM) is never used. The server is reloaded if that is enough, and
    restarted only if O(restart=allowed).
  - A marker in the storage says whose archive it is, by system identifier and writer (machine and data directory). This module
    writes it before archiving is switched on. The push wrapper and base backups check it.
  - Fails if there is an C(archive_command) or C(archive_library) that this collection did not set, if something overrides the settings,
    if the storage does not answer, or if it is the archive of another cluster or writer.
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
  timeout:
    description: C(archive_timeout) in seconds, after which a partial segment is archived.
    type: int
    default: 60
  restart:
    description: Whether the server may be restarted if a setting needs it. A stock server needs one restart, for C(archive_mode).
    type: str
    choices: [never, allowed]
    default: never
  replace:
    description: Whether to replace an C(archive_command) or C(archive_library) that this collection did not set.
    type: bool
    default: false
  take_over:
    description:
      - Name of the writer that this cluster replaces in the archive. The error message prints it. Of two copies of one cluster
        only one may write. A standby on which this module has run, or another directory on the writer's own host, does not need this on a
        higher timeline; a restore on another host does.
      - Once the archive is taken over it has another writer, so leaving the option in place does no harm.
    type: str
    default: ""
seealso:
  - module: mapswipe.walg.walg_archive_check
  - module: mapswipe.walg.walg_backup
  - module: mapswipe.walg.walg_instance
"""

EXAMPLES = r"""
- name: Archive WAL; the server may be restarted now
  mapswipe.walg.walg_archive:
    restart: allowed
"""

RETURN = r"""
settings:
  description: The settings that are, or would be, in force.
  returned: success
  type: dict
  contains:
    archive_mode:
      description: C(on), or C(always) if that is in force.
      type: str
    archive_command:
      description: The command that calls the wrapper.
      type: str
    archive_timeout:
      description: Seconds after which a partial segment is archived.
      type: str
    archive_library:
      description: An empty value, if one was set.
      returned: when C(archive_library) is set
      type: str
    wal_level:
      description: The level that archiving needs.
      returned: when C(wal_level) is C(minimal)
      type: str
conf_file:
  description: The file that holds them.
  returned: success
  type: str
restart:
  description: Whether the server was, or would be, restarted.
  returned: success
  type: bool
system_identifier:
  description: The cluster's system identifier.
  returned: success
  type: str
timeline:
  description: The cluster's timeline.
  returned: success
  type: int
owner:
  description: The marker in the storage as it is, or would be; none if the storage could not be asked.
  returned: success
  type: dict
  contains:
    system_identifier:
      description: The cluster's system identifier.
      type: str
      sample: "7310203040506070809"
    writer:
      description: The writer's name, from its machine and data directory.
      type: str
      sample: w0123456789abcdef
    host:
      description: The writer's host.
      type: str
      sample: db1
    data_dir:
      description: The writer's data directory.
      type: str
      sample: /var/lib/postgresql/14/main
    timeline:
      description: The writer's timeline.
      type: int
      sample: 1
    highest_timeline:
      description: The highest timeline of all writers so far.
      type: int
      sample: 1
    written:
      description: When the marker was written.
      type: str
      sample: "2026-01-31T04:05:06Z"
    machine:
      description: The writer's machine ID; empty if it has none.
      type: str
    successors:
      description: Writers that may continue the archive on a higher timeline, such as standbys.
      type: list
      elements: dict
      contains:
        writer:
          description: The name.
          type: str
        host:
          description: The host.
          type: str
        data_dir:
          description: The data directory.
          type: str
proved:
  description: Whether nothing was, or would be, changed, and a fresh segment reached this storage already with these settings.
  returned: success
  type: bool
in_recovery:
  description: Whether it is a standby.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _enable, _proof
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import (
    instance_from,
    pending,
    with_binary_at_hand,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer, _enter, _specs

_NOT_ASKED = "WAL-G or its settings are not on this host yet: whose archive the storage holds was not looked at."


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **_specs.configured_options(),
            **_specs.archive_options(),
            "take_over": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    _answer.begin(module)
    _enter.enter(module)
    params, runner = module.params, Runner()
    try:
        instance = instance_from(params, module.check_mode)
        if module.check_mode:
            instance = with_binary_at_hand(instance)
        plan = _enable.plan(
            runner,
            instance,
            timeout=params["timeout"],
            restart=params["restart"] == "allowed",
            replace_command=params["replace"],
            take_over=params["take_over"],
            pending=pending(instance, "wal-push") if module.check_mode else [],
        )
        if plan.changed and not module.check_mode:
            _enable.apply(runner, plan)
        proved = not plan.changed and _proof.still_valid(runner, instance, plan.facts)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    if plan.owner is None:
        _answer.warn(module, _NOT_ASKED)
    _answer.succeed(module, changed=plan.changed, diff=plan.diff(), proved=proved, **_enable.result(plan))


if __name__ == "__main__":
    main()
