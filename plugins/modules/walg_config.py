#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write WAL-G's settings and the record of an instance."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_config
short_description: Settings file and record of an instance
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Writes C(<config_dir>/<instance>.json), which only the cluster's owner can read and which WAL-G always uses, and
    C(<config_dir>/<instance>.env), which tells the wrappers, the job and the other modules where everything is and contains
    no secrets. The content of O(google_credentials) goes into C(<config_dir>/<instance>.credentials.json), which only the owner can read,
    and C(GOOGLE_APPLICATION_CREDENTIALS) points there.
  - New settings are tried out before they replace old ones. The storage must answer and must not contain base backups of
    another cluster; otherwise nothing is written and a running archive continues unchanged.
  - Rejects unknown settings (and suggests the nearest known name), secrets outside of O(secrets), and anything but exactly one storage.
extends_documentation_fragment:
  - mapswipe.walg._attributes
  - mapswipe.walg._attributes.action_group
  - mapswipe.walg._host.found
  - mapswipe.walg._instance
  - mapswipe.walg._storage
  - mapswipe.walg._storage.limits
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Secrets are masked.
  idempotent:
    support: full
  action_group:
    membership:
      - mapswipe.walg.storage
options:
  binary:
    required: true
  cluster:
    required: true
  directories:
    required: true
seealso:
  - module: mapswipe.walg.walg_instance
  - module: mapswipe.walg.walg_instance_info
  - module: mapswipe.walg.walg_storage_check
"""

EXAMPLES = r"""
- name: Find the cluster
  mapswipe.walg.walg_instance_info:
  register: found

- name: Use Google Cloud Storage with a key beside the play
  mapswipe.walg.walg_config:
    storage: gs://x4m-test-bucket/walg-folder
    google_credentials: "{{ lookup('ansible.builtin.file', 'serviceAccountKey.json') }}"
    binary: /usr/local/bin/wal-g-3.0.8
    cluster: "{{ found.cluster }}"
    directories: "{{ found.directories }}"
"""

RETURN = r"""
settings_file:
  description: The settings that WAL-G reads.
  returned: success
  type: str
  sample: /etc/mapswipe-walg/main.json
record_file:
  description: The instance's record.
  returned: success
  type: str
  sample: /etc/mapswipe-walg/main.env
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import judge
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer, _config, _given, _specs


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **_specs.instance_options(),
            **_specs.storage_options(),
            **_specs.found_options(required=True),
            **_specs.limit_options(),
        },
        supports_check_mode=True,
    )
    _answer.begin(module)
    try:
        judge(module.params)
        _given.complete(module.params)
        runner = Runner()
        plan = _config.plan(module.params, runner)
        changed, diff = plan.changed, plan.diff()  # what stands on the disk now; not after apply
        if changed and not module.check_mode:
            plan.apply(runner)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    instance = plan.instance
    _answer.succeed(
        module,
        changed=changed,
        diff=diff,
        settings_file=instance.settings_file,
        record_file=instance.record_file,
    )


if __name__ == "__main__":
    main()
