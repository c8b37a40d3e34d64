#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the wrappers and the job on the managed host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_programs
short_description: Install wrappers and job on the managed host
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Installs the programs that run on the host without Ansible. These are the wrappers that PostgreSQL calls, and C(walg-job) with its
    library, which the modules of this collection use too.
  - The files belong to the user that installs them. If that is root, the database user can't change them.
extends_documentation_fragment:
  - mapswipe.walg._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  path:
    description: Directory for the programs. It should contain nothing else.
    type: str
    default: /usr/local/lib/mapswipe-walg
  user:
    description: Operating system user that runs them, the owner of the data directory. The job uses a Python that this user can start.
    type: str
    required: true
seealso:
  - module: mapswipe.walg.walg_instance
  - module: mapswipe.walg.walg_config
"""

EXAMPLES = r"""
- name: Install the programs of this collection
  mapswipe.walg.walg_programs:
    user: postgres
"""

RETURN = r"""
path:
  description: Where the programs are.
  returned: success
  type: str
files:
  description: Files that were, or would be, written or removed.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import judge
from ansible_collections.mapswipe.walg.plugins.module_utils._job import _programs
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "str", "default": "/usr/local/lib/mapswipe-walg"},
            "user": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    _answer.begin(module)
    path = module.params["path"]
    try:
        judge(module.params)
        plan = _programs.plan_all(Runner(), path, User.by_name(module.params["user"]))
        files = plan.files if module.check_mode else plan.apply()
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    listed = "".join(f"{name}\n" for name in files)
    _answer.succeed(module, changed=bool(files), path=path, files=files, diff={"before": "", "after": listed})


if __name__ == "__main__":
    main()
