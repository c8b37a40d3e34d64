#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a host ready for one instance: WAL-G, programs, settings."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_instance
short_description: Prepare a host to archive, back up and restore one PostgreSQL cluster
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Finds the cluster, checks the options, the host and the storage, and then installs WAL-G and the programs that run on the host
    without Ansible, and writes the settings of the instance. Versions of WAL-G that are no longer used are removed.
  - Nothing changes until all checks have passed and the storage has answered the WAL-G that will be installed. Check mode shows the same
    plan, except for what needs a download.
  - A O(version) that can't serve this PostgreSQL on that storage is rejected, and the error names one that can.
  - With O(access=write) the storage is not checked again if these settings are in force and WAL arrives.
  - With O(state=present) it starts nothing and changes nothing in PostgreSQL. Use M(mapswipe.walg.walg_archive),
    M(mapswipe.walg.walg_backup) and M(mapswipe.walg.walg_schedule) after it.
  - If a run was killed, the next run finishes it.
  - M(mapswipe.walg.walg_install), M(mapswipe.walg.walg_programs), M(mapswipe.walg.walg_config) and M(mapswipe.walg.walg_storage_check)
    do its parts one by one.
extends_documentation_fragment:
  - mapswipe.walg._attributes
  - mapswipe.walg._attributes.action_group
  - mapswipe.walg._host
  - mapswipe.walg._instance
  - mapswipe.walg._release
  - mapswipe.walg._storage
  - mapswipe.walg._storage.access
  - mapswipe.walg._storage.limits
attributes:
  check_mode:
    support: full
    details: The storage is not asked if WAL-G must be downloaded or uploaded first.
  diff_mode:
    support: full
    details: Secrets are masked.
  idempotent:
    support: full
  action_group:
    membership:
      - mapswipe.walg.host
      - mapswipe.walg.release
      - mapswipe.walg.storage
options:
  state:
    description:
      - V(present) makes the host ready. It needs a storage and O(version).
      - V(absent) removes the instance from the host. PostgreSQL's archiving is switched off first, and this is proved. Then the cron file
        is removed, the programs and WAL-G (unless another instance uses them), and the instance's settings, state and logs. The storage
        is left alone. Fails while a restore is unfinished.
    type: str
    choices: [present, absent]
    default: present
  restart:
    description: With O(state=absent), whether the server may be restarted to switch C(archive_mode) off.
    type: str
    choices: [never, allowed]
    default: never
  storage_timeout:
    description: Maximum duration of each step of the storage check, in seconds.
    type: int
    default: 30
  binary:
    description:
      - Path of the WAL-G binary. If not given, it is C(wal-g-VERSION) in C(bin_dir).
      - Without O(binary_src), it must exist already, for example from a package. Then it is never replaced or removed.
    type: str
  binary_src:
    description: File to install WAL-G from. If not given, the release is downloaded.
    type: str
  binary_remote_src:
    description:
      - Whether O(binary_src) is on the managed host. V(false) means that it is on the controller, and is uploaded to the path that
        RV(upload) shows in check mode, before this module runs.
    type: bool
    default: true
  binary_checksum:
    description: Digest of the binary as C(sha256:HEX). Required with O(binary_src). For downloads it defaults to the published digest.
    type: str
  mirror_username:
    description: User name for O(mirror).
    type: str
  mirror_password:
    description: Password for O(mirror).
    type: str
  mirror_ca:
    description: File on the managed host with the certificates to trust for O(mirror), instead of the host's own.
    type: str
  download_timeout:
    description: Maximum duration of a whole download, in seconds.
    type: int
    default: 600
  keep:
    description: How many unused versions of WAL-G to keep, the last installed first.
    type: int
    default: 1
  purpose:
    description:
      - What the instance will be used for. The module then fails early, before anything is installed or written, if this can't work here.
      - Both reject a data directory that a cluster manager controls (Patroni, repmgr, Pacemaker, Stolon, pg_auto_failover, EDB
        Failover Manager), and a O(version) that does not serve that purpose.
      - V(backup) also rejects a data directory that is missing, empty, not a cluster or of another major version than the
        programs, and one without a running server.
    type: str
    choices: [backup, restore]
  archive:
    description: With O(purpose=backup), the options for M(mapswipe.walg.walg_archive), so that it is known early if it would fail.
    type: dict
    suboptions:
      timeout:
        description: As in M(mapswipe.walg.walg_archive).
        type: int
        default: 60
      restart:
        description: As in M(mapswipe.walg.walg_archive).
        type: str
        choices: [never, allowed]
        default: never
      replace:
        description: As in M(mapswipe.walg.walg_archive).
        type: bool
        default: false
  schedule:
    description: Options of M(mapswipe.walg.walg_schedule), checked here before anything is installed.
    type: dict
  restore:
    description:
      - Options of M(mapswipe.walg.walg_restore), checked here before anything is installed. C(request) must be one of them.
    type: dict
  variables:
    description: Names of the play's variables that begin with C(walg_).
    type: list
    elements: str
    default: []
  known_variables:
    description:
      - Names that the roles know. A name in O(variables) that is not among them is an error that suggests the nearest one. Ansible
        itself does not notice a mistyped variable.
    type: list
    elements: str
    default: []
