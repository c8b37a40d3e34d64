#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore a cluster from its archive."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_restore
short_description: Restore a cluster to a point in its archive
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Fetches the right base backup into a directory beside the data directory, recovers there to the target on a private socket,
    proves that the target was reached and that the cluster accepts writes, stops it, and only then puts it in place. The old data
    directory is kept beside it, and O(rollback) puts it back.
  - A restore is a request. Once it is done, the same O(request) does nothing, whatever was written since. A run that was
    killed is finished, or undone and started over. A new restore needs a new O(request).
  - If it is known that the restore can't work, it fails before anything changes. If that shows only when the WAL is read, it fails after
    the recovery, and the data directory is not touched.
  - If the target is not the latest state, a server that runs on the data directory continues during the recovery. It is stopped for the
    swap only.
  - On a Debian host that never had the cluster, the data directory is registered with Debian's cluster tools, with Debian's default
    configuration (C(registered) of RV(restore)). C(differs) shows what was set differently on the lost server, as far as its backup
    recorded it.
extends_documentation_fragment:
  - mapswipe.walg._attributes
  - mapswipe.walg._attributes.action_group
  - mapswipe.walg._instance
  - mapswipe.walg._instance.configured
attributes:
  check_mode:
    support: full
  diff_mode:
    support: partial
    details: O(rollback) and O(discard) return no diff.
  idempotent:
    support: full
    details: A request that is done is not repeated, whatever was written since.
  action_group:
    membership:
      - mapswipe.walg.walg
options:
  request:
    description:
      - Name of this restore, such as a date or a ticket. It is part of directory names.
    type: str
    required: true
  target:
    description:
      - V(latest) restores all WAL, including WAL of the old cluster that never reached the archive, if it is still there.
      - V(immediate) stops at the end of the base backup.
      - Ignored if O(target_time), O(target_lsn), O(target_xid) or O(target_name) is set. V(immediate) cannot be combined with them.
    type: str
    choices: [latest, immediate]
    default: latest
  target_time:
    description: A time, RFC 3339 with a zone, such as V(2026-01-31T04:05:06Z). The last restored commit is the last one until then.
    type: str
  target_lsn:
    description: An LSN, such as V(0/3000148).
    type: str
  target_xid:
    description: A transaction ID.
    type: str
  target_name:
    description: A restore point, created by C(pg_create_restore_point).
    type: str
  target_inclusive:
    description: Whether to stop right after the target (V(true)) or right before it (V(false)). Applies to a time, an LSN or a transaction.
    type: bool
    default: true
  timeline:
    description:
      - The timeline to follow. If not given, the module finds the cluster's own, and ignores what old drills left in the archive.
      - A standby stays on the timeline that is named here. Otherwise it follows whichever server is promoted.
    type: int
  backup:
    description: Name of the base backup to start from. If not given, it is the newest one that finished before the target.
    type: str
  action:
    description:
      - V(promote) puts the cluster in place when the target is reached.
      - V(pause) leaves it beside the data directory, at the target, readable on a private socket. The same O(request) with a later target
        continues without fetching again; with V(promote) it puts the cluster in place.
      - V(shutdown) is like V(pause) without a running server.
    type: str
    choices: [promote, pause, shutdown]
    default: promote
  standby:
    description: Whether to make a standby that follows the archive, and the primary in O(primary_conninfo).
    type: bool
    default: false
  primary_conninfo:
    description:
      - Connection string of the primary for O(standby), in libpq's format.
      - Put its password into a password file of the data directory's owner (C(~/.pgpass), or C(passfile=/path) in the connection string). A
        connection string with a password is rejected.
    type: str
    default: ""
  tablespaces:
    description:
      - New directories of tablespaces, by their old directory or their OID. The others stay where they were.
      - As root, a directory that does not exist yet and that the cluster's owner can't create must be named, even if it stays the same.
    type: dict
    default: {}
  wal_dir:
    description:
      - Separate directory for WAL. If not given, it is the one that the old cluster had.
      - As root, a directory that does not exist yet and that the cluster's owner can't create must be named.
    type: str
  links:
    description:
      - Targets of symbolic links in the data directory, by their path in it, such as C(postgresql.conf) with the
        target C(/etc/db/postgresql.conf). Links that the base backup recorded are restored without this. Use it for links that are not
        recorded or should lead elsewhere now.
      - An empty target omits the link.
    type: dict
    default: {}
  check_start:
    description:
      - Whether to try out the restored configuration before the directory is put in place. PostgreSQL is started with it, and ends before
        it recovers, writes or serves anything. If the configuration would keep the server down, the restore stops.
      - V(false) is for a library that can't be loaded twice on this host.
    type: bool
    default: true
  stop_running:
    description: Whether to stop a server that runs on the data directory. Otherwise the restore fails if one runs.
    type: bool
    default: false
  overwrite:
    description:
      - System identifier of the old cluster, if there is no room for two. It is removed before the restore instead of being kept, and
        there is no way back.
    type: str
    default: ""
  other_cluster:
    description:
      - System identifier of a cluster in the data directory that is not the one to restore, such as the empty one that a new container
        or a second C(initdb) made. It is kept beside the data directory like an old cluster. Without this, another cluster is left alone.
    type: str
    default: ""
  archive:
    description:
      - V(resume) keeps the cluster's archive settings as they are.
      - V(none) makes a copy that can't write to the archive, whatever its old configuration says.
    type: str
    choices: [resume, none]
    default: resume
  take_over:
    description:
      - The writer in the archive's marker, if the restored cluster replaces it for good.
      - Needed with O(archive=resume), unless this is the writer's host or that of a standby on which the role has run. The error
        message names the writer.
    type: str
    default: ""
  allow_other_collation:
    description: Whether to restore although this host's C library or ICU sorts text differently. Indexes on text may need REINDEX.
    type: bool
    default: false
  settings:
    description:
      - PostgreSQL settings by name that override the cluster's own, during the recovery and in the restored cluster (in
        C(postgresql.auto.conf)). Use them if this host lacks something, such as a preloaded library.
      - Not for settings that the restore decides itself (recovery, archiving, port, directories), and not for secrets.
    type: dict
    default: {}
  rollback:
    description:
      - Put back the old data directory that this request replaced. The restored one is kept beside it.
      - This works from every state, even if the swap was cut off or the restored server does not start. Before the swap it
        removes what was restored, and starts the server that the restore stopped.
    type: bool
    default: false
  discard:
    description:
      - Remove what this request left beside the data directory, while it waits (O(action=pause)) or after it was cut off.
      - If O(overwrite) has already removed the old cluster, its WAL that never reached the archive exists nowhere else. That WAL is kept
        (C(saved_wal) of RV(restore)), and the next restore uses it.
    type: bool
    default: false
  fetch_timeout:
    description: Maximum duration of fetching the base backup, in seconds.
    type: int
    default: 86400
  fetch_stall_timeout:
    description:
      - Seconds without progress after which the fetch is ended and counts as failed. WAL-G itself retries a storage that denies access or
        fails for hours.
      - It must be longer than the storage needs to deliver a file (an archive tier may need hours). V(0) disables this limit;
        O(fetch_timeout) still applies.
    type: int
    default: 1800
  recovery_timeout:
    description: Maximum duration of the recovery, in seconds.
    type: int
    default: 86400
