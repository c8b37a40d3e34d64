#!/usr/bin/python
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell an instance's job what to do, and have cron or systemd start it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: walg_schedule
short_description: Schedule base backups, retention and checks
version_added: 0.1.0
author:
  - The mapswipe.walg contributors (@mapswipe)
description:
  - Writes what C(walg-job) does for an instance into one file beside its settings, and has cron or systemd start it. Every
    O(check_minutes) it looks at the archive; every five minutes it does what is due, base backups for instance. What was missed while
    the host was down is done after it.
  - Where node_exporter has a directory for text files, a link in it leads to the instance's metrics.
extends_documentation_fragment:
  - mapswipe.walg._attributes
  - mapswipe.walg._attributes.action_group
  - mapswipe.walg._instance
  - mapswipe.walg._instance.configured
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  action_group:
    membership:
      - mapswipe.walg.walg
options:
  scheduler:
    description:
      - Who starts the job. V(cron) reads one file in C(cron.d) format. V(timer) means two timers of systemd, whose services can write where
        the job must and nowhere else; this needs root and a host on which systemd runs. Changing it removes the other.
    type: str
    choices: [cron, timer]
    default: cron
  cron_dir:
    description: Directory of cron files. Cron itself reads C(/etc/cron.d) only.
    type: str
    default: /etc/cron.d
  minute:
    description:
      - Minute at which a base backup becomes due, as in cron's field. If not given, it depends on the host and the instance, so that not
        all hosts start at once.
    type: str
  hour:
    description: Hour at which a base backup becomes due, as in cron's field.
    type: str
    default: "2"
  weekday:
    description: Days of the week on which a base backup becomes due, as in cron's field.
    type: str
    default: "*"
  source:
    description:
      - Where base backups are taken. V(primary) is the primary's host. With V(standby) a standby takes them, and the primary if no
        standby runs. V(this_host) is whatever server is on this host.
    type: str
    choices: [primary, standby, this_host]
    default: primary
  page_checksums:
    description: Whether base backups verify the page checksums, if the cluster has them.
    type: bool
    default: true
  jitter:
    description: Seconds by which a base backup starts late, at most. The delay is chosen at random.
    type: int
    default: 0
  nice:
    description: Niceness (0 to 19) of base backups and the other work that is due.
    type: int
    default: 0
  check_minutes:
    description: Minutes (1 to 60) between two checks of the archive.
    type: int
    default: 5
  heartbeat:
    description: Whether each check writes a few bytes of WAL, so that an idle cluster shows how far behind its archive is.
    type: bool
    default: true
  expire:
    description: Whether base backups and WAL that O(retention) does not keep are deleted after a base backup.
    type: bool
    default: true
  retention:
    description: What is kept. What any of the rules keeps, stays.
    type: dict
    default: {}
    suboptions:
      days:
        description: Keep base backups that are younger. With V(0) this rule keeps nothing.
        type: int
        default: 14
      backups:
        description: Keep so many of the newest base backups.
        type: int
        default: 0
      weekly:
        description: Keep the newest base backup of each of so many weeks. These lead to their end only, without later WAL.
        type: int
        default: 0
      monthly:
        description: Keep the newest base backup of each of so many months. These lead to their end only, without later WAL.
        type: int
        default: 0
      minimum_backups:
        description: Keep at least so many base backups, however old. V(1) is the least.
        type: int
        default: 2
      minimum_days:
        description: Keep what leads back at least so many days, with all WAL since.
        type: int
        default: 7
  verify:
    description: How the stored objects are read back.
    type: dict
    default: {}
    suboptions:
      days:
        description: Every object is read once in so many days, some each day. With V(0) none is.
        type: int
        default: 30
      rate:
        description: Bytes a second that may be read. V(0) means no limit.
        type: int
        default: 0
  wal_pressure:
    description:
      - What happens if WAL can't be archived and fills the file system. V(alarm) reports it. V(drop) also gives up WAL beyond
        O(pressure_limit), so that the server can still write. Times in that gap can't be restored, and a full base backup follows.
    type: str
    choices: [alarm, drop]
    default: alarm
  pressure_limit:
    description: Bytes of waiting WAL beyond which V(drop) gives it up. V(0) means as much as there is free space left.
    type: int
    default: 0
  hooks:
    description: Who is told. It may hold secrets, so it is in no log.
    type: dict
    default: {}
    suboptions:
      failure_command:
        description:
          - Words of a command that is run if something fails, the program with its whole path. With O(scheduler=timer) it is as confined
            as the job, and can't use setuid programs.
        type: list
        elements: str
        default: []
      webhook:
        description: Address that gets JSON by POST if something fails.
        type: str
        default: ""
      ping:
        description: Address that is fetched after each scheduled check that finds all well.
        type: str
        default: ""
      timeout:
        description: Seconds (1 to 600) that each may take.
        type: int
        default: 10
  metrics_dir:
    description:
      - Directory in which node_exporter looks for text files. V(auto) is the first of C(/var/lib/prometheus/node-exporter),
        C(/var/lib/node_exporter/textfile_collector) and C(/var/lib/node_exporter) that exists. If empty, there is no link.
      - For a server in a container the job writes a file there in place of the link, as root, and so only into a directory that nobody
        else can change. Where another user owns the directory that V(auto) finds, as Debian's prometheus does, the job writes into
        C(/var/lib/mapswipe-walg), and a link that is made with that user's rights leads there.
    type: str
    default: auto
  state:
    description: Whether the job should be scheduled. V(absent) removes all that this module writes; a job that runs is not ended.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: mapswipe.walg.walg_backup
