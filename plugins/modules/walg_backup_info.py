#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an archive holds and which points it can be restored to."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_backup_info
short_description: List base backups, timelines and the points that an archive can be restored to
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Lists the base backups in an instance's storage, their chains, the timelines of its WAL, and the recoverable windows. A window
    reaches from the end of a base backup to the last WAL before a gap.
  - It reads the storage, and what the job's runs on this host came to (RV(history)). The server does not have to run, and its data
    directory may be lost.
  - Base backups of another cluster in the same storage are shown and marked, not hidden.
extends_documentation_fragment:
  - mapswipe.walg._attributes
  - mapswipe.walg._attributes.action_group
  - mapswipe.walg._attributes.info
  - mapswipe.walg._instance
  - mapswipe.walg._instance.configured
attributes:
  action_group:
    membership:
      - mapswipe.walg.walg
options:
  read_last_commit:
    description:
      - Whether to fetch the last segment of the timeline that C(latest) follows and read the time of its last commit. Then the end of
        its window is known instead of estimated.
      - If there is no commit in that segment, the module tries the one before, up to 16 segments.
    type: bool
    default: false
notes:
  - The end of a window is an estimate unless O(read_last_commit) is set. The time is then that of the last segment's upload,
    which is later than its last commit. The LSN is that of the segment's end, which is after the last record.
seealso:
  - module: mapswipe.walg.walg_backup
  - module: mapswipe.walg.walg_restore
  - module: mapswipe.walg.walg_verify
"""

EXAMPLES = r"""
- name: List the points I can restore to
  mapswipe.walg.walg_backup_info:
    read_last_commit: true
  register: archive

- name: Show the windows of the timeline that latest follows
  ansible.builtin.debug:
    msg: "{{ archive.windows | selectattr('timeline', 'equalto', archive.trunk.timeline) }}"

- name: The newest restorable base backup is less than two days old
  ansible.builtin.assert:
    that:
      - archive.ages.backup is not none
      - archive.ages.backup < 172800
"""

RETURN = r"""
owner:
  description:
    - Whose archive it is by the marker that M(mapswipe.walg.walg_archive) and M(mapswipe.walg.walg_backup) leave in the storage;
      none if there is no marker.
    - The timeline in it is the writer's, from which the search for RV(trunk) starts.
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
owner_problem:
  description: Why the marker can't be read; none if all is well.
  returned: success
  type: str
system_identifiers:
  description: System identifiers of the base backups, as strings because they are above 2^53.
  returned: success
  type: list
  elements: str
  sample: ["7310203040506070809"]
foreign:
  description: Those of them that are not of this instance's cluster. Separate the archives of such a storage.
  returned: success
  type: list
  elements: str
  sample: []
backups:
  description: Base backups in the order of their ends, oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: WAL-G's name for it.
      type: str
      sample: base_000000010000000000000004_D_000000010000000000000002
    start_time:
      description: When it began (RFC 3339).
      type: str
      sample: "2026-01-31T04:05:06.123456Z"
    finish_time:
      description: When it ended.
      type: str
      sample: "2026-01-31T04:15:06.123456Z"
    age:
      description: Seconds since it ended.
      type: float
    timeline:
      description: The timeline on which it began.
      type: int
    start_lsn:
      description: Where its WAL begins.
      type: str
      sample: 0/4000028
    start_lsn_int:
      description: The same as a number.
      type: int
    finish_lsn:
      description: The LSN from which on it is consistent.
      type: str
      sample: 0/4000100
    finish_lsn_int:
      description: The same as a number.
      type: int
    system_identifier:
      description: The cluster it belongs to; none if WAL-G did not record it.
      type: str
    foreign:
      description: Whether it belongs to another cluster than this instance's.
      type: bool
    pg_version:
      description: PostgreSQL's version as a number, such as 140023.
      type: int
    hostname:
      description: Where it was taken.
      type: str
    data_dir:
      description: The data directory there.
      type: str
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
    delta_base:
      description: The base backup that a delta is based on; its name begins with this segment.
      type: str
    user_data:
      description: What was recorded with it.
      type: raw
    restorable:
      description: Whether its own WAL is in the storage and its chain is complete.
      type: bool
    reason:
      description: Why it is not restorable.
      type: str
chains:
  description: A full base backup with the deltas on it.
  returned: success
  type: list
  elements: dict
  contains:
    full:
      description: The full base backup; none if it is missing.
      type: str
    deltas:
      description: Its deltas, oldest first.
      type: list
      elements: str
    system_identifier:
      description: The cluster.
      type: str
    uncompressed_size:
      description: Bytes of all of them when restored.
      type: int
    compressed_size:
      description: Bytes of all of them in the storage.
      type: int
