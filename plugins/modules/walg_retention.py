#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delete base backups and WAL that no rule keeps."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_retention
short_description: Delete base backups and WAL that are no longer kept
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Deletes base backups that no rule keeps, and WAL that no remaining base backup needs. What any rule keeps, stays. Options that are not
    given have the values of the instance's job (M(mapswipe.walg.walg_schedule)).
  - The newest base backup that counts always stays, and so do permanent ones with their WAL from start to finish, what deltas are based on,
    and history files. A base backup counts if its own WAL is in the storage and its chain is whole. One with corrupt blocks never
    replaces a good one.
  - Base backups are ordered by timelines and LSNs, and times decide about ages only. Each object is deleted by its exact name, and
    afterwards the storage is compared with the plan. A run that was interrupted is finished by the next.
  - The first plan under new rules is only shown, and so is one that would delete more than half of the base backups. A run at least 20
    hours later carries it out, or one with O(confirmed=true).
  - Fails and deletes nothing if the newest base backup is too old, clocks disagree, the archive belongs to another writer, or the prefix
    holds anything but this archive. On a standby it does nothing.
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
  days:
    description: Keep base backups that are younger. With V(0) this rule keeps nothing by itself; so it is with the others.
    type: int
  backups:
    description: Keep so many of the newest base backups.
    type: int
  weekly:
    description: Keep the newest base backup of each of so many weeks. These lead to their end only, without later WAL.
    type: int
  monthly:
    description: Keep the newest base backup of each of so many months. These lead to their end only, without later WAL.
    type: int
  minimum_backups:
    description: Keep at least so many base backups, however old.
    type: int
  minimum_days:
    description: Keep what leads back at least so many days, with all WAL since.
    type: int
  confirmed:
    description: Whether to carry out a plan that was not shown before.
    type: bool
    default: false
  first_plan:
    description:
      - For a play that writes the rules and shows their first plan, as the role P(mapswipe.walg.walg_backup#role) does. With either value,
        nothing is deleted.
      - V(ask) returns the plan until V(note) was called for the same rules. Where retention rejects it, RV(rejected) says why, and the
        module does not fail.
      - V(note) notes that the plan was shown.
    type: str
    choices: [ask, note]
seealso:
  - module: mapswipe.walg.walg_schedule
  - module: mapswipe.walg.walg_backup_mark
  - module: mapswipe.walg.walg_backup_info
"""

EXAMPLES = r"""
- name: Show what would be deleted, and which windows stay
  mapswipe.walg.walg_retention:
  check_mode: true
  diff: true
  register: retention

- name: Keep the last 7 days and 8 weeks
  mapswipe.walg.walg_retention:
    days: 7
    weekly: 8
"""

RETURN = r"""
text:
  description: What was done, or would be, in one line.
  returned: success
  type: str
  sample: deleted 1 base backup, 130 segments (2204041728 bytes)
lines:
  description: The plan for people; what goes, how many bytes that is, and which windows stay.
  returned: success
  type: list
  elements: str
shown_only:
  description: Whether something would be deleted, but the plan must be shown first.
  returned: success
  type: bool
rejected:
  description: With O(first_plan=ask), why there is no plan and what to do. If empty, nothing is wrong.
  returned: success
  type: str
  sample: ""
locked:
  description: Objects that the storage does not let go because of a retention policy, a hold, or a right that is missing.
  returned: success
  type: list
  elements: str
  sample: []
plan:
  description: What stays and what goes; none on a standby, and none with O(first_plan) if it was shown or rejected.
  returned: success
  type: dict
  contains:
    keep:
      description: Base backups that stay.
      type: list
      elements: dict
      contains:
        name:
          description: WAL-G's name for it.
          type: str
        reasons:
          description: Why it stays.
          type: list
          elements: str
    delete:
      description: Base backups that go.
      type: list
      elements: dict
      contains:
        name:
          description: WAL-G's name for it.
          type: str
        reason:
          description: Why it goes.
          type: str
        bytes:
          description: Bytes in the storage.
          type: int
        objects:
          description: How many objects it has.
          type: int
    leftovers:
      description: What base backups that never ended have left.
      type: list
      elements: dict
      contains:
        name:
          description: WAL-G's name for it.
          type: str
        reason:
          description: Why it goes.
          type: str
        bytes:
          description: Bytes in the storage.
          type: int
        objects:
          description: How many objects are left.
          type: int
    unmark:
      description: Permanent base backups whose time is over, and that stay as ordinary ones.
      type: list
      elements: str
    wal:
      description: WAL that goes.
      type: dict
      contains:
        segments:
          description: How many segments.
          type: int
        bytes:
          description: Bytes in the storage.
          type: int
        ranges:
          description: Segments without a gap.
          type: list
          elements: dict
          contains:
            timeline:
              description: The timeline.
              type: int
            first:
              description: The first segment.
              type: str
            last:
              description: The last segment.
              type: str
            segments:
              description: How many.
              type: int
    windows_before:
      description: What could be restored before.
      type: list
      elements: dict
      contains: &window
        timeline:
          description: The timeline.
          type: int
        first_time:
          description: When the base backup ended with which the window begins.
          type: str
        first_lsn:
          description: Where it ended.
          type: str
        last_lsn:
          description: The end of the window's last segment.
          type: str
        backups:
          description: How many base backups are in it.
          type: int
        missing:
          description: The missing segment that ends it; none if it reaches the archive's end.
          type: str
    windows_after:
      description: What can be restored afterwards.
      type: list
      elements: dict
      contains: *window
    bytes:
      description: Bytes of all that goes.
      type: int
"""

from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import (
    _expire,
    _first_plan,
    _retention_state,
    _retention_told,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import call_as
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import instance_from, with_binary_at_hand
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer, _enter, _specs


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **_specs.configured_options(),
            **_specs.retention_options(),
            "confirmed": {"type": "bool", "default": False},
            "first_plan": {"type": "str", "choices": ["ask", "note"]},
        },
        supports_check_mode=True,
    )
    _answer.begin(module)
    _enter.enter(module)
    params = module.params
    try:
        instance = instance_from(params, module.check_mode)
        if module.check_mode:
            instance = with_binary_at_hand(instance)
        given = {name: params[name] for name in _specs.retention_options() if params[name] is not None}

        def work() -> dict[str, Any]:
            policy = _expire.policy_of(instance, given)
            now = datetime.now(timezone.utc)
            if params["first_plan"] == "ask":
                return _first_plan.ask(Runner(), instance, policy, now)
            if params["first_plan"] == "note":
                new = _retention_state.note_play(instance, policy, dry=module.check_mode)
                return {**_expire.answer(None, "the first plan is noted as shown"), "changed": new}
            return _expire.run(Runner(), instance, policy, now, dry=module.check_mode, confirmed=params["confirmed"])

        answer = call_as(instance.owner, work)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    answer["lines"] = _retention_told.lines(answer["plan"], answer["text"], shown_only=answer["shown_only"])
    for warning in answer.pop("warnings"):
        _answer.warn(module, warning)
    _answer.succeed(module, **answer)


if __name__ == "__main__":
    main()
