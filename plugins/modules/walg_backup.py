#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make sure that a base backup exists."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_backup
short_description: Take a base backup if one is needed
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Takes a base backup if the storage has no restorable one for this system identifier and timeline, or if the
    newest is older than O(max_age).
  - A base backup counts only when all WAL from its start to its finish is in the storage, and its chain is whole.
  - Succeeds only if the archive can be restored to the latest state. After a gap, or a time with C(wal_level = minimal), it takes a new
    full base backup. Fails if the server does not archive to this storage, or if the archive is ahead of it.
  - Only one base backup of a cluster runs at a time, whoever started it. A lock in the state directory and an advisory lock on the primary
    see to that.
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
    support: partial
    details: With O(max_age=0) each run takes a base backup.
  action_group:
    membership:
      - mapswipe.walg.walg
options:
  max_age:
    description:
      - Take one if the newest is at least this many seconds old; V(0) means always.
      - If not given, only the first one on this system identifier and timeline is taken.
    type: float
  full:
    description: Whether to take a full one even if WAL-G would take a delta.
    type: bool
    default: false
  page_checksums:
    description:
      - Whether to verify page checksums meanwhile, if the cluster has them. Corrupt blocks are returned as RV(corrupt_blocks), and fail
        nothing, since the base backup may still be the best one.
    type: bool
    default: true
  source:
    description:
      - The server from which base backups are taken. With V(primary), a standby takes none.
      - V(standby) and V(this_host) let a standby take one, too. Its WAL comes from the primary, and there must be a restartpoint since
        the last one, because WAL-G names base backups by it.
    type: str
    choices: [primary, standby, this_host]
    default: primary
  timeout:
    description: Seconds after which WAL-G and its children are ended. If not given, the limit in the instance's record is used.
    type: int
seealso:
  - module: mapswipe.walg.walg_backup_info
  - module: mapswipe.walg.walg_backup_mark
  - module: mapswipe.walg.walg_retention
  - module: mapswipe.walg.walg_schedule
  - module: mapswipe.walg.walg_archive
"""

EXAMPLES = r"""
- name: Take the first one if there is none yet
  mapswipe.walg.walg_backup:

- name: Take one unless there is one from today
  mapswipe.walg.walg_backup:
    max_age: 86400
"""

RETURN = r"""
backup:
  description: The base backup that was taken, or the newest that was there; none in check mode if there is none.
  returned: success
  type: dict
  contains:
    name:
      description: WAL-G's name for it.
      type: str
    start_time:
      description: When it began (RFC 3339).
      type: str
    finish_time:
      description: When it ended.
      type: str
    timeline:
      description: The timeline on which it began.
      type: int
    system_identifier:
      description: The cluster it belongs to; none if WAL-G did not record it.
      type: str
    pg_version:
      description: PostgreSQL's version as a number, such as 140023.
      type: int
    uncompressed_size:
      description: Size when restored, in bytes; for a delta, what it adds.
      type: int
    compressed_size:
      description: Bytes in the storage.
      type: int
    permanent:
      description: Whether retention keeps it.
      type: bool
    delta:
      description: Whether it is a delta.
      type: bool
  sample:
    name: base_000000010000000000000004
    start_time: "2026-01-31T04:05:06.123456Z"
    finish_time: "2026-01-31T04:05:08.123456Z"
    timeline: 1
    system_identifier: "7310203040506070809"
    pg_version: 140023
    uncompressed_size: 27262976
    compressed_size: 3145728
    permanent: false
    delta: false
needed:
  description: Whether one was needed.
  returned: success
  type: bool
reason:
  description: Why one was, or was not, taken.
  returned: success
  type: str
corrupt_blocks:
  description: How many blocks with wrong page checksums each file has, by its path below the data directory.
  returned: unless in check mode
  type: dict
  sample: {}
seconds:
  description: How long WAL-G took.
  returned: when one was taken
  type: float
line:
  description: How much it read and how fast, in the words of C(walg-job status --watch).
  returned: when one was taken
  type: str
  sample: "backup: done, 9.4 GB, 97.9 MB/s, for 1 min 36 s"
log:
  description: WAL-G's output.
  returned: when one was taken
  type: str
"""

from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _need, _take
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import call_as
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _job_spec
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import (
    instance_from,
    pending,
    with_binary_at_hand,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._report import _watch
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer, _enter, _specs
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _backups, _corruption


def _names(backup: Any) -> str:
    return f"{backup['name']}\n" if backup else ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **_specs.configured_options(),
            "max_age": {"type": "float"},
            "full": {"type": "bool", "default": False},
            "timeout": {"type": "int"},
            "page_checksums": {"type": "bool", "default": True},
            "source": {"type": "str", "choices": list(_job_spec.SOURCES), "default": "primary"},
        },
        supports_check_mode=True,
    )
    _answer.begin(module)
    _enter.enter(module)
    params = module.params
    try:
        instance = instance_from(params, module.check_mode, timeout=1)
        if module.check_mode:
            instance = with_binary_at_hand(instance)

        def look() -> dict[str, Any]:
            missing = bool(pending(instance))
            now = datetime.now(timezone.utc)
            plan = _need.plan(Runner(), instance, params["max_age"], now, missing, True, params["source"])
            backup = _backups.as_dict(plan.existing) if plan.existing else None
            return {"changed": plan.needed, "needed": plan.needed, "reason": plan.reason, "backup": backup}

        def ensure() -> dict[str, Any]:
            options = {name: params[name] for name in ("max_age", "full", "timeout", "page_checksums", "source")}
            made = _take.ensure(Runner(), instance, **options)
            return {"needed": made["changed"], **made}

        answer = call_as(instance.owner, look if module.check_mode else ensure)
        if answer["changed"] and not module.check_mode:
            answer["line"] = _watch.ended("backup", answer["backup"]["uncompressed_size"], answer["seconds"])
        if answer.get("corrupt_blocks"):
            _answer.warn(module, _corruption.told(answer["corrupt_blocks"]))
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    after = "a new base backup\n" if module.check_mode and answer["changed"] else _names(answer["backup"])
    before = "" if answer["changed"] else after
    _answer.succeed(module, diff={"before": before, "after": after}, **answer)


if __name__ == "__main__":
    main()
