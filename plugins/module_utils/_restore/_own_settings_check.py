# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cluster's settings ask of this host before a recovery begins: in the plan, and again when its files are fetched.

Each refusal names the setting, where it comes from, and the line that changes exactly that.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host._files import write_atomic
from .._host._users import call_as
from .._postgres import _conf, _libraries
from . import _own_settings, _recovery_settings
from ._own_settings import OPTION, Own, place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._archive._recorded import Recorded
    from .._host._process import Result, Runner
    from .._postgres._cluster import Cluster

#: Settings that are tried with the server's own programs: not those that say where it logs or in which language.
_UNTRIED = re.compile(r"^(log_|syslog_|lc_messages$|logging_collector$)|_command$|conninfo")
_NAMED = re.compile(r'parameter "([^"]+)"')
_DEFAULT_SLOTS = 10


@dataclass(frozen=True)
class Checker:
    """``wished``: the settings of the request."""

    runner: Runner
    cluster: Cluster
    major: int
    recorded: Recorded
    wished: Mapping[str, str]
    standby: bool = False

    def refuse(self, own: Own) -> None:
        """Raise WalgError for what recovery or the start after it needs and this host lacks."""
        self._refuse_overruled(own)
        self._refuse_missing_libraries(own)
        self._refuse_few_slots(own)
        if self.standby:
            self._refuse_low_limits(own)
            self._refuse_closed(own)
        self._refuse_rejected(own)

    def _refuse_overruled(self, own: Own) -> None:
        for name, value in self.wished.items():
            wins = own.standing[name]
            if wins.value != value:
                raise WalgError(
                    f"{OPTION} sets {name} to {value!r}, but {place(wins)} says {wins.value!r}, which overrides every file. Change it "
                    f"there, or leave {name} out.",
                    found=wins.value,
                    wanted=value,
                )

    def _refuse_missing_libraries(self, own: Own) -> None:
        wanted = own.settings.get("shared_preload_libraries")
        named = _recovery_settings.libraries(wanted.value) if wanted else []
        libdir = _libraries.directory(self.runner, self.cluster) if named else ""
        if wanted is None or not libdir:
            return
        gone = _libraries.missing(self.cluster, libdir, own.value("dynamic_library_path") or "", named)
        if gone:
            left = ", ".join(one for one in named if one not in gone)
            raise WalgError(
                f"The cluster preloads {', '.join(gone)} (shared_preload_libraries, {place(wanted)}), and PostgreSQL {self.major} on "
                f"this host has no such library in {libdir}. Install the package, or restore without it:\n"
                f"  {line('shared_preload_libraries', left)}",
                found=named,
                missing=gone,
            )

    def _refuse_few_slots(self, own: Own) -> None:
        name = "max_active_replication_origins" if self.major >= 18 else "max_replication_slots"
        has, needed = own.number(name, _DEFAULT_SLOTS), self.recorded.origins
        if needed > has:
            where = place(own.settings[name]) if name in own.settings else "PostgreSQL's default"
            raise WalgError(
                f"The cluster has {needed} replication origins, for which recovery needs {name} = {needed} at least; here it is {has} "
                f"({where}). Raise it there, or restore with this line:\n  {line(name, str(needed))}",
                found=has,
                wanted=needed,
            )

    def _refuse_low_limits(self, own: Own) -> None:
        for name, was in self.recorded.limits.items():
            now = own.standing.get(name)
            if now is not None and _own_settings.whole(now.value, int(was)) < int(was):
                raise WalgError(
                    f"A standby needs {name} as high as its primary had it: {was}. Here it is {now.value} ({place(now)}). Raise it "
                    f"there, or restore with this line:\n  {line(name, was)}",
                    found=now.value,
                    wanted=was,
                )

    def _refuse_closed(self, own: Own) -> None:
        """A standby that takes no session can't be asked whether it is what was restored, nor whether it follows."""
        now = own.settings.get("hot_standby")
        if now is not None and not _conf.is_on(now.value):
            raise WalgError(
                f"The cluster has hot_standby = {now.value} ({place(now)}), so a standby would accept no connections, and nobody could "
                f"check that it follows. Change it there, or restore with this line:\n  {line('hot_standby', 'on')}",
                found=now.value,
                wanted="on",
            )

    def _refuse_rejected(self, own: Own) -> None:
        tried = {
            name: one.value
            for name, one in own.settings.items()
            if name not in _recovery_settings.PLACES and not _UNTRIED.search(name) and "\n" not in one.value
        }
        if not tried:
            return
        said = _trial(self.runner, self.cluster, tried)
        if said.rc == 0:
            return
        rejected = [name for name in _NAMED.findall(said.stderr.lower()) if name in own.settings]
        if not rejected:
            raise WalgError(
                f"PostgreSQL {self.major} on this host does not accept the cluster's settings: {said.last_line()}",
                **said.fields(),
            )
        name = rejected[0]
        why = next(text for text in said.stderr.splitlines() if f'"{name}"' in text.lower())
        raise WalgError(
            f"PostgreSQL {self.major} on this host does not accept the cluster's setting {name} ({place(own.settings[name])}): "
            f"{re.sub('^.*?LOG: +', '', why)}. Correct it there, or restore with another value:\n  {line(name, '...')}",
            **said.fields(),
        )


