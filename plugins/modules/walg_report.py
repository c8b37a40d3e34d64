#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the page that says which clusters could be restored now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_report
short_description: Write a page that shows what could be restored now
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Writes one HTML file that needs no network, with what M(mapswipe.walg.walg_status) found on many hosts, the worst first. It shows for
    each cluster whether it can be restored, a bar of the moments that can be restored with its holes, base backups, ages, sizes and runs,
    and the command for a moment that is chosen on the bar.
  - Run it on the controller, which needs no WAL-G. A host that could not be asked is on the page as unknown.
  - The file is rewritten in every run, as the page says how old it is. It counts as changed if more than times and ages differ.
extends_documentation_fragment:
  - mapswipe.walg._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: partial
    details: The diff says which clusters are in which state, not the page's text.
  idempotent:
    support: full
options:
  path:
    description: The file to write. Its directory must exist.
    type: path
    required: true
  hosts:
    description: >-
      What M(mapswipe.walg.walg_status) returned, by the host's name in the inventory. A failed or unreachable answer, or an empty one, is
      shown as unknown.
    type: dict
    required: true
seealso:
  - module: mapswipe.walg.walg_status
"""

EXAMPLES = r"""
- name: Write the page
  mapswipe.walg.walg_report:
    path: /var/www/backups.html
    hosts: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'status'))) }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
states:
  description: How many clusters are in which state.
  returned: success
  type: dict
  contains:
    "yes":
      description: Can be restored.
      type: int
    "no":
      description: Can't be restored to the present.
      type: int
    unknown:
      description: Not known.
      type: int
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import judge
from ansible_collections.mapswipe.walg.plugins.module_utils._report import _page_file
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer


def main() -> None:
    options = {"path": {"type": "path", "required": True}, "hosts": {"type": "dict", "required": True}}
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    _answer.begin(module)
    try:
        judge({"path": module.params["path"]})
        now = datetime.now(timezone.utc)
        made = _page_file.write(module.params["path"], module.params["hosts"], now, dry=module.check_mode)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    module.params["hosts"] = {}  # megabytes that the answer would repeat
    _answer.succeed(module, **made)


if __name__ == "__main__":
    main()
