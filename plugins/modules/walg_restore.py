#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore a cluster from its archive."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_restore
short_description: A data directory holds the cluster as of a point in its archive
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Fetches the right base backup into a directory beside the data directory, recovers there to the target on a private socket,
    proves that the target was reached and that the cluster takes writes, stops it, and only then puts it in place. The old data
    directory is kept beside it, and O(rollback) puts it back.
  - A restore is a request. The same O(request) again does nothing once it is done, whatever was written since; a run that was
    killed is finished, or undone and begun again. A new restore needs a new O(request).
  - What can be known to fail is refused before the first change. What only the WAL's content can tell fails after the recovery
    beside, and the data directory is not touched.
  - A server that runs on the data directory goes on while a target other than the latest state is recovered beside it, and is
    stopped for the swap only.
  - On a Debian host that never had the cluster, the data directory is registered with Debian's cluster tools, with Debian's default
    configuration (C(registered) of RV(restore)). What the lost server had otherwise is named, as far as its backup tells
    (C(differs)).
extends_documentation_fragment:
  - mapswipe.walg.instance
  - mapswipe.walg.attributes
options:
  request:
    description:
      - Name of this restore, such as a date or a ticket. It names directories.
    type: str
    required: true
  target:
    description:
      - V(latest) is the end of all WAL; WAL of the old cluster that never reached the archive is used too, where it is still there.
      - V(immediate) is the end of the base backup.
      - Without effect where one of the other O(target_time), O(target_lsn), O(target_xid), O(target_name) is given; V(immediate) and
        one of these is refused.
    type: str
    choices: [latest, immediate]
    default: latest
  target_time:
    description: A time, RFC 3339 with a zone, such as V(2026-01-31T04:05:06Z). The last commit before or at it is the last one restored.
    type: str
  target_lsn:
    description: An LSN, such as V(0/3000148).
    type: str
  target_xid:
    description: A transaction id.
    type: str
  target_name:
    description: A restore point, made by C(pg_create_restore_point).
    type: str
  target_inclusive:
    description: Stop right after the target (true) or right before it. For a time, an LSN or a transaction.
    type: bool
    default: true
  timeline:
    description:
      - The timeline to follow. Not given, the cluster's own is found; timelines that old drills left in the archive are not followed.
      - A standby stays on a timeline that is named here. Where none is named, it follows whoever is promoted.
    type: int
  backup:
    description: Name of the base backup to begin with. Not given, the newest that finished before the target.
    type: str
  action:
    description:
      - V(promote) puts the cluster in place when the target is reached.
      - V(pause) leaves it beside, readable on a private socket, at the target. The same O(request) with a later target goes on
        without fetching again; with V(promote) it is put in place.
      - V(shutdown) is like V(pause) without a running server.
    type: str
    choices: [promote, pause, shutdown]
    default: promote
  standby:
    description: Make a standby that follows the archive, and the primary that O(primary_conninfo) names.
    type: bool
    default: false
  primary_conninfo:
    description:
      - Address of the primary for O(standby), as libpq takes it.
      - Its password goes into a password file of the data directory's owner (C(~/.pgpass), or C(passfile=/path) in the address). An address
        with a password is refused.
    type: str
    default: ""
  tablespaces:
    description:
      - New places of tablespaces, by their old location or their OID. Those not named go where they were.
      - As root, a directory that is not there yet and that the cluster's owner can't make has to be named, even where it stays the same.
    type: dict
    default: {}
  wal_dir:
    description:
      - Separate directory for WAL. Not given, it is where the old cluster had it.
      - As root, a directory that is not there yet and that the cluster's owner can't make has to be named.
    type: str
  links:
    description:
      - Where symbolic links in the data directory lead, by their path in it, such as C(postgresql.conf) with the
        target C(/etc/db/postgresql.conf). A base backup records where they led, and those are made again; this is for those that led
        elsewhere or are not recorded.
        An empty target leaves a link out.
    type: dict
    default: {}
  check_start:
    description:
      - Try the restored configuration before the directory is put in place, by a start of PostgreSQL that ends before it recovers, writes
        or serves anything. What would keep the server down is refused then.
      - V(false) is for a library that can't be loaded twice on this host.
    type: bool
    default: true
  stop_running:
    description: Stop a server that runs on the data directory. Otherwise it is refused.
    type: bool
    default: false
  overwrite:
    description:
      - System identifier of the old cluster, which is then removed before the restore instead of kept; for a host without room for
        two. There is no way back.
    type: str
    default: ""
  archive:
    description:
      - V(resume) keeps the cluster's archive settings as they are.
      - V(none) makes a copy that can't write to the archive, whatever the old configuration says.
    type: str
    choices: [resume, none]
    default: resume
  take_over:
    description:
      - The writer that the archive's marker names, where the restored cluster replaces it for good.
      - Needed with O(archive=resume) where this host is neither the writer's nor that of a standby on which the role ran; the message that
        refuses the restore names it.
    type: str
    default: ""
  allow_other_collation:
    description: Restore on a host whose C library or ICU sorts text otherwise. Indexes on text may need REINDEX.
    type: bool
    default: false
  settings:
    description:
      - Settings of PostgreSQL by name that win over the cluster's own, while it recovers and in the restored cluster, where they
        stand in C(postgresql.auto.conf). For what this host lacks, such as a preloaded library.
      - Not for what a restore decides itself (recovery, archiving, port, places), nor for secrets.
    type: dict
    default: {}
  rollback:
    description:
      - Put the old data directory back that this request replaced. What was restored is kept beside it.
      - It works from every state, a swap that was cut off and a restored server that does not start included. Before the swap it
        removes what was restored, and starts the server that the restore has stopped.
    type: bool
    default: false
  discard:
    description:
      - Remove what this request has left beside the data directory, where it waits for a word (O(action=pause)) or was cut off.
      - WAL of a cluster that O(overwrite) has removed already, and that never reached the archive, exists nowhere else; it is kept
        (C(saved_wal) of RV(restore)), and the next restore uses it.
    type: bool
    default: false
  fetch_timeout:
    description: Seconds that fetching the base backup may take.
    type: int
    default: 86400
  fetch_stall_timeout:
    description:
      - Seconds without anything new in the directories that are fetched into, after which the fetch is ended as failed. WAL-G itself
        tries a storage that forbids or fails again for hours.
      - Longer than the storage needs to give a file back (an archive tier may need hours). V(0) waits for O(fetch_timeout) only.
    type: int
    default: 1800
  recovery_timeout:
    description: Seconds that recovery may take.
    type: int
    default: 86400
