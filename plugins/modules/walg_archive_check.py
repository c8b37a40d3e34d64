#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that a fresh segment reaches the storage."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_archive_check
short_description: Prove that a fresh WAL segment reaches the storage
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Writes a record, switches WAL, waits until that segment is archived, and fetches it back from the storage.
  - The proof is kept on the host. It is valid until the storage, its settings, the cluster or its timeline changes, or the archiver
    fails; until then the module does nothing. On a standby it does nothing either, and returns the reason.
extends_documentation_fragment:
  - mapswipe.walg._attributes
  - mapswipe.walg._attributes.action_group
  - mapswipe.walg._instance
  - mapswipe.walg._instance.configured
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: The proof is a file of the collection's own state.
  idempotent:
    support: partial
    details: With O(force=true) each run writes a new proof.
  action_group:
    membership:
      - mapswipe.walg.walg
options:
  timeout:
    description: Seconds to wait for the segment. For segments above 64 MiB the limit grows with the size (for 1 GiB it is 16 times longer).
    type: int
    default: 120
  force:
    description: Whether to prove it again even if there is a valid proof.
    type: bool
    default: false
seealso:
  - module: mapswipe.walg.walg_archive
  - module: mapswipe.walg.walg_storage_check
"""

EXAMPLES = r"""
- name: Check that WAL arrives now
  mapswipe.walg.walg_archive_check:
    force: true
"""

RETURN = r"""
segment:
  description: The segment that was found in the storage.
  returned: when there is a proof
  type: str
latency:
  description: Seconds from the record to the segment fetched back.
  returned: when there is a proof
  type: float
checked:
  description: When it was proved.
  returned: when there is a proof
  type: str
archiver:
  description: The row of C(pg_stat_archiver) after it.
  returned: when it was proved just now, and when the segment was not archived in time
  type: dict
  contains:
    archived_count:
      description: How many segments were archived.
      type: int
    last_archived_wal:
      description: The last one of them.
      type: str
    last_archived_time:
      description: When that was.
      type: str
    failed_count:
      description: How often archiving failed.
      type: int
    last_failed_wal:
      description: The segment that failed last.
      type: str
    last_failed_time:
      description: When that was.
      type: str
    stats_reset:
      description: Since when this is counted.
      type: str
reason:
  description: Why nothing was proved.
  returned: on a standby and in check mode
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _proof
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import call_as
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import (
    instance_from,
    settings_pending,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer, _enter, _specs


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **_specs.configured_options(),
            "timeout": {"type": "int", "default": 120},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    _answer.begin(module)
    _enter.enter(module)
    params = module.params
    try:
        instance = instance_from(params, module.check_mode, timeout=1)

        def check() -> dict[str, Any]:
            return _proof.check(
                Runner(), instance, timeout=params["timeout"], force=params["force"], dry=module.check_mode
            )

        answer = call_as(instance.owner, check)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    if answer["changed"] and module.check_mode and settings_pending(instance):
        answer.update(reason="the settings are not written yet")
    _answer.succeed(module, **answer)


if __name__ == "__main__":
    main()
