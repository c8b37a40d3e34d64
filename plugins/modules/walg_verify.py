#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is what a storage holds sound: its records, and a share of its objects read back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_verify
short_description: Verify that an archive is whole, and read a share of it back
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Looks for holes in the WAL, and for base backups whose chain, WAL or parts are not all in the storage.
  - Reads a share of the stored objects back, so that each is read once within O(days). WAL segments must decompress, be those that their
    names say, and be of this cluster; parts of base backups must decompress to a whole tar.
  - Names what is damaged, what that costs, and what to do. The job on the host runs the same code once a day.
  - It changes nothing in the storage. An object that is damaged is read again by each run until it is well, or gone.
extends_documentation_fragment:
  - mapswipe.walg._attributes
  - mapswipe.walg._attributes.action_group
  - mapswipe.walg._instance
  - mapswipe.walg._instance.configured
attributes:
  check_mode:
    support: full
    details: In check mode, no object is read. The answer shows how many bytes would be read.
  diff_mode:
    support: none
    details: There is no text to compare.
  idempotent:
    support: full
  action_group:
    membership:
      - mapswipe.walg.walg
options:
  days:
    description:
      - Days within which each object is read once. A run reads the share that is due since the last one.
      - With V(0), none is read unless O(everything) is set.
    type: int
    default: 30
  rate:
    description: Bytes a second that are read from the storage at most. V(0) means no limit.
    type: int
    default: 0
  everything:
    description: Whether to read all objects now. A run that was killed is continued by the next one with this option.
    type: bool
    default: false
notes:
  - Up to WAL-G 2.0.1, a part is written to a file in the instance's state directory while it is read. Newer versions need no room.
seealso:
  - module: mapswipe.walg.walg_backup_info
  - module: mapswipe.walg.walg_backup
"""

EXAMPLES = r"""
- name: Read a thirtieth of the archive back
  mapswipe.walg.walg_verify:

- name: Read all of it, at 20 MiB a second
  mapswipe.walg.walg_verify:
    everything: true
    rate: 20971520
  register: verified

- name: It is sound
  ansible.builtin.assert:
    that: verified.sound is true
    fail_msg: "{{ verified.text }}"
"""

RETURN = r"""
sound:
  description:
    - Whether all is well, of what was looked at. False if a needed object is damaged or missing, or if recovery ends at a hole.
    - None if it is unknown.
  returned: success
  type: bool
text:
  description: The same in one line.
  returned: success
  type: str
  sample: no damage found. 212 objects read, 43% of this cycle.
chain:
  description: What the records of the archive say, compared with its objects.
  returned: success
  type: dict
  contains:
    gaps:
      description: Holes in the WAL of a timeline.
      type: list
      elements: dict
      contains:
        timeline:
          description: The timeline.
          type: int
        first:
          description: The first missing segment.
          type: str
        last:
          description: The last missing segment.
          type: str
        segments:
          description: How many are missing.
          type: int
        open:
          description: Whether recovery ends there and no later base backup starts it again.
          type: bool
    backups:
      description: Base backups that can't be restored.
      type: list
      elements: dict
      contains:
        name:
          description: WAL-G's name for it.
          type: str
        reason:
          description: Why.
          type: str
    doubtful:
      description: Objects that the storage did not deliver. They are read again by the next run; then they count as damaged.
      type: list
      elements: str
    smaller:
      description: Base backups of which fewer bytes are stored than WAL-G recorded, until all their parts are read.
      type: list
      elements: str
    gone:
      description: Base backups that were there in the run before. If retention did not delete them, find out who did.
      type: list
      elements: str
    left:
      description: The recoverable windows that are left if what is damaged is not counted.
      type: list
      elements: dict
      contains:
        timeline:
          description: The timeline.
          type: int
        first_lsn:
          description: The LSN of the first point.
          type: str
        first_time:
          description: The time of the first point.
          type: str
        last_lsn:
          description: The end of the last segment.
          type: str
        backups:
          description: The base backups in it that can be restored.
          type: list
          elements: str
        missing:
          description: The segment that ends it; none if it reaches the archive's end.
          type: str
damaged:
  description: Objects that are damaged or missing.
  returned: success
  type: list
  elements: dict
  contains:
    object:
      description: Its name below the storage's prefix.
      type: str
      sample: wal_005/000000010000000000000007.lz4
    what:
      description: What is wrong with it.
      type: str
    costs:
      description: What can't be restored for that reason; empty if nothing needs it.
      type: str
    remedy:
      description: What to do.
      type: str
    since:
      description: When it was first found (RFC 3339).
      type: str
    backups:
      description: The base backups that can't be restored without it.
      type: list
      elements: str
reread:
  description: How far the re-read is.
  returned: success
  type: dict
  contains:
    objects:
      description: Objects that this run read.
      type: int
    bytes:
      description: Bytes that it read, as they are stored; what was read twice counts twice.
      type: int
    planned:
      description: Bytes that were due.
      type: int
    seconds:
      description: How long it took.
      type: float
    done_share:
      description: The share of the present cycle that is done, from 0 to 1.
      type: float
    cycle_started:
      description: When the cycle began (RFC 3339).
      type: str
    behind:
      description: Seconds by which the cycle is behind its pace; 0 if it is not.
      type: float
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _verify
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import call_as
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._job_spec import Verification
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import instance_from
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer, _enter, _specs


def main() -> None:
    options = {"days": {"type": "int", "default": 30}, "rate": {"type": "int", "default": 0}}
    module = AnsibleModule(
        argument_spec={
            **_specs.configured_options(),
            **options,
            "everything": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    _answer.begin(module)
    _enter.enter(module, _enter.FILES)
    told = module.params
    try:
        if told["days"] < 0 or told["rate"] < 0:
            raise WalgError(f"days and rate can't be negative: {told['days']}, {told['rate']}.")
        instance = instance_from(told, module.check_mode)
        rule = Verification(told["days"], told["rate"])

        def verify() -> object:
            now = datetime.now(timezone.utc)
            return _verify.run(Runner(), instance, rule, now, everything=told["everything"], dry=module.check_mode)

        answer = call_as(instance.owner, verify)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    _answer.succeed(module, changed=False, **answer)


if __name__ == "__main__":
    main()
