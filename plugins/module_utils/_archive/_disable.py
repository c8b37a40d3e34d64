# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: PostgreSQL no longer archives through our wrapper, proved by the running server. Plan first; check mode and the run share it.

Our file and the line that includes it go, then the server is restarted at once: while it stops it ships what is left, and it comes back
without archive_mode. A reload alone would take the command away and leave archive_mode on, and WAL would pile up.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host._files import read_conf
from .._host._users import call_as
from .._host._waiting import wait_until
from .._postgres import _archive_settings, _conf, _data_dir
from .._postgres._server import Server
from .._postgres._service import Service
from . import _conf_place, _enable, _storage_move

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._host._process import Runner
    from .._instance._record import Instance

_TIMEOUT = 20.0  # seconds for a change to show
_DEFAULTS = {"archive_mode": "off", "archive_command": "", "archive_library": ""}
_CALLED_WITH = ("command line", "environment variable")


@dataclass(frozen=True)
class DisablePlan:
    """What would be done. ``runs``: there is a server; without one (the cluster is gone) only files are looked at."""

    instance: Instance
    runs: bool
    restart: bool
    reload: bool
    conf_file: str
    conf_before: str | None
    main_file: str
    main_before: str
    main_after: str

    @property
    def changed(self) -> bool:
        return self.restart or self.reload or self.conf_before is not None or self.main_before != self.main_after

    def diff(self) -> dict[str, str]:
        """Our file, and the line that includes it."""
        included = f"{self.main_file}: {_conf.INCLUDE_LINE}\n" if self.main_before != self.main_after else ""
        return {"before": included + (self.conf_before or ""), "after": ""}


def plan(runner: Runner, instance: Instance, restart: bool) -> DisablePlan | None:
    """Look, decide, refuse. None: there is no cluster and no configuration of it any more."""
    looked = _data_dir.inspect(instance.cluster.data_dir, instance.owner)
    server = Server(runner, instance.cluster)
    runs = bool(looked.pid) or (looked.kind == "cluster" and server.ready())
    if looked.kind == "cluster" and not runs:
        raise WalgError(
            f"No server runs on {instance.cluster.data_dir}, so it can't be seen whether it still archives. Start it, then run again.",
            found="stopped",
        )
    if not runs:
        main = instance.cluster.config_file or os.path.join(instance.cluster.data_dir, "postgresql.conf")
        return _of_files(instance, main) if os.path.lexists(main) else None
    facts = server.own_facts()
    made = _of_files(instance, facts.config_file)
    current = server.settings(_archive_settings.NAMES)
    # A row without a file is a setting that is no longer in the files, as after a killed run: it waits for the restart.
    files = [row for row in server.ask_json(_enable.FILES) or [] if row["sourcefile"]]
    _archive_settings.refuse_broken_files(files)
    expected = {name: _expected(name, current, files, made.conf_file) for name in _DEFAULTS}
    _refuse_ours_elsewhere(instance, expected)
    _refuse_piling_up(expected)
    mode = str(current["archive_mode"]["setting"])
    needs = mode != expected["archive_mode"]
    if needs:
        fields = {"found": mode, "wanted": expected["archive_mode"]}
        _enable.refuse_restart(runner, instance, facts.config_file, restart, "archive_mode = off", **fields)
    ours = _is_ours(instance, str(current["archive_command"]["setting"]))
    return DisablePlan(
        instance=instance,
        runs=True,
        restart=needs,
        reload=not needs and (ours or made.changed),
        conf_file=made.conf_file,
        conf_before=made.conf_before,
        main_file=made.main_file,
        main_before=made.main_before,
        main_after=made.main_after,
    )