"""

EXAMPLES = r"""
- name: Take a base backup every night between two and three, and keep two weeks
  mapswipe.walg.walg_schedule:

- name: Twice a day, by systemd; keep a month, and tell a chat what fails
  mapswipe.walg.walg_schedule:
    scheduler: timer
    hour: 2,14
    retention:
      days: 31
    hooks:
      webhook: "{{ vault_chat_webhook }}"

- name: Take no more base backups
  mapswipe.walg.walg_schedule:
    state: absent
"""

RETURN = r"""
path:
  description: The cron file; with O(scheduler=timer) the timer that does what is due.
  returned: success
  type: str
  sample: /etc/cron.d/mapswipe-walg-main
spec_file:
  description: The file that tells the job what to do.
  returned: success
  type: str
  sample: /etc/mapswipe-walg/main.job.json
metrics_link:
  description: The link, or for a container the file, by which node_exporter finds the metrics; an empty text if there is none.
  returned: success
  type: str
  sample: /var/lib/prometheus/node-exporter/mapswipe-walg-main.prom
plan_shown:
  description:
    - Whether a play has shown what these rules of retention would delete first, by O(mapswipe.walg.walg_retention#module:first_plan).
    - V(true) without retention. V(false) for a server in a container, where only M(mapswipe.walg.walg_retention) can tell.
  returned: success
  type: bool
"""

import socket

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _timer
from ansible_collections.mapswipe.walg.plugins.module_utils._container import _placed
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _trust
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _job_spec, _record
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._options import (
    instance_from,
    judge,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import (
    _answer,
    _schedule_options,
    _schedule_wanted,
    _scheduling,
    _specs,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **_specs.configured_options(),
            "cron_dir": {"type": "str", "default": "/etc/cron.d"},
            **_specs.schedule_options(),
            **_specs.state_options(),
        },
        supports_check_mode=True,
    )
    _answer.begin(module)
    params, runner = module.params, Runner()
    name, config_dir = params["instance"], params["config_dir"]
    path = _scheduling.cron_path(params["cron_dir"], name)
    try:
        judge(params)
        _record.check_name(name)
        _trust.refuse_loose(params["cron_dir"], "walg_cron_dir")
        _trust.refuse_loose(config_dir, "walg_config_dir")
        if params["state"] == "absent":
            made, shown = _scheduling.plan_absent(name, config_dir, params["cron_dir"]), True
        else:
            wanted = _wanted(module)
            shown = wanted.plan_shown
            made = _scheduling.plan(runner, wanted)
            if wanted.scheduler == "timer":
                path = _timer.paths(name)[-1]
            elif params["cron_dir"] != "/etc/cron.d":
                made.warnings.append(f"Cron reads /etc/cron.d only: make it, or whatever runs jobs here, read {path}.")
        if not module.check_mode:
            made.apply(runner, name)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    for warning in made.warnings:
        _answer.warn(module, warning)
    _answer.succeed(
        module,
        changed=made.changed,
        path=path,
        spec_file=_job_spec.spec_path(config_dir, name),
        metrics_link=made.linked,
        plan_shown=shown,
        diff=made.diffs,
    )


def _wanted(module: AnsibleModule) -> _schedule_wanted.Wanted:
    """Return what should be there. A server in a container has no scheduler there; the machine's root enters the container."""
    params = module.params
    given = {name: params[name] for name in _specs.schedule_options()}
    spec = _schedule_options.spec_of(given, params["instance"], socket.gethostname())
    placed = _placed.load(params["config_dir"], params["instance"], module.check_mode)
    if placed is not None:
        return _schedule_wanted.of_container(placed, spec, params)
    return _schedule_wanted.of_host(instance_from(params, module.check_mode), spec, params)


if __name__ == "__main__":
    main()
