#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a storage whether it can be listed, written, read and deleted from."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_storage_check
short_description: Check that an instance can list, write, read and delete in its storage
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Lists the storage, writes a small object, reads it back and removes it, as the operating system user that owns the
    cluster. Every step has a time limit. WAL-G itself would retry for half an hour if a bucket or permission is missing.
  - Google credentials are checked first, by rules for what each WAL-G version can load. Then Google itself is asked about them; see
    O(google_check).
  - Without O(storage), O(env_file), O(settings) and O(secrets) it checks the instance as it is configured. With one of them it checks
    settings that are not on the host yet, and needs O(binary), O(cluster) and O(directories) too. During the check these settings are in
    private files of the owner.
  - In check mode it only lists.
extends_documentation_fragment:
  - mapswipe.walg._attributes
  - mapswipe.walg._attributes.action_group
  - mapswipe.walg._host.found
  - mapswipe.walg._instance
  - mapswipe.walg._instance.configured
  - mapswipe.walg._storage
  - mapswipe.walg._storage.access
attributes:
  check_mode:
    support: partial
    details: It only lists and reads, so it does not notice that writing fails.
  diff_mode:
    support: N/A
    details: It leaves nothing changed.
  idempotent:
    support: full
  action_group:
    membership:
      - mapswipe.walg.storage
      - mapswipe.walg.walg
options:
  timeout:
    description: Maximum duration of each step, in seconds.
    type: int
    default: 30
seealso:
  - module: mapswipe.walg.walg_google_check
  - module: mapswipe.walg.walg_archive_check
  - module: mapswipe.walg.walg_config
"""

EXAMPLES = r"""
- name: Check the storage of the instance
  mapswipe.walg.walg_storage_check:

- name: Check that this host can read the archive and not change it
  mapswipe.walg.walg_storage_check:
    access: read_only
"""

RETURN = r"""
asked:
  description: Whether the storage was checked.
  returned: success
  type: bool
backups:
  description: Number of base backups in the storage.
  returned: when the storage was asked
  type: int
can_write:
  description: Whether an object could be written and removed.
  returned: when that was tried
  type: bool
write_answer:
  description: What the storage answered to the attempt to write.
  returned: when O(access=read_only) and writing was denied
  type: str
reason:
  description: Why the storage was not checked.
  returned: when it was not
  type: str
google:
  description: What Google says of the credentials.
  returned: when the storage is C(gs://) and WAL-G was tried
  type: dict
  contains:
    bucket:
      description: The bucket's name.
      returned: unless O(google_check=never)
      type: str
    asked:
      description: Whether Google was asked.
      returned: always
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

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import (
    instance_from,
    judge,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import (
    _answer,
    _config,
    _given,
    _specs,
    _storage_check,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._setup._storage_check import Question


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **_specs.configured_options(),
            **_specs.storage_options(),
            **_specs.access_options(),
            **_specs.found_options(required=False),
            "timeout": {"type": "int", "default": 30},
        },
        required_by=dict.fromkeys(("storage", "env_file"), ("binary", "cluster", "directories")),
        supports_check_mode=True,
    )
    _answer.begin(module)
    try:
        judge(module.params, timeout=1)
        found = _asked(Runner(), module)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    if "warning" in found:
        _answer.warn(module, str(found.pop("warning")))
    _answer.succeed(module, changed=False, **found)


def _asked(runner: Runner, module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    question = Question(params["access"], params["timeout"], module.check_mode, params["google_check"] == "auto")
    if not (params["storage"] or params["env_file"] or params["settings"] or params["secrets"]):
        instance = instance_from(params, module.check_mode)
        return _storage_check.check(runner, _config.configured(instance), instance.binary, question)
    _given.complete(params)
    candidate = _config.candidate(params)
    if not params["binary"]:
        raise WalgError(
            "The option binary is missing. To check settings that are not on the host yet, name the WAL-G to check them with."
        )
    if _storage_check.known(candidate, question):
        return {"asked": False, "reason": "these settings are in force, and WAL arrives in the storage"}
    return _storage_check.check(runner, candidate, params["binary"], question)


if __name__ == "__main__":
    main()
