# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: a host is ready to archive, back up and restore one instance. Plan first; check mode and the run share it.

What can be rejected is rejected before anything changes: by the host, by the settings, by the storage, which is asked with the very
WAL-G that will be installed. Then WAL-G, the programs and the settings are put in place, and versions that nobody uses go. Each step
looks at the disk for itself, so that what a killed run left undone is done by the next.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._host import _inside
from .._host._users import User
from .._install import _binary, _installed, _release, _wanted, _workshop
from .._instance import _record
from .._job import _programs
from .._postgres._cluster import cluster_dict
from .._restore import _options
from .._walg import _releases
from . import _config, _find, _given, _preflight, _schedule_options, _scheduling, _storage_check, _variables
from ._steps import Steps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._host._process import Runner
    from .._install._download import Web

#: Seconds beyond the time that a download may take, for which a run waits for another one on the same host.
_PATIENCE = 60
_SETTINGS = (
    "instance",
    "storage",
    "settings",
    "secrets",
    "google_credentials",
    "tune",
    "push_timeout",
    "fetch_timeout",
    "backup_timeout",
)


@dataclass(frozen=True)
class Host:
    """One run on one host. ``dry``: check mode."""

    runner: Runner
    web: Web
    params: Mapping[str, Any]  # the options of walg_instance
    found: _find.Found
    wanted: _wanted.Wanted
    dry: bool
    steps: Steps

    @property
    def user(self) -> User | None:
        """Who starts a binary to try it."""
        return _workshop.starter(self.found.cluster.os_user)

    @property
    def patience(self) -> float | None:
        return None if self.dry else float(self.params["download_timeout"] + _PATIENCE)

    def settings(self) -> dict[str, Any]:
        """Return the options of the instance's settings."""
        given = {name: self.params[name] for name in _SETTINGS}
        return {
            **given,
            "binary": self.wanted.path,
            "cluster": cluster_dict(self.found.cluster),
            "directories": self.found.directories,
        }


def make_ready(runner: Runner, web: Web, params: Mapping[str, Any], dry: bool) -> dict[str, Any]:
    """Make a host ready; return the module's answer. ``params``: the options of walg_instance; ``dry``: only say what would be done."""
    found = preflight(runner, params)
    host = Host(runner, web, params, found, _wanted_by(params, found), dry, Steps())
    host.wanted.refuse_place()
    programs, settings = _programs_plan(host), _config.plan(host.settings())
    answer: dict[str, Any] = {**found.answer(), "binary": host.wanted.path, "version": host.wanted.version}
    at_hand = _wanted.in_place(runner, host.wanted, host.user)
    known = _storage_check.known(settings.candidate, _question(host))
    origin: _Origin | None = None
    if not at_hand:
        with host.steps.within("install"):
            origin = _bring(host)
        answer.update(origin.answer())
    proved = {"asked": False, "reason": "these settings are in force, and WAL arrives in the storage"}
    answer["storage"] = proved if known else _ask_storage(host, settings.candidate, origin)
    if origin:  # its digest is known by now, so the network is not asked for that again
        with host.steps.within("install"):
            _install(replace(host, wanted=replace(host.wanted, checksum=f"sha256:{origin.sha256}")))
    with host.steps.within("programs"):
        put_programs(host.steps, programs, host.dry)
    with host.steps.within("settings"):
        record = _put_settings(host, settings)
    said = answer["storage"].pop("warning", None)
    warnings = [said] if said else []
    if host.wanted.managed:
        with host.steps.within("prune"):
            warnings += _prune_old(host)
    instance = settings.instance
    answer.update(settings_file=instance.settings_file, record_file=instance.record_file)
    answer["warnings"] = warnings
    return {**answer, **({"_planned": record} if dry else {}), **host.steps.answer()}


def preflight(runner: Runner, params: Mapping[str, Any]) -> _find.Found:
    """Find the cluster, and refuse what options and host tell to fail. Nothing is changed, and WAL-G is not needed."""
    _variables.refuse_unknown(params["variables"], params["known_variables"])
    given = _judged(params)
    found = _find.find(runner, params)
    found = _meant(params, found)
    cluster = replace(found.cluster, credentials=_record.credentials({**given.settings, **given.secrets}))
    purpose = params["purpose"]
    _preflight.check(runner, cluster, params["version"], params["storage"], purpose)
    if purpose == "backup" and params["archive"]:
        _preflight.archive(runner, params["instance"], cluster, found.directories, params["archive"])
    return replace(found, cluster=cluster)


def _meant(params: Mapping[str, Any], found: _find.Found) -> _find.Found:
    """Return for a restore the cluster to restore, where another one is in its place now, such as one that a new container made."""
    if params["purpose"] != "restore":
        return found
    recorded, there = _record.load(found.directories["config_dir"], params["instance"]), found.cluster
    known = recorded.cluster if recorded and recorded.cluster.data_dir == there.data_dir else None
    other = str((params["restore"] or {}).get("other_cluster") or "")
    if known and known.system_identifier not in ("", other):
        return replace(found, cluster=replace(there, system_identifier=known.system_identifier))
    if other and other == there.system_identifier:
        return replace(found, cluster=replace(there, system_identifier=""))
    return found


