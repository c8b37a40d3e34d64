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
  - mapswipe.walg.attributes
options:
  path:
    description: Where to install it. Include the version in the name, so that two instances can use different ones.
    type: str
    required: true
  version:
    description:
      - The version, such as V(3.0.8). The binary must report it.
      - A binary built without a version stamp reports C(devel) and is rejected unless this is V(devel).
    type: str
    required: true
  state:
    description:
      - V(present) installs it at O(path).
      - V(staged) puts it on the host and checks it, in a hidden file beside O(path) or in O(src), so that it can be tried out first. The
        file at O(path) is not touched. V(present) then uses the staged one.
      - V(pruned) removes other versions that were installed beside O(path), except the O(keep) newest and those in use.
        Files that this module did not install are never removed.
    type: str
    choices: [present, staged, pruned]
    default: present
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
  mirror:
    description: Where releases are downloaded from. It must provide C(TAG/ASSET) below this URL, as WAL-G's release page does.
    type: str
    default: https://github.com/wal-g/wal-g/releases/download
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
    description: Directory of the instances' records, which show what is in use. Required with O(state=pruned).
    type: str
  instance:
    description: With O(state=pruned), the instance that uses O(path).
    type: str
    default: main
  keep:
    description: With O(state=pruned), how many unused versions to keep, the last installed first.
    type: int
    default: 1
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
    state: pruned
    config_dir: /etc/mapswipe-walg
"""

RETURN = r"""
path:
  description: Where the binary is.
  returned: success
  type: str
  sample: /usr/local/bin/wal-g-3.0.8
version:
  description: The version that the binary reports; the requested one if it is not there yet.
  returned: when O(state) is not V(pruned)
  type: str
  sample: v3.0.8
sha256:
  description: Digest of the file.
  returned: when O(state) is not V(pruned)
  type: str
src:
  description: Where the binary is if it is not at O(path) yet; empty if nothing needs to be installed.
  returned: when O(state) is not V(pruned)
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
  returned: when O(state) is not V(pruned)
  type: list
  elements: str
removed:
  description: Paths that were removed.
  returned: O(state=pruned)
  type: list
  elements: str
"""

import contextlib
import os
import urllib.error
from collections.abc import Callable
from typing import Any

from ansible.module_utils import urls
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _locks, _trust
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._install import (
    _binary,
    _installed,
    _prune,
    _release,
    _workshop,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._install._download import Web
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import judge
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _releases


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "staged", "pruned"], "default": "present"},
            "managed": {"type": "bool", "default": True},
            "src": {"type": "str"},
            "checksum": {"type": "str"},
            "mirror": {"type": "str", "default": _releases.PUBLISHED, "no_log": True},
            "url_username": {"type": "str"},
            "url_password": {"type": "str", "no_log": True},
            "ca_path": {"type": "str"},
            "timeout": {"type": "int", "default": 600},
            "user": {"type": "str"},
            "config_dir": {"type": "str"},
            "instance": {"type": "str", "default": "main"},
            "keep": {"type": "int", "default": 1},
        },
        required_if=[("state", "pruned", ("config_dir",))],
        required_by={"src": "checksum"},
        supports_check_mode=True,
    )
    _answer.begin(module)
    try:
        judge(module.params, timeout=1)
        answer = _done(module)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    _answer.succeed(module, path=module.params["path"], **answer)


def _done(module: AnsibleModule) -> dict[str, object]:
    params = module.params
    _releases.refuse_odd(params["version"])
    _trust.refuse_unplain(params["path"], "walg_binary_path")
    if params["managed"]:
        _trust.refuse_loose(os.path.dirname(params["path"]), "The directory of walg_binary_path")
    if params["config_dir"]:
        _trust.refuse_loose(params["config_dir"], "walg_config_dir")
    writes = params["managed"] and not module.check_mode
    directory, patience = os.path.dirname(params["path"]), params["timeout"] + 60
    with _locks.alone(directory, patience) if writes else contextlib.nullcontext():
        if params["state"] == "pruned":
            return _pruned(module)
        user = _workshop.starter(params["user"])
        with _workshop.opened(Runner(), user, params["path"] if writes else None) as shop:
            return _installed_as_wanted(module, shop)


def _pruned(module: AnsibleModule) -> dict[str, object]:
    params = module.params
    plan = _prune.plan(params["path"], params["keep"], params["config_dir"], params["instance"])
    if plan.unreadable:
        names = ", ".join(plan.unreadable)
        _answer.warn(module, f"No version of WAL-G is removed: what these instances use can't be read: {names}.")
    if plan.changed and not module.check_mode:
        _prune.apply(plan)
    return {"changed": plan.changed, "diff": plan.diff(), "removed": plan.removed}


def _installed_as_wanted(module: AnsibleModule, shop: _workshop.Workshop) -> dict[str, object]:
    params = module.params
    path, version, checksum = params["path"], params["version"], params["checksum"] or ""
    web = Web(_opener(params), params["timeout"])
    if not params["managed"]:
        plan = _binary.unmanaged(shop.runner, path, version, shop.user)
    elif params["src"]:
        plan = _binary.plan(shop, params["src"], checksum, path, version, module.check_mode)
    else:
        machine, glibc = os.uname().machine, _binary.host_glibc()
        release = _release.choose(version, params["mirror"], checksum, machine, glibc)
        if params["url_username"] or params["url_password"]:
            _release.refuse_open(release.url)
        plan = _release.plan(shop, web, release, path)
    record = _installed.load(os.path.dirname(path))
    others = record.others(path)
    news = params["managed"] and _binary.enrol(plan, record, params["config_dir"] or "")
    url, diff = plan.fetch, plan.diff()
    changed = bool(url) if params["state"] == "staged" else plan.changed or news
    if changed and not module.check_mode:
        if url:
            plan = _release.fetch(shop, web, plan)
        if params["state"] == "present":
            _binary.apply(plan)
            record.save()
        else:
            _binary.stage(plan)
    answer: dict[str, object] = {"changed": changed, "diff": diff, "others": others, "sha256": plan.wanted}
    answer.update({key: value for key, value in (("asset", plan.asset), ("url", url)) if value})
    return {**answer, "version": plan.reported or version, "src": plan.src if plan.installed != plan.wanted else ""}


def _opener(params: dict[str, Any]) -> Callable[[str, float, bool], Any]:
    """Return what asks one server for one URL: Ansible's own client, with its proxies and certificates, following no redirect."""

    def open_url(url: str, timeout: float, credentials: bool) -> Any:
        if params["ca_path"] and not os.path.isfile(params["ca_path"]):
            raise WalgError(f"There is no file {params['ca_path']} on this host (walg_binary_mirror_ca).")
        try:
            return urls.open_url(
                url,
                timeout=timeout,
                url_username=(params["url_username"] or None) if credentials else None,
                url_password=(params["url_password"] or "") if credentials else "",
                force_basic_auth=True,
                follow_redirects="none",
                ca_path=params["ca_path"] or None,
                http_agent="mapswipe.walg",
                use_netrc=False,
                decompress=False,
            )
        except urls.ConnectionError as exc:
            raise urllib.error.URLError(str(exc)) from exc

    return open_url


if __name__ == "__main__":
    main()