def _of_files(instance: Instance, main: str) -> DisablePlan:
    """Look at the files alone. Raises WalgError where they can't be changed."""
    owner, data_dir = instance.owner, os.path.realpath(instance.cluster.data_dir)
    before = call_as(owner, read_conf, main) or ""
    place = _conf_place.choose(main, before, data_dir)
    conf = call_as(owner, read_conf, place.conf_file)
    after = _conf.without_include(before)
    by_hand = [line for line in _conf.parse(after) if line.name == "include" and line.value.endswith(_conf.FILE_NAME)]
    if by_hand:
        raise WalgError(
            f"{main} line {by_hand[0].number} includes {place.conf_file}. Remove that line, then run again."
        )
    changed = [path for path, differs in ((place.conf_file, conf is not None), (main, after != before)) if differs]
    closed = [path for path in changed if _enable.writer(os.path.realpath(path), owner) is None]
    if closed:
        raise WalgError(
            f"{owner.name!r} can't write in {os.path.dirname(closed[0])}. Remove the archive settings there yourself, see docs/undo.md."
        )
    return DisablePlan(
        instance=instance,
        runs=False,
        restart=False,
        reload=False,
        conf_file=place.conf_file,
        conf_before=conf,
        main_file=main,
        main_before=before,
        main_after=after,
    )


def _expected(name: str, current: Mapping[str, Any], files: Sequence[Mapping[str, Any]], ours: str) -> str:
    """Return what a setting will be without our file."""
    row = current.get(name, {})
    if row.get("source") in _CALLED_WITH:
        return str(row["setting"])
    rows = [one for one in files if str(one["name"]).lower() == name and one["sourcefile"] != ours]
    value = str(rows[-1]["setting"]) if rows else _DEFAULTS[name]
    if name == "archive_mode":
        return "always" if value.lower() == "always" else "on" if _conf.is_on(value) else "off"
    return value


def _is_ours(instance: Instance, command: str) -> bool:
    return os.path.join(instance.program_dir, "wal-push").replace("%", "%%") in command


def _refuse_ours_elsewhere(instance: Instance, expected: Mapping[str, str]) -> None:
    if _is_ours(instance, expected["archive_command"]):
        raise WalgError(
            f"archive_command names {instance.program_dir}/wal-push in another file as well (see sourcefile in pg_settings). Remove "
            "that line, then run again: without that program PostgreSQL would keep all WAL.",
            found=expected["archive_command"],
        )


def _refuse_piling_up(expected: Mapping[str, str]) -> None:
    if expected["archive_mode"] != "off" and not expected["archive_command"] and not expected["archive_library"]:
        raise WalgError(
            "archive_mode is switched on in another file as well, without an archive_command: PostgreSQL would keep all WAL. Set "
            "archive_mode = off there, or an archive_command that works, then run again.",
            found=expected["archive_mode"],
        )


def apply(runner: Runner, made: DisablePlan) -> None:
    """Remove our file and the line that includes it, then restart or reload, and prove it by what is in force."""
    instance, owner = made.instance, made.instance.owner
    if made.main_before != made.main_after:
        main = os.path.realpath(made.main_file)
        call_as(_enable.writer(main, owner), _enable.write_main, main, made.main_after)
    if made.conf_before is not None:
        call_as(_enable.writer(made.conf_file, owner), os.unlink, made.conf_file)
    if made.restart:
        Service(runner, instance.cluster, os.path.join(instance.log_dir, "server.log")).restart()
    elif made.reload:
        Server(runner, instance.cluster).ask("SELECT pg_reload_conf()")
    if made.runs:
        _prove(runner, made)


def _prove(runner: Runner, made: DisablePlan) -> None:
    server = Server(runner, made.instance.cluster)

    def off() -> bool:
        rows = server.settings(_archive_settings.NAMES)
        return not _is_ours(made.instance, str(rows["archive_command"]["setting"]))

    if not wait_until(off, _TIMEOUT):
        raise WalgError(
            f"{made.conf_file} was removed, and the server on {made.instance.cluster.data_dir} still runs with its archive_command. "
            "Nothing else was removed. See sourcefile in pg_settings, and run again.",
        )
    _storage_move.await_pushes(made.instance)
