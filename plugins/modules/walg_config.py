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
    no secrets.
  - New settings are tried out before they replace old ones. The storage must answer and must not contain base backups of
    another cluster; otherwise nothing is written and a running archive continues unchanged.
  - Rejects unknown settings (and suggests the nearest known name), secrets outside of O(secrets), and anything but exactly one storage.
extends_documentation_fragment:
  - mapswipe.walg.attributes
options:
  instance:
    description: Name of the instance. Lower-case letters, digits, C(-) and C(_) are allowed.
    type: str
    default: main
  storage:
    description: >-
      Where WAL-G writes, as one URL such as C(gs://bucket/path), C(s3://bucket/path) or C(file:///dir).
      If empty, it is the storage prefix in O(settings) or O(env_file), such as C(WALG_GS_PREFIX).
    type: str
  env_file:
    description:
      - Path of a file on the managed host with lines such as C(WALG_GS_PREFIX=gs://bucket/path), for example the C(.env) beside a
        compose file. WAL-G's settings are taken from it, by Docker Compose's rules for quotes and comments; all other names are left
        alone, and so are those that begin with C(PG).
      - O(settings) and O(secrets) take precedence, but two different storages are rejected. So is a file that somebody other than
        root can change.
    type: str
  settings:
    description: WAL-G settings under their own names, as a dictionary. Secret ones are rejected here.
    type: raw
    default: {}
  secrets:
    description: Secret WAL-G settings under their own names, as a dictionary. They appear in no output.
    type: raw
  google_credentials:
    description:
      - Content of a Google service account key (JSON), as text or as a dictionary.
      - It is written to C(<config_dir>/<instance>.credentials.json), readable by the owner only, and
        C(GOOGLE_APPLICATION_CREDENTIALS) points there.
      - Use either this, or the path of a file that is already on the host in O(settings), not both.
    type: raw
  tune:
    description:
      - Whether to choose WAL-G's concurrency by the host's cores and memory. A value in O(settings) takes precedence.
      - C(WALG_UPLOAD_DISK_CONCURRENCY) is half of the cores (2 on two cores), at most 4. C(WALG_UPLOAD_CONCURRENCY) is as many
        as fit into a tenth of the memory, 4 to 16. The budget on Google's storage is 50 MiB per upload, and twice that per reader of a
        base backup. C(WALG_DOWNLOAD_CONCURRENCY) is two per core, 4 to 10.
    type: bool
    default: true
  binary:
    description: Path of the WAL-G binary of this instance.
    type: str
    required: true
  cluster:
    description: The cluster as M(mapswipe.walg.walg_instance_info) returns it.
    type: dict
    required: true
  directories:
    description: The directories as M(mapswipe.walg.walg_instance_info) returns them.
    type: dict
    required: true
  push_timeout:
    description:
      - Seconds after which a wal-push is ended and counts as failed.
      - When PostgreSQL stops, it waits for up to three tries in a row.
      - For segments above 64 MiB the limit grows with the size (for 1 GiB it is 16 times longer).
    type: int
    default: 15
  fetch_timeout:
    description: Seconds after which a wal-fetch is ended. For segments above 64 MiB it grows like O(push_timeout).
    type: int
    default: 60
  backup_timeout:
    description: Seconds after which a base backup is ended.
    type: int
    default: 86400
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
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer, _config, _given


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "str", "default": "main"},
            "storage": {"type": "str", "no_log": True},
            "env_file": {"type": "str"},
            # raw: a failed conversion would print the value
            "settings": {"type": "raw", "default": {}, "no_log": True},
            "secrets": {"type": "raw", "no_log": True},
            "google_credentials": {"type": "raw", "no_log": True},
            "tune": {"type": "bool", "default": True},
            "binary": {"type": "str", "required": True},
            "cluster": {"type": "dict", "required": True},
            "directories": {"type": "dict", "required": True},
            "push_timeout": {"type": "int", "default": 15},
            "fetch_timeout": {"type": "int", "default": 60},
            "backup_timeout": {"type": "int", "default": 86400},
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
