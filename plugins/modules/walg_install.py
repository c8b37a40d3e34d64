#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install a WAL-G binary: by release, from a mirror or from a file; remove old ones."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_install
short_description: Install a WAL-G binary
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Makes sure that a given WAL-G version is installed at a path. From WAL-G's releases it uses the build for the host's architecture
    and C library. The digest is always checked. The new binary is started once before it atomically replaces an old one; if anything fails
    before that, the old one stays untouched.
  - A build for another architecture or a newer glibc is rejected, according to the file's own headers, and the error names the published
    build to use. If the host lacks a shared library, the error names its package.
  - What was installed is recorded in C(.mapswipe-walg.json) beside O(path). If nothing changes, the network is not used.
  - A proxy is taken from the environment (C(HTTPS_PROXY), C(NO_PROXY)).
extends_documentation_fragment:
  - mapswipe.walg._attributes
  - mapswipe.walg._attributes.action_group
  - mapswipe.walg._release
attributes:
  check_mode:
    support: full
    details: A release is not downloaded in check mode, so only its published digest is known.
  diff_mode:
    support: full
  idempotent:
    support: full
  action_group:
    membership:
      - mapswipe.walg.release
options:
  path:
    description: Where to install it. Include the version in the name, so that two instances can use different ones.
    type: str
    required: true
  version:
    required: true
  managed:
    description:
      - V(false) is for a binary at O(path) that is managed by other means, such as a package. It must exist, its version is checked, and
        it is never replaced or removed.
    type: bool
    default: true
  src:
    description: File on the managed host to install from. Without it, the release is downloaded.
    type: str
  checksum:
    description:
      - Digest of the binary as C(sha256:HEX). Required with O(src).
      - For downloads this defaults to the published digest (C(ASSET.sha256)), read over HTTPS. The check cannot be disabled. The releases
        1.0 and 1.1 have no published digests.
    type: str
  url_username:
    description: User name for O(mirror).
    type: str
  url_password:
    description: Password for O(mirror). It is sent to that host only, even if that redirects to another.
    type: str
  ca_path:
    description: File on the managed host with the certificates to trust for O(mirror), instead of the host's own.
    type: str
  timeout:
    description: Maximum duration of a whole download, in seconds.
    type: int
    default: 600
  user:
    description:
      - If the module runs as root, the operating system user that starts the new binary once to check its version. This should be the owner
        of the data directory. If empty, it is C(nobody). The binary is never started as root.
    type: str
  config_dir:
    description: Directory of the instances' records, which show what is in use. Required with O(keep).
    type: str
  instance:
    description: With O(keep), the instance that uses O(path).
    type: str
    default: main
  keep:
    description:
      - How many unused versions to keep beside O(path), the last installed first. Older ones are removed, except those in use.
        Files that this module did not install are never removed. If not given, nothing is removed.
    type: int
seealso:
  - module: mapswipe.walg.walg_instance
  - module: mapswipe.walg.walg_config
"""

EXAMPLES = r"""
- name: Install the published WAL-G 3.0.8
  mapswipe.walg.walg_install:
    path: /usr/local/bin/wal-g-3.0.8
    version: 3.0.8

- name: Install it from your own mirror
  mapswipe.walg.walg_install:
    path: /usr/local/bin/wal-g-3.0.8
    version: 3.0.8
    mirror: https://mirror.example.com/wal-g
    url_username: backup
    url_password: "{{ vault_mirror_password }}"
    ca_path: /etc/ssl/certs/example-ca.pem

- name: Install WAL-G 3.0.8 from a file that was copied to the host
  mapswipe.walg.walg_install:
    src: /opt/downloads/wal-g-pg-22.04-amd64
    checksum: sha256:f30544c5ce93cf83b87578e3c4a2e9c0e0ffc3d160ef89ecddaf75f397d98deb
    path: /usr/local/bin/wal-g-3.0.8
    version: 3.0.8

- name: Check a WAL-G that a package installed
  mapswipe.walg.walg_install:
    path: /usr/bin/wal-g
    version: 3.0.8
    managed: false

