# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: an instance's job is told what to do and is started by cron or by systemd, not by both. Plan first."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._backup import _schedule, _timer
from .._errors import WalgError
from .._host import _files
from .._host._users import User
from .._instance import _job_spec
from .._postgres import _supervisor
from . import _metrics_link, _schedule_wanted, _shown_spec, _systemd

if TYPE_CHECKING:
    from .._host._files import FilePlan
    from .._host._process import Runner


@dataclass
class Plan:
    """What differs. Written is first the spec, so that no job starts without."""

    written: list[FilePlan] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)  # files of cron or systemd
    diffs: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    timers: str = ""  # on: must be enabled and started; off: must be stopped and disabled
    links: list[str] = field(default_factory=list)  # old ones
    link: _metrics_link.Link | None = None
    linked: str = ""  # the link that there is in the end

    @property
    def changed(self) -> bool:
        return bool(self.written or self.removed or self.timers or self.links or self.link)

    def apply(self, runner: Runner, name: str) -> None:
        """Make it so; what an interrupted run left undone is done by the next."""
        units = set(_timer.paths(name)) & {*self.removed, *(one.path for one in self.written)}
        if self.timers == "off":
            _systemd.stop(runner, name)
        elif units:
            _systemd.pause(runner, name)
        for path in self.removed:
            if os.path.lexists(path):
                os.unlink(path)
        for one in self.written:
            one.apply()
        if units:
            _systemd.reload(runner)
        if self.timers == "on":
            _systemd.start(runner, name)
        for path in self.links:
            _metrics_link.remove(path)
        if self.link:
            self.link.apply()


def cron_path(cron_dir: str, name: str) -> str:
    """Return the path of an instance's cron file."""
    return os.path.join(cron_dir, f"mapswipe-walg-{name}")


def refuse_unfit(scheduler: str) -> None:
    """Raise WalgError where timers can't be used."""
    if scheduler != "timer":
        return
    if not _supervisor.systemd_runs():
        raise WalgError(
            "walg_backup_scheduler is timer, but systemd does not run on this host: there is no /run/systemd/system. Set "
            "walg_backup_scheduler: cron.",
            found="no systemd",
        )
    if os.geteuid() != 0:
        raise WalgError(
            "walg_backup_scheduler is timer, but only root can install system units. Run the play as root (become), or set "
            "walg_backup_scheduler: cron."
        )


def plan(runner: Runner, wanted: _schedule_wanted.Wanted) -> Plan:
    """Return what must change so that the job is scheduled as it should be. Raises WalgError for what can't be."""
    refuse_unfit(wanted.scheduler)
    made, name, me = Plan(warnings=list(wanted.warnings)), wanted.job.instance, User.current()
    before = _known(wanted.job.config_dir, name)
    path, text = _job_spec.spec_path(wanted.job.config_dir, name), _job_spec.render(wanted.spec)
    _write(made, _files.owned(path, text, 0o600, wanted.spec_owner), *_shown_spec.pair(_files.read_text(path), text))
    if wanted.scheduler == "timer":
        _remove(made, [cron_path(wanted.cron_dir, name)])
        rule = wanted.spec.backup or _job_spec.BackupRule()
        units = _timer.texts(wanted.job, wanted.reach, wanted.spec.check_minutes, rule.nice)
        for unit, content in units.items():
            _write(made, _files.owned(unit, content, 0o644, me), _files.read_text(unit) or "", content)
        _timers_on(runner, made, name)
    else:
        _timers_off(made, name)
        cron = cron_path(wanted.cron_dir, name)
        content = _schedule.job_file(wanted.job, wanted.spec.check_minutes)
        folder = _files.parent(wanted.cron_dir, me)
        if folder.differs():
            made.written.append(folder)
        _write(made, _files.owned(cron, content, 0o644, me), _files.read_text(cron) or "", content)
    _link(made, wanted, before)
    return made


def plan_absent(name: str, config_dir: str, cron_dir: str) -> Plan:
    """Return what must go so that nothing is scheduled any longer."""
    made, before = Plan(), _known(config_dir, name)
    _timers_off(made, name)
    _remove(made, [cron_path(cron_dir, name)])
    path = _job_spec.spec_path(config_dir, name)
    text = _files.read_text(path)
    if text is not None:
        made.removed.append(path)
        made.diffs.append(_diff(path, _shown_spec.pair(text, None)[0], ""))
    _links_gone(made, name, before, ())
    return made


def _write(made: Plan, one: FilePlan, before: str, after: str) -> None:
    if one.differs():
        made.written.append(one)
        made.diffs.append(_diff(one.path, before, after))


def _remove(made: Plan, paths: list[str]) -> None:
    for path in paths:
        text = _files.read_text(path)
        if text is not None:
            made.removed.append(path)
            made.diffs.append(_diff(path, text, ""))


def _timers_on(runner: Runner, made: Plan, name: str) -> None:
    """Have the timers started, again where they changed."""
    rewritten = {one.path for one in made.written} & set(_timer.paths(name))
    state = _systemd.state(runner, name)
    if state != _systemd.ON:
        made.diffs.append(_diff(", ".join(_timer.timer_names(name)), f"{state}\n", f"{_systemd.ON}\n"))
    if rewritten or state != _systemd.ON:
        made.timers = "on"


def _timers_off(made: Plan, name: str) -> None:
    """Have an instance's units stopped and removed where they are. Only root can have made them."""
    if os.geteuid() == 0:
        before = len(made.removed)
        _remove(made, _timer.paths(name))
        made.timers = "off" if len(made.removed) > before else ""


def _link(made: Plan, wanted: _schedule_wanted.Wanted, before: _job_spec.JobSpec) -> None:
    """Plan the link to the metrics. A directory that was found, not given, and that can't be used is only warned of."""
    name, directory = wanted.job.instance, wanted.link_dir or wanted.spec.metrics_dir
    path = _metrics_link.link_path(directory, name) if directory else ""
    _links_gone(made, name, before, (path, wanted.metrics))
    if not path:
        return
    _metrics_link.refuse_missing(directory, writes=not wanted.metrics)
    if not wanted.metrics:
        made.linked = path
        return
    if wanted.link_dir:
        folder = _files.parent(wanted.spec.metrics_dir, User.current())
        if folder.differs():
            made.written.append(folder)
    link, made.linked = _metrics_link.Link(path, wanted.metrics), path
    if link.differs():
        made.link = link
        made.diffs.append(_diff(path, "", f"{link.target}\n"))
    closed = " ".join(_metrics_link.closed(link.target))
    if closed:
        made.warnings.append(
            f"node_exporter can't read {link.target}, to which {path} leads: other users can't pass {closed}. Run: chmod o+x {closed}"
        )


def _links_gone(made: Plan, name: str, before: _job_spec.JobSpec, wanted: tuple[str, ...]) -> None:
    for path in _metrics_link.left(name, (before.metrics_dir,), wanted):
        made.links.append(path)
        made.diffs.append(_diff(path, f"{_metrics_link.shown(path)}\n", ""))


def _known(config_dir: str, name: str) -> _job_spec.JobSpec:
    """Return what the job was told before; nothing is believed of a damaged file, which is written again."""
    path = _job_spec.spec_path(config_dir, name)
    try:
        return _job_spec.parse(_files.read_text(path) or "{}", path)
    except WalgError:
        return _job_spec.JobSpec()


def _diff(path: str, before: str, after: str) -> dict[str, str]:
    return {"before_header": path, "after_header": path, "before": before, "after": after}