seealso:
  - module: mapswipe.walg.walg_backup_info
  - module: mapswipe.walg.walg_archive
  - module: mapswipe.walg.walg_backup
"""

EXAMPLES = r"""
- name: Restore everything after a lost disk
  mapswipe.walg.walg_restore:
    request: lost-disk-2026-01-31

- name: Restore to just before a mistaken DELETE; the server is stopped for the swap only
  mapswipe.walg.walg_restore:
    request: mistaken-delete
    target_time: "2026-01-31T04:05:06Z"
    target_inclusive: false
    stop_running: true

- name: Go back to the state before that restore
  mapswipe.walg.walg_restore:
    request: mistaken-delete
    rollback: true
    stop_running: true
"""

RETURN = r"""
restore:
  description:
    - The restore, with the same keys in check mode and in the run. A key is null where it does not apply, or is not known yet.
  returned: success
  type: dict
  contains:
    request:
      description: Name of the restore.
      type: str
    state:
      description:
        - V(planned) in check mode; V(paused) or V(shut down) while it waits at its target; V(done); V(rolled back); V(discarded).
        - V(unknown) if there was nothing to discard.
      type: str
    data_dir:
      description: The data directory.
      type: str
    target:
      description: The point to restore to.
      type: dict
      contains:
        kind:
          description: V(latest), V(immediate), V(time), V(lsn), V(xid) or V(name).
          type: str
        value:
          description: The time, LSN, transaction or name; empty for the first two.
          type: str
        inclusive:
          description: Whether to stop right after it.
          type: bool
    action:
      description: What follows at the target, see O(action).
      type: str
    standby:
      description: Whether it becomes a standby.
      type: bool
    backup:
      description: The base backup that is fetched.
      type: dict
      contains:
        name:
          description: WAL-G's name for it.
          type: str
        start_time:
          description: When it began (RFC 3339).
          type: str
        finish_time:
          description: When it ended.
          type: str
        timeline:
          description: The timeline on which it began.
          type: int
        system_identifier:
          description: The cluster it belongs to; none if WAL-G did not record it.
          type: str
        pg_version:
          description: PostgreSQL's version as a number, such as 140023.
          type: int
        uncompressed_size:
          description: Size when restored, in bytes; for a delta, what it adds.
          type: int
        compressed_size:
          description: Bytes in the storage.
          type: int
        permanent:
          description: Whether retention keeps it.
          type: bool
        delta:
          description: Whether it is a delta.
          type: bool
    chain:
      description: Names of the base backups that are fetched; a delta rests on others.
      type: list
      elements: str
    skipped_backups:
      description: Newer base backups that do not lead to the target, or whose WAL the storage lacks.
      type: list
      elements: str
    older_backups:
      description: Older base backups from which the target can be reached too.
      type: list
      elements: str
    orphan_timelines:
      description: Timelines of the archive that are not the cluster's own, such as old drills.
      type: list
      elements: int
    last_segments:
      description: The last WAL segment that recovery must find, for each timeline.
      type: list
      elements: str
    segments:
      description: Number of WAL segments that recovery reads from the storage at most.
      type: int
    salvaged_segments:
      description: WAL segments of the old cluster that never reached the archive, and are used.
      type: list
      elements: str
    data_dir_found:
      description: What was in the data directory before, such as V(cluster), V(empty) or V(absent).
      type: str
    kept_as:
      description: Where the old data directory is kept.
      type: str
    places:
      description:
        - Directories outside the data directory.
      type: list
      elements: dict
      contains:
        path:
          description: The directory.
          type: str
        link:
          description: The link to it, within the data directory.
          type: str
        kept_as:
          description: Where the old one is kept.
          type: str
    links:
      description: Symbolic links in the data directory to what is not data, and their targets.
      type: dict
    host_was:
      description: The host that was backed up.
      type: dict
      contains:
        hostname:
          description: Its name.
          type: str
        libc:
          description: Its C library.
          type: str
        limits:
          description: The server's limits, by setting.
          type: dict
    settings:
      description: Settings used instead of the cluster's own, see O(settings).
      type: dict
    bytes:
      description: Space that the restore needs at most, in bytes.
      type: int
    free_bytes:
      description: Free space in the data directory's file system, in bytes.
      type: int
    notes:
      description: What you should know before you rely on this restore.
      type: list
      elements: str
    timeline:
      description: The timeline that recovery follows; after the run, the one that the cluster is on.
      type: int
    system_identifier:
      description: System identifier of the recovered cluster.
      type: str
    replayed_lsn:
      description: Where replay ended.
      type: str
    last_commit:
      description: Time of the last commit that was replayed.
      type: str
    stopped_at:
      description: PostgreSQL's own log line on the target that it stopped at.
      type: str
    made_again:
      description: Tablespaces that are newer than the base backup, by OID. Replay made them where they were.
      type: dict
    subscriptions:
      description:
        - The cluster's subscriptions at the target. Those of a copy (O(archive=none)) were disabled, which C(notes) say.
      type: list
      elements: dict
      contains:
        name:
          description: The subscription.
          type: str
        database:
          description: Its database.
          type: str
        enabled:
          description: Whether it was enabled.
          type: bool
    connect:
      description: How to connect to a paused restore.
      type: str
    started:
      description: Whether the server was started.
      type: bool
    archive_mode:
      description: The restored server's C(archive_mode), if it was started.
      type: str
    registered:
      description: The entry for Debian's cluster tools, if one was made.
      type: dict
      contains:
        cluster:
          description: Its version and name.
          type: str
        config_dir:
          description: Its configuration directory.
          type: str
        port:
          description: Its port.
          type: str
    differs:
      description: Settings that were different on the lost server, each as C(then) and C(now).
      type: dict
    seconds:
      description: Seconds by phase.
      type: dict
    finished:
      description: When it was done or rolled back.
      type: str
    restored_kept_as:
      description: Where the restored directory is kept after a rollback.
      type: str
    saved_wal:
      description: WAL of a cluster that was overwritten, which exists nowhere else and is kept here.
      type: str
  sample:
    request: lost-disk-2026-01-31
    state: done
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
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _locks
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import (
    instance_from,
    judge,
    pending,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _options, _request, _state
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer, _enter_restore, _specs


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **_specs.configured_options(),
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
            "other_cluster": {"type": "str", "default": ""},
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
    part = _enter_restore.enter(module)
    params = module.params
    try:
        judge(params)
        if params["rollback"] and params["discard"]:
            raise WalgError("rollback and discard are both asked for; a restore is put back or removed, not both.")
        instance = instance_from(params, module.check_mode)
        limits = params["fetch_timeout"], params["recovery_timeout"], params["fetch_stall_timeout"]
        missing = pending(instance, "wal-fetch") if module.check_mode else []
        run = _request.RestoreRequest(Runner(), instance, _options.from_params(params), *limits, missing)
        verb = "roll back" if params["rollback"] else "discard" if params["discard"] else "restore"
        if part == _enter_restore.REHEARSAL:
            answer = run.rehearse(verb)
        elif part == _enter_restore.LOOK:
            answer = run.looked()
        elif module.check_mode or run.nothing_left(verb):  # nothing is written
            answer = run.act(verb, check=True)
        else:
            lock = os.path.join(_state.prepare(instance), "restore.lock")
            with _locks.locked(lock, f"A restore of the instance {instance.name!r}"):
                answer = run.act(verb, check=False)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    _answer.succeed(module, **answer)


if __name__ == "__main__":
    main()