def _judged(params: Mapping[str, Any]) -> _given.Given:
    """Return what is given of WAL-G's settings. Raises WalgError for all that can be told to be wrong without a look at the host."""
    _releases.refuse_odd(params["version"] or "")  # an explicit null passes the spec
    _given.judge_cluster(params["cluster"])
    if params["schedule"]:
        _schedule_options.spec_of(params["schedule"], params["instance"], "")
        if _inside.current() is None:
            _scheduling.refuse_unfit(params["schedule"].get("scheduler", ""))
    _release.judged(params["mirror"])
    if params["restore"]:
        _options.from_params(params["restore"])
    return _given.judge(params)


def _wanted_by(params: Mapping[str, Any], found: _find.Found) -> _wanted.Wanted:
    path = params["binary"] or os.path.join(found.directories["bin_dir"], f"wal-g-{params['version']}")
    src = params["binary_src"] or ""
    return _wanted.Wanted(
        path=path,
        version=params["version"],
        src=_installed.staged_path(path) if src and not params["binary_remote_src"] else src,
        checksum=params["binary_checksum"] or "",
        mirror=params["mirror"],
        credentials=bool(params["mirror_username"] or params["mirror_password"]),
        managed=bool(src) or not params["binary"],
        config_dir=found.directories["config_dir"],
    )


def _question(host: Host) -> _storage_check.Question:
    return _storage_check.Question(
        host.params["access"], host.params["storage_timeout"], host.dry, host.params["google_check"] == "auto"
    )


@dataclass(frozen=True)
class _Origin:
    """Where the wanted WAL-G lies that is not in its place yet."""

    src: str  # a file on the host
    sha256: str
    here: bool  # False in check mode, where the run would bring it
    asset: str = ""
    url: str = ""
    upload: str = ""  # where the controller's file must be brought

    def answer(self) -> dict[str, str]:
        told = {"asset": self.asset, "url": self.url, "upload": self.upload}
        return {name: value for name, value in told.items() if value}


def _bring(host: Host) -> _Origin:
    """Look where WAL-G comes from, and have a release at hand."""
    wanted = host.wanted
    if wanted.src:
        made = _binary.plan_offline(wanted.src, _binary.parse_checksum(wanted.checksum), wanted.path, wanted.version)
        missing = made.installed != made.wanted
        here = not (host.dry and wanted.uploaded and missing and not os.path.lexists(wanted.src))
        return _Origin(wanted.src, made.wanted, here, upload=wanted.src if wanted.uploaded and missing else "")
    with _wanted.locked_workshop(host.runner, wanted, host.user, host.patience) as shop:
        made = _wanted.plan(shop, host.web, wanted, host.dry)
        url = made.fetch
        if url and not host.dry:
            made = _wanted.brought(shop, host.web, made)
    return _Origin(made.src or wanted.path, made.wanted, bool(made.reported), made.asset, url)


def _ask_storage(host: Host, candidate: _config.Candidate, origin: _Origin | None) -> dict[str, Any]:
    """Ask the storage with the WAL-G that will be installed; if it is not in its place yet, with a copy of it."""
    if origin and not origin.here:
        return {"asked": False, "reason": "WAL-G is not on this host yet"}
    with contextlib.ExitStack() as stack:
        binary = host.wanted.path
        if origin and host.wanted.managed:
            with host.steps.within("install"):
                shop = stack.enter_context(_workshop.opened(host.runner, host.user, None))
                made = _binary.plan(shop, origin.src, f"sha256:{origin.sha256}", binary, host.wanted.version)
                binary = _binary.runnable(made)
        with host.steps.within("storage"):
            return _storage_check.check(host.runner, candidate, binary, _question(host))


def _install(host: Host) -> None:
    placed = _wanted.put_in_place(host.runner, host.web, host.wanted, host.user, host.patience)
    if placed.changed:
        host.steps.add("install", host.wanted.path, [placed.before.diff()])


def _programs_plan(host: Host) -> _programs.Plan:
    user = User.by_name(host.found.cluster.os_user)
    directory = host.found.directories["program_dir"]
    return _programs.plan_all(host.runner, directory, user)


def put_programs(steps: Steps, made: _programs.Plan, dry: bool) -> None:
    """Put the programs in place, and note that as a step."""
    files = made.files if dry else made.apply()
    if files:
        listed = "".join(f"{name}\n" for name in files)
        steps.add("programs", made.directory, [{"before": "", "after": listed}])


def _put_settings(host: Host, made: _config.ConfigPlan) -> str:
    """Bring the settings into force; return the record. Of a cluster that is lost, its archive tells the size of a segment."""
    if not made.candidate.segment_size:
        made = _config.plan(host.settings(), host.runner)
    if made.changed:
        diff = made.diff()
        if not host.dry:
            made.apply(host.runner)
        host.steps.add("settings", made.instance.settings_file, diff)
    return made.record


def _prune_old(host: Host) -> list[str]:
    """Remove versions of WAL-G that no instance uses; return a warning where that can't be told."""
    made = _wanted.prune(host.runner, host.wanted, host.params["keep"], host.params["instance"], host.patience)
    if made.changed:
        host.steps.add("prune", host.wanted.directory, [made.diff()])
    return [made.warning()] if made.unreadable else []