seealso:
  - module: mapswipe.walg.walg_backup_info
"""

EXAMPLES = r"""
- name: The disk is gone; bring everything back
  mapswipe.walg.walg_restore:
    request: lost-disk-2026-01-31

- name: Just before a mistaken DELETE; the server is stopped for the swap only
  mapswipe.walg.walg_restore:
    request: mistaken-delete
    target_time: "2026-01-31T04:05:06Z"
    target_inclusive: false
    stop_running: true

- name: Back to how it was before that restore
  mapswipe.walg.walg_restore:
    request: mistaken-delete
    rollback: true
    stop_running: true
"""

RETURN = r"""
restore:
  description:
    - The plan in check mode; what was done, and where recovery ended, otherwise.
    - C(archive_mode) is that of the restored server, where it was started.
    - C(subscriptions) are those of the cluster at the target. Those of a copy (O(archive=none)) were disabled, which C(notes) say.
    - C(made_again) holds the tablespaces, by OID, that are newer than the base backup. Replay made them where they were.
  returned: success
  type: dict
  sample:
    request: lost-disk-2026-01-31
    data_dir: /var/lib/postgresql/14/main
    kept_as: /var/lib/postgresql/14/main.before-lost-disk-2026-01-31
    replayed_lsn: 0/5000148
    last_commit: "2026-01-31 03:04:05.678+00"
    timeline: 2
    archive_mode: "on"
    made_again:
      "16403": /srv/space
    subscriptions:
      - name: orders
        database: shop
        enabled: true
    host_was:
      hostname: db1
      libc: glibc 2.36
      limits:
        max_connections: "150"
    differs:
      max_connections:
        then: "150"
        now: "100"
    registered:
      cluster: 14/main
      config_dir: /etc/postgresql/14/main
      port: "5432"
    seconds:
      fetch: 1.5
      recover: 0.8
unknown:
  description: What could not be looked at in check mode, since WAL-G or the settings of the instance are not there yet.
  returned: in check mode, when it could not
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _locks
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import (
    instance_from,
    instance_options,
    judge,
    pending,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _options, _request, _state
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **instance_options(),
            "request": {"type": "str", "required": True},
            "target": {"type": "str", "choices": ["latest", "immediate"], "default": "latest"},
            "target_time": {"type": "str"},
            "target_lsn": {"type": "str"},
            "target_xid": {"type": "str"},
            "target_name": {"type": "str"},
            "target_inclusive": {"type": "bool", "default": True},
            "timeline": {"type": "int"},
            "backup": {"type": "str"},
            "action": {"type": "str", "choices": ["promote", "pause", "shutdown"], "default": "promote"},
            "standby": {"type": "bool", "default": False},
            "primary_conninfo": {"type": "str", "default": "", "no_log": True},
            "tablespaces": {"type": "dict", "default": {}},
            "wal_dir": {"type": "str"},
            "links": {"type": "dict", "default": {}},
            "check_start": {"type": "bool", "default": True},
            "stop_running": {"type": "bool", "default": False},
            "overwrite": {"type": "str", "default": ""},
            "archive": {"type": "str", "choices": ["resume", "none"], "default": "resume"},
            "take_over": {"type": "str", "default": ""},
            "allow_other_collation": {"type": "bool", "default": False},
            "settings": {"type": "dict", "default": {}},
            "rollback": {"type": "bool", "default": False},
            "discard": {"type": "bool", "default": False},
            "fetch_timeout": {"type": "int", "default": 86400},
            "fetch_stall_timeout": {"type": "int", "default": 1800},
            "recovery_timeout": {"type": "int", "default": 86400},
        },
        mutually_exclusive=[("target_time", "target_lsn", "target_xid", "target_name")],
        supports_check_mode=True,
    )
    _answer.begin(module)
    params = module.params
    try:
        judge(params)
        if params["rollback"] and params["discard"]:
            raise WalgError("rollback and discard are both asked for; a restore is put back or removed, not both.")
        instance = instance_from(params, module.check_mode)
        limits = params["fetch_timeout"], params["recovery_timeout"], params["fetch_stall_timeout"]
        missing = pending(instance, "wal-fetch") if module.check_mode else []
        run = _request.Run(Runner(), instance, _options.wish(params), *limits, missing)
        verb = "roll back" if params["rollback"] else "discard" if params["discard"] else "restore"
        if module.check_mode or run.settled(verb):  # nothing is written
            answer = run.act(verb, check=True)
        else:
            lock = os.path.join(_state.prepare(instance), "restore.lock")
            with _locks.held(lock, f"A restore of the instance {instance.name!r}"):
                answer = run.act(verb, check=False)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    _answer.succeed(module, **answer)


if __name__ == "__main__":
    main()
