#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask Google about credentials, from wherever this runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_google_check
short_description: Ask Google about credentials for a bucket
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Asks Google for a token with O(google_credentials), and what that may do in the bucket of O(storage). The answer says whose the
    credentials are, and if something is wrong, what, and what to do.
  - It needs neither WAL-G nor PostgreSQL. The role P(mapswipe.walg.walg#role) runs it on the controller if the managed host has no
    C(google-auth).
  - It needs the Python package C(google-auth) 2.24 or newer where it runs. Without it, it answers that Google was not asked, and why.
extends_documentation_fragment:
  - mapswipe.walg._attributes
attributes:
  check_mode:
    support: full
    details: It never changes anything.
  diff_mode:
    support: N/A
    details: It never changes anything.
  idempotent:
    support: full
options:
  storage:
    description: The storage as one URL, such as C(gs://bucket/path).
    type: str
    required: true
  google_credentials:
    description: Content of a Google credentials file, as text or as a dictionary.
    type: raw
    required: true
  settings:
    description: WAL-G settings under their own names. Of these, the proxy and the CA file are used, if that file exists here.
    type: raw
    default: {}
  access:
    description: What is needed; V(write) is everything, V(read) and V(read_only) are listing and reading.
    type: str
    choices: [write, read, read_only]
    default: write
  version:
    description: The WAL-G version that will use the credentials. A type that it can't load is a problem.
    type: str
  timeout:
    description: Maximum duration, in seconds.
    type: int
    default: 30
  failure:
    description:
      - What M(mapswipe.walg.walg_instance) returned when it failed on the host. Then this module fails with the same result, and adds to
        the message what Google says.
    type: dict
seealso:
  - module: mapswipe.walg.walg_storage_check
"""

EXAMPLES = r"""
- name: Check a key before it is used
  mapswipe.walg.walg_google_check:
    storage: gs://example-backups/db1
    google_credentials: "{{ lookup('ansible.builtin.file', 'serviceAccountKey.json') }}"
  delegate_to: localhost
  become: false
"""

RETURN = r"""
asked:
  description: Whether Google was asked.
  returned: success
  type: bool
reason:
  description: Why it was not.
  returned: when it was not
  type: str
type:
  description: Type of the credentials file, or V(machine) for the machine's own service account.
  returned: when it is known
  type: str
found_by:
  description: Where they come from; V(inventory), V(GOOGLE_APPLICATION_CREDENTIALS), V(gcloud) or V(metadata server).
  returned: when it is known
  type: str
account:
  description: The account that acts.
  returned: when it is known
  type: str
project:
  description: The project of the account.
  returned: when the credentials name it
  type: str
key_id:
  description: ID of the key. It is no secret.
  returned: when it is a service account's key
  type: str
permissions:
  description: Which of the needed permissions the account has on the bucket.
  returned: when the storage told
  type: list
  elements: str
missing:
  description: Which it lacks there. A grant for one prefix only does not show on the bucket.
  returned: when the storage told
  type: list
  elements: str
problem:
  description: >-
    What is wrong; V(not_readable), V(wrong_type), V(lacks_fields), V(clock_skew), V(key_gone), V(account_disabled),
    V(wrong_scope), V(no_metadata_server), V(no_machine_account), V(subject_token), V(token_exchange), V(impersonation),
    V(no_bucket), V(permissions), V(unreachable) or V(rejected).
  returned: when something is
  type: str
advice:
  description: The same as a sentence, with what to do.
  returned: when something is wrong
  type: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import judge
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer, _google_asked


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "storage": {"type": "str", "required": True, "no_log": True},
            # raw: a failed conversion would print the value
            "google_credentials": {"type": "raw", "required": True, "no_log": True},
            "settings": {"type": "raw", "default": {}, "no_log": True},
            "access": {"type": "str", "choices": ["write", "read", "read_only"], "default": "write"},
            "version": {"type": "str"},
            "timeout": {"type": "int", "default": 30},
            "failure": {"type": "dict", "no_log": True},
        },
        supports_check_mode=True,
    )
    _answer.begin(module)
    params = module.params
    try:
        judge({name: value for name, value in params.items() if name != "failure"}, timeout=1)
        google = _google_asked.from_elsewhere(params, os.path.exists)
        if params["failure"]:
            raise _google_asked.failed_there(params["failure"], google)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    _answer.succeed(module, changed=False, **google)


if __name__ == "__main__":
    main()