seealso:
  - module: mapswipe.walg.walg_instance_info
  - module: mapswipe.walg.walg_container
  - module: mapswipe.walg.walg_archive
  - module: mapswipe.walg.walg_backup
  - module: mapswipe.walg.walg_schedule
  - module: mapswipe.walg.walg_restore
"""

EXAMPLES = r"""
- name: Prepare the only cluster of this host for backups
  mapswipe.walg.walg_instance:
    storage: gs://example-backups/db1
    google_credentials: "{{ lookup('ansible.builtin.file', 'serviceAccountKey.json') }}"
    version: 3.0.8
    purpose: backup

- name: Remove it from this host; the server may be restarted
  mapswipe.walg.walg_instance:
    state: absent
    restart: allowed
"""

RETURN = r"""
cluster:
  description: The cluster.
  returned: O(state=present)
  type: dict
  contains:
    data_dir:
      description: PostgreSQL's data directory.
      type: str
    bin_dir:
      description: Directory of PostgreSQL's server programs.
      type: str
    socket_dir:
      description: Directory of the server's socket.
      type: str
    port:
      description: The server's port.
      type: str
    user:
      description: Database role to connect as.
      type: str
    os_user:
      description: Operating system user that owns the data directory.
      type: str
    service:
      description: Who starts and stops the server.
      type: str
    start_options:
      description: Options of a start by C(pg_ctl), quoted for a shell.
      type: str
    system_identifier:
      description: The cluster's system identifier; empty if it is lost.
      type: str
    start_dir:
      description: What a start by C(pg_ctl) names with C(-D), if that is not the data directory.
      type: str
    start_environment:
      description: Variables of a start by C(pg_ctl), as words for a shell.
      type: str
    config_file:
      description: The main configuration file, if it is outside of the data directory.
      type: str
    database:
      description: Database to connect to.
      type: str
    pg_untested:
      description: C(true) if a PostgreSQL version that is newer than all tested ones is accepted.
      type: str
  sample:
    data_dir: /var/lib/postgresql/14/main
    bin_dir: /usr/lib/postgresql/14/bin
    socket_dir: /var/run/postgresql
    port: "5432"
    user: postgres
    os_user: postgres
    service: systemd:postgresql@14-main.service
    start_options: ""
    system_identifier: "7310203040506070809"
    config_file: /etc/postgresql/14/main/postgresql.conf
    database: postgres
    pg_untested: ""
directories:
  description: Where the collection's files are. C(state_dir) and C(log_dir) are the instance's own.
  returned: success
  type: dict
  contains:
    bin_dir:
      description: Directory for WAL-G.
      type: str
    config_dir:
      description: Directory for settings and records.
      type: str
    program_dir:
      description: Directory for the wrappers and the job.
      type: str
    state_dir:
      description: Directory for the instance's state.
      type: str
    log_dir:
      description: Directory for the instance's logs.
      type: str
    cron_dir:
      description: Directory for cron files.
      type: str
  sample:
    bin_dir: /usr/local/bin
    config_dir: /etc/mapswipe-walg
    program_dir: /usr/local/lib/mapswipe-walg
    state_dir: /var/lib/mapswipe-walg/main
    log_dir: /var/log/mapswipe-walg/main
    cron_dir: /etc/cron.d