def line(name: str, value: str) -> str:
    """Return the line of a play that sets one setting for a restore."""
    return f"{OPTION}: {{{name}: {json.dumps(value)}}}"


def _trial(runner: Runner, cluster: Cluster, settings: Mapping[str, str]) -> Result:
    """Have the server's program read the settings, and nothing else: it starts no server and touches no data directory."""
    owner = cluster.owner()
    private = str(call_as(owner, _write_trial, _conf.settings_text(settings)))
    try:
        argv = [os.path.join(cluster.bin_dir, "postgres"), "-D", private, "-C", "server_version"]
        return runner.run(argv, user=owner, cwd=private)
    finally:
        call_as(owner, shutil.rmtree, private)


def _write_trial(text: str) -> str:
    private = tempfile.mkdtemp(prefix="mapswipe-walg-")
    write_atomic(os.path.join(private, "postgresql.conf"), text)
    return private


def notes(own: Own, recorded: Recorded, *, copy: bool, standby: bool) -> list[str]:
    """Return notes on the cluster's settings and subscriptions, so that nothing about them comes as a surprise."""
    found = []
    was, now = recorded.settings.get("track_commit_timestamp"), own.standing.get("track_commit_timestamp")
    if was == "on" and (now is None or not _conf.is_on(now.value)):
        found.append(
            "The cluster tracked commit timestamps, and its configuration on this host does not: they are restored, and the server's "
            f"start drops them. Set it there, or restore with {line('track_commit_timestamp', 'on')}"
        )
    acting = _recovery_settings.schedulers(own.value("shared_preload_libraries") or "")
    if copy and acting:
        found.append(
            f"The copy preloads {', '.join(acting)} as its source does, and runs the same jobs once it is started. Leave them out with "
            f"{OPTION} (shared_preload_libraries)."
        )
    if recorded.subscriptions and not standby:
        found.append(subscriptions_note(recorded.subscriptions, copy=copy))
    return found


_COPYS, _CLUSTERS = "Subscriptions of the copy", "Subscriptions of the cluster"


def subscriptions_note(told: Sequence[Mapping[str, object]], *, copy: bool) -> str:
    """Say what becomes of subscriptions: a copy's stay disabled, since they would take the changes meant for its source."""
    named = ", ".join(f"{one['name']} (database {one['database']})" for one in told)
    if copy:
        return (
            f"{_COPYS} are disabled, and cut off from their slots, which belong to its source: {named}. Where the copy takes "
            "the source's place: ALTER SUBSCRIPTION name SET (slot_name = 'name'); ALTER SUBSCRIPTION name ENABLE."
        )
    return f"{_CLUSTERS} continue from where they were at the target: {named}."


def is_on_subscriptions(note: str) -> bool:
    """Say whether a note is such a one: what the plan expected gives way to what was found."""
    return note.startswith((_COPYS, _CLUSTERS))
