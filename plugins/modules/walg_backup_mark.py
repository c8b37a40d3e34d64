#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep a base backup from retention, or give it back to it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_backup_mark
short_description: Make a base backup permanent, or ordinary again
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - A permanent base backup is kept by M(mapswipe.walg.walg_retention) and by WAL-G's own deletion, with its WAL from start to finish. It
    can be restored as it was at its end; WAL after that is kept only as long as other rules keep it.
  - What a delta is based on becomes permanent with it.
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
  name:
    description: WAL-G's name for the base backup.
    type: str
    required: true
  permanent:
    description: Whether to keep it. With V(false) the ordinary rules apply to it again.
    type: bool
    default: true
  until:
    description:
      - Time (RFC 3339 with a zone) at which it becomes ordinary by itself, at the next run of M(mapswipe.walg.walg_retention). If empty, it
        never does. WAL-G's own deletion does not know this time.
    type: str
    default: ""
seealso:
  - module: mapswipe.walg.walg_retention
  - module: mapswipe.walg.walg_backup_info
"""

EXAMPLES = r"""
- name: Keep the base backup from before the migration for a year
  mapswipe.walg.walg_backup_mark:
    name: base_000000010000000000000004
    until: "2027-01-31T00:00:00Z"

- name: Let retention have it again
  mapswipe.walg.walg_backup_mark:
    name: base_000000010000000000000004
    permanent: false
"""

RETURN = r"""
marked:
  description: Base backups whose mark, or its end, was changed, or would be.
  returned: success
  type: list
  elements: str
  sample: [base_000000010000000000000004]
permanent:
  description: All permanent base backups, with the time until which they are; none if for ever.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: WAL-G's name for it.
      type: str
      sample: base_000000010000000000000004
    until:
      description: When it becomes ordinary.
      type: str
      sample: "2027-01-31T00:00:00Z"
"""

from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _mark
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import call_as
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import instance_from
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer, _enter, _specs


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **_specs.configured_options(),
            "name": {"type": "str", "required": True},
            "permanent": {"type": "bool", "default": True},
            "until": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    _answer.begin(module)
    _enter.enter(module)
    params = module.params
    try:
        instance = instance_from(params, module.check_mode)

        def work() -> dict[str, Any]:
            wanted = _mark.Wanted(params["name"], params["permanent"], params["until"])
            return _mark.ensure(Runner(), instance, wanted, datetime.now(timezone.utc), dry=module.check_mode)

        answer = call_as(instance.owner, work)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    _answer.succeed(module, **answer)


if __name__ == "__main__":
    main()