binary:
  description: Where WAL-G is.
  returned: O(state=present)
  type: str
  sample: /usr/local/bin/wal-g-3.0.8
version:
  description: The version that was asked for.
  returned: O(state=present)
  type: str
  sample: 3.0.8
asset:
  description: Name of the published build.
  returned: when it comes from a release
  type: str
  sample: wal-g-pg-22.04-amd64
url:
  description: What was downloaded, or in check mode would be.
  returned: when something had to be downloaded
  type: str
upload:
  description: Where the controller's file must be uploaded to.
  returned: when O(binary_remote_src=false) and the file is not in place yet
  type: str
settings_file:
  description: The settings that WAL-G reads.
  returned: O(state=present)
  type: str
  sample: /etc/mapswipe-walg/main.json
record_file:
  description: The instance's record.
  returned: O(state=present)
  type: str
  sample: /etc/mapswipe-walg/main.env
storage:
  description: What the storage answered.
  returned: O(state=present)
  type: dict
  contains:
    asked:
      description: Whether the storage was checked.
      returned: always
      type: bool
    reason:
      description: Why the storage was not checked.
      returned: when it was not
      type: str
    backups:
      description: Number of base backups in the storage.
      returned: when it was asked
      type: int
    can_write:
      description: Whether an object could be written and removed.
      returned: when that was tried
      type: bool
    write_answer:
      description: What the storage answered to the attempt to write.
      returned: when O(access=read_only) and writing was denied
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
steps:
  description: What was done, or would be done in check mode, in order. After a failure, the steps that were done before it.
  returned: success, and failure within a step
  type: list
  elements: dict
  contains:
    step:
      description:
        - V(install), V(programs), V(settings) or V(prune).
        - With O(state=absent), V(archive), V(schedule), V(programs) or V(settings).
      type: str
    what:
      description: The file or directory concerned.
      type: str
  sample:
    - step: install
      what: /usr/local/bin/wal-g-3.0.8
step:
  description: The step that failed; one of those of RV(steps), or V(storage).
  returned: failure within a step
  type: str
"""

from ansible.module_utils import urls
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._install._distant import within_reach
from ansible_collections.mapswipe.walg.plugins.module_utils._install._download import Web, opener
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import judge
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import (
    _answer,
    _enter_instance,
    _make_ready,
    _remove,
    _specs,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **_specs.instance_options(),
            **_specs.host_options(),
            **_specs.state_options(),
            **_specs.restart_options(),
            **_specs.storage_options(),
            **_specs.access_options(),
            **_specs.release_options(),
            **_specs.limit_options(),
            "storage_timeout": {"type": "int", "default": 30},
            "binary": {"type": "str"},
            "binary_src": {"type": "str"},
            "binary_remote_src": {"type": "bool", "default": True},
            "binary_checksum": {"type": "str"},
            "mirror_username": {"type": "str"},
            "mirror_password": {"type": "str", "no_log": True},
            "mirror_ca": {"type": "str"},
            "download_timeout": {"type": "int", "default": 600},
            "keep": {"type": "int", "default": 1},
            "purpose": {"type": "str", "choices": ["backup", "restore"]},
            "archive": {"type": "dict", "options": _specs.archive_options()},
            "schedule": {"type": "dict", "no_log": True},
            "restore": {"type": "dict", "no_log": True},
            "variables": {"type": "list", "elements": "str", "default": []},
            "known_variables": {"type": "list", "elements": "str", "default": []},
        },
        required_if=[("state", "present", ("version",))],
        required_by={"binary_src": "binary_checksum"},
        supports_check_mode=True,
    )
    _answer.begin(module)
    params = module.params
    try:
        judge(params)
        options = (params["mirror_ca"] or "", params["mirror_username"] or "", params["mirror_password"] or "")
        web = Web(opener(urls.open_url, urls.ConnectionError, *options), params["download_timeout"])
        _enter_instance.enter(module, web)
        if params["state"] == "absent":
            answer = _remove.remove(Runner(), params, module.check_mode)
        else:
            answer = _make_ready.make_ready(Runner(), within_reach(web), params, module.check_mode)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    for warning in answer.pop("warnings"):
        _answer.warn(module, warning)
    _answer.succeed(module, **answer)


if __name__ == "__main__":
    main()
