#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install a WAL-G binary from a local file."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_install
short_description: Install a WAL-G binary
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Makes sure that a given WAL-G build stands at a path. The digest is always checked, and the new binary is started once
    before it takes the place of another, atomically.
  - A build for another architecture or a newer glibc is refused by what the file itself says, with the published build that
    would do. A shared library that the host lacks is named with its package.
extends_documentation_fragment:
  - mapswipe.walg.attributes
options:
  src:
    description: File on the managed host to install from.
    type: path
    required: true
  checksum:
    description: "Digest of the binary as C(sha256:HEX). There is no way to skip it."
    type: str
    required: true
  path:
    description: Where it is to stand. Let the name carry the version, so that two instances can differ.
    type: path
    required: true
  version:
    description:
      - The version that the binary must report, such as V(1.1.3) or V(3.0.8).
      - A binary built without a version stamp reports C(devel) and is refused unless this is V(devel).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: WAL-G 3.0.8 from a file that was copied to the host
  mapswipe.walg.walg_install:
    src: /opt/downloads/wal-g-pg-22.04-amd64
    checksum: sha256:f30544c5ce93cf83b87578e3c4a2e9c0e0ffc3d160ef89ecddaf75f397d98deb
    path: /usr/local/bin/wal-g-3.0.8
    version: 3.0.8
"""

RETURN = r"""
path:
  description: Where the binary stands.
  returned: success
  type: str
  sample: /usr/local/bin/wal-g-3.0.8
version:
  description: What the binary says of itself.
  returned: success
  type: str
  sample: v3.0.8
sha256:
  description: Digest of the installed file.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils import _flow_install
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._process import Runner


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "src": {"type": "path", "required": True},
            "checksum": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
            "version": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        runner = Runner()
        plan = _flow_install.plan(runner, params["src"], params["checksum"], params["path"], params["version"])
        if plan.changed and not module.check_mode:
            _flow_install.apply(plan)
    except WalgError as exc:
        module.fail_json(msg=exc.msg, **exc.fields)
    module.exit_json(changed=plan.changed, diff=plan.diff(), path=plan.path, version=plan.reported, sha256=plan.wanted)


if __name__ == "__main__":
    main()