- name: Remove unused versions except one
  mapswipe.walg.walg_install:
    path: /usr/local/bin/wal-g-3.0.8
    version: 3.0.8
    config_dir: /etc/mapswipe-walg
    keep: 1
"""

RETURN = r"""
path:
  description: Where the binary is.
  returned: success
  type: str
  sample: /usr/local/bin/wal-g-3.0.8
version:
  description: The version that the binary reports; the requested one if it is not there yet.
  returned: success
  type: str
  sample: v3.0.8
sha256:
  description: Digest of the file.
  returned: success
  type: str
asset:
  description: Name of the published build.
  returned: when it comes from a release
  type: str
  sample: wal-g-pg-22.04-amd64
url:
  description: What was downloaded, or in check mode would be.
  returned: when something had to be downloaded
  type: str
others:
  description: Paths of the other binaries that were installed beside it.
  returned: success
  type: list
  elements: str
removed:
  description: Paths of other versions that were, or would be, removed.
  returned: when O(keep) was given
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils import urls
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._install import (
    _wanted,
    _workshop,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._install._download import Web, opener
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import judge
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer, _specs


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "str", "required": True},
            **_specs.required(_specs.release_options(), "version"),
            "managed": {"type": "bool", "default": True},
            "src": {"type": "str"},
            "checksum": {"type": "str"},
            "url_username": {"type": "str"},
            "url_password": {"type": "str", "no_log": True},
            "ca_path": {"type": "str"},
            "timeout": {"type": "int", "default": 600},
            "user": {"type": "str"},
            "config_dir": {"type": "str"},
            "instance": {"type": "str", "default": "main"},
            "keep": {"type": "int"},
        },
        required_by={"src": "checksum", "keep": "config_dir"},
        supports_check_mode=True,
    )
    _answer.begin(module)
    try:
        judge(module.params, timeout=1)
        answer = _installed_as_wanted(module)
        if module.params["keep"] is not None and module.params["managed"]:
            _prune_others(module, answer)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    _answer.succeed(module, path=module.params["path"], **answer)


def _wanted_by(module: AnsibleModule) -> _wanted.Wanted:
    params = module.params
    return _wanted.Wanted(
        path=params["path"],
        version=params["version"],
        src=params["src"] or "",
        checksum=params["checksum"] or "",
        mirror=params["mirror"],
        credentials=bool(params["url_username"] or params["url_password"]),
        managed=params["managed"],
        config_dir=params["config_dir"] or "",
    )


def _patience(module: AnsibleModule) -> float | None:
    """Return the seconds to wait for other runs; in check mode there is nobody to wait for."""
    return None if module.check_mode else float(module.params["timeout"] + 60)


def _installed_as_wanted(module: AnsibleModule) -> dict[str, object]:
    params, wanted = module.params, _wanted_by(module)
    wanted.refuse_place()
    options = (params["ca_path"] or "", params["url_username"] or "", params["url_password"] or "")
    web = Web(opener(urls.open_url, urls.ConnectionError, *options), params["timeout"])
    user = _workshop.starter(params["user"])
    placed = _wanted.put_in_place(Runner(), web, wanted, user, _patience(module))
    before, plan = placed.before, placed.now
    answer: dict[str, object] = {"changed": placed.changed, "diff": before.diff()}
    answer.update(others=placed.others, sha256=plan.wanted)
    answer.update({key: value for key, value in (("asset", plan.asset), ("url", before.fetch)) if value})
    return {**answer, "version": plan.reported or wanted.version}


def _prune_others(module: AnsibleModule, answer: dict[str, Any]) -> None:
    params = module.params
    plan = _wanted.prune(Runner(), _wanted_by(module), params["keep"], params["instance"], _patience(module))
    if plan.unreadable:
        _answer.warn(module, plan.warning())
    changed = answer["changed"] or plan.changed
    answer.update(changed=changed, removed=plan.removed, diff=[answer["diff"], plan.diff()])


if __name__ == "__main__":
    main()