timelines:
  description: Timelines of which the storage holds WAL or that a history file names.
  returned: success
  type: list
  elements: dict
  contains:
    timeline:
      description: Its number.
      type: int
    parent:
      description: The timeline that it left, from its history file.
      type: int
    switch_lsn:
      description: Where it left it.
      type: str
    switch_lsn_int:
      description: The same as a number.
      type: int
    first_segment:
      description: The first segment in the storage; none if there is no whole one.
      type: str
    last_segment:
      description: The last one.
      type: str
    last_uploaded:
      description: When the last one was uploaded.
      type: str
    orphan:
      description: Whether it is not part of the history that C(latest) follows, like a drill that archived by accident.
      type: bool
    gaps:
      description: What is missing between the first and the last segment.
      type: list
      elements: dict
      contains:
        first:
          description: The first missing segment.
          type: str
        last:
          description: The last missing segment.
          type: str
        segments:
          description: How many are missing.
          type: int
trunk:
  description: The timeline that C(latest) should follow.
  returned: success
  type: dict
  contains:
    timeline:
      description: Its number; none if it is ambiguous, then see C(candidates).
      type: int
    candidates:
      description: Timelines that it may be.
      type: list
      elements: int
    reason:
      description: Why it is this one, or why it is ambiguous.
      type: str
windows:
  description: The recoverable windows; those of a timeline include its ancestors' base backups.
  returned: success
  type: list
  elements: dict
  contains:
    system_identifier:
      description: The cluster. If a storage has WAL of several clusters, it can't be told apart.
      type: str
    timeline:
      description: The timeline.
      type: int
    first:
      description: The first point, the end of a base backup.
      type: dict
      contains:
        timeline:
          description: The timeline it is on.
          type: int
        lsn:
          description: Its LSN.
          type: str
        lsn_int:
          description: The same as a number.
          type: int
        lsn_known:
          description: Whether the LSN is known rather than estimated.
          type: bool
        time:
          description: Its time.
          type: str
        time_known:
          description: Whether the time is known rather than estimated.
          type: bool
      sample: {timeline: 1, lsn: 0/4000100, lsn_int: 67109120, lsn_known: true, time: "2026-01-31T04:15:06Z", time_known: true}
    last:
      description: The last point.
      type: dict
      contains:
        timeline:
          description: The timeline it is on.
          type: int
        lsn:
          description: Its LSN.
          type: str
        lsn_int:
          description: The same as a number.
          type: int
        lsn_known:
          description: Whether the LSN is known rather than estimated.
          type: bool
        time:
          description: Its time.
          type: str
        time_known:
          description: Whether the time is known rather than estimated.
          type: bool
      sample: {timeline: 2, lsn: 0/9000000, lsn_int: 150994944, lsn_known: false, time: "2026-01-31T07:15:06Z", time_known: false}
    backups:
      description: The base backups in it that can be restored, in the order of their ends.
      type: list
      elements: str
    missing:
      description: The missing segment that ends it; none if it reaches the archive's end.
      type: str
last_commits:
  description: What O(read_last_commit) found, for the timeline that C(latest) follows, or for each that it may follow.
  returned: success
  type: list
  elements: dict
  contains:
    timeline:
      description: The timeline.
      type: int
    time:
      description: When the last commit was; none if the segments read hold none.
      type: str
    lsn:
      description: Where its record begins.
      type: str
    lsn_int:
      description: The same as a number.
      type: int
    segments_read:
      description: How many segments were read.
      type: int
ages:
  description: Seconds, or none where there is nothing.
  returned: success
  type: dict
  contains:
    backup:
      description: Since the newest restorable base backup of this cluster ended.
      type: float
    wal:
      description: Since the last segment of the timeline that C(latest) follows was uploaded.
      type: float
segment_size:
  description: Bytes of a segment.
  returned: success
  type: int
  sample: 16777216
history:
  description: What the host's job did, the newest first, at most 50 runs of each verb; empty if it never ran on this host.
  returned: success
  type: list
  elements: dict
  contains:
    verb:
      description: What was run, such as V(backup), V(check), V(expire) or V(verify).
      type: str
      sample: backup
    started:
      description: When it began (RFC 3339).
      type: str
      sample: "2026-01-31T02:17:00Z"
    ended:
      description: When it ended.
      type: str
      sample: "2026-01-31T02:26:14Z"
    seconds:
      description: How long it took.
      type: float
      sample: 553.9
    code:
      description: Its exit code, see docs/monitoring.md.
      type: int
      sample: 0
    changed:
      description: Whether it changed anything in the storage.
      type: bool
    text:
      description: What came of it, in one line.
      type: str
    details:
      description: Names and numbers, which depend on the verb.
      type: raw
"""

from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _info
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _history
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import call_as
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import instance_from
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer, _enter, _specs

_RUNS = 50  # of each verb


def main() -> None:
    module = AnsibleModule(
        argument_spec={**_specs.configured_options(), "read_last_commit": {"type": "bool", "default": False}},
        supports_check_mode=True,
    )
    _answer.begin(module)
    _enter.enter(module, _enter.FILES)
    try:
        instance = instance_from(module.params, module.check_mode)

        def look() -> dict[str, Any]:
            told = _info.read(
                Runner(), instance, datetime.now(timezone.utc), read_last_commit=module.params["read_last_commit"]
            )
            runs = _history.newest(_history.read(instance.files.history), _RUNS)
            return {**told, "history": [asdict(run) for run in runs]}

        answer = call_as(instance.owner, look)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    _answer.succeed(module, changed=False, **answer)


if __name__ == "__main__":
    main()
