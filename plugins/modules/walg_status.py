#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say whether the cluster could be restored now, to when, and why not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_status
short_description: Say whether a cluster could be restored now
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Asks the server, pg_wal and the storage, reads what the host's job remembers, and judges. The answer is yes, no or unknown, with the
    moment to which the archive leads, when that was last proved, and reasons with what to do about them.
  - What can't be found out is unknown, never yes.
extends_documentation_fragment:
  - mapswipe.walg._attributes
  - mapswipe.walg._attributes.action_group
  - mapswipe.walg._instance
  - mapswipe.walg._instance.configured
attributes:
  check_mode:
    support: full
    details: The module never changes anything.
  diff_mode:
    support: none
    details: The module never changes anything.
  idempotent:
    support: full
  action_group:
    membership:
      - mapswipe.walg.walg
options:
  read_last_commit:
    description: Whether to fetch the newest WAL, so that the moment to which the archive leads is known rather than estimated.
    type: bool
    default: false
seealso:
  - module: mapswipe.walg.walg_report
  - module: mapswipe.walg.walg_backup_info
  - module: mapswipe.walg.walg_verify
"""

EXAMPLES = r"""
- name: Could it be restored now
  mapswipe.walg.walg_status:
  register: status

- name: Say it
  ansible.builtin.debug:
    msg: "{{ status.lines }}"
"""

RETURN = r"""
verdict:
  description: The judgement.
  returned: success
  type: dict
  contains:
    restorable:
      description: V(yes), V(no) or V(unknown).
      type: str
      sample: "yes"
    to:
      description: The last moment to which the archive can be restored (RFC 3339); none if that is not known.
      type: str
      sample: "2026-01-31T04:05:06Z"
    to_known:
      description: Whether that is the time of a commit rather than that of an upload.
      type: bool
    proved:
      description: When a restore or a whole re-read last proved the archive; none if none has.
      type: str
      sample: "2026-01-21T04:05:06Z"
    proved_to:
      description: The last commit that this restore replayed; none if a re-read proved the archive, or the commit is not known.
      type: str
      sample: "2026-01-21T03:59:58Z"
    exit_code:
      description: What C(walg-job status) ends with. V(0) well, V(5) needs attention, V(6) not restorable, V(7) unknown.
      type: int
      sample: 0
    reasons:
      description: Why, the worst first.
      type: list
      elements: dict
      contains:
        code:
          description: A stable name.
          type: str
          sample: archiver_failing
        level:
          description: V(critical), V(unknown), V(warning) or V(info).
          type: str
        text:
          description: What was found.
          type: str
        remedy:
          description: What to do; empty if there is nothing to do.
          type: str
lines:
  description: The same for people, with what else is known.
  returned: success
  type: list
  elements: str
facts:
  description: All of what was found, which M(mapswipe.walg.walg_report) takes.
  returned: success
  type: raw
"""

from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import call_as
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _job_spec
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import instance_from
from ansible_collections.mapswipe.walg.plugins.module_utils._report import _facts, _status, _verdict
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer, _enter, _specs


def main() -> None:
    module = AnsibleModule(
        argument_spec={**_specs.configured_options(), "read_last_commit": {"type": "bool", "default": False}},
        supports_check_mode=True,
    )
    _answer.begin(module)
    _enter.enter(module, _enter.FILES)
    try:
        instance = instance_from(module.params, module.check_mode)
        spec = _job_spec.load(instance.config_dir, instance.name, instance.owner.uid)
        runner, deep = Runner(), module.params["read_last_commit"]

        def look() -> dict[str, Any]:
            return _facts.gather(runner, instance, spec, datetime.now(timezone.utc), read_last_commit=deep)

        facts = call_as(instance.owner, look)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    now = datetime.now(timezone.utc)
    verdict = _verdict.judge(facts, now)
    lines = _status.lines(facts, verdict, now)
    _answer.succeed(module, changed=False, verdict=_verdict.as_dict(verdict), lines=lines, facts=facts)


if __name__ == "__main__":
    main()
