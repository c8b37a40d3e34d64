# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restored directory's own configuration is tried before the swap, as the server will read it in its place.

PostgreSQL itself is asked, by a start that ends before it begins. `postgres -C` reads the settings only: of the faults that keep
a server down it misses authentication files, keys, libraries and settings that exclude each other. A start of the recovered
cluster would see them all, and run its schedulers and subscriptions. So the server is started on a scaffold: a directory beside
the data directory, with the configuration, a copy of the control file, and no WAL. It reads and loads whatever it needs, looks for
pg_wal last and ends there, a few hundredths of a second later, before it recovers, writes or serves anything.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._archive import _linked
from .._errors import WalgError
from .._host._files import open_regular
from .._host._users import call_as
from .._postgres import _conf, _control, _debian, _debian_entry, _launch, _pg_files, _servers
from . import _place_check, _recovery_server
from ._hands import Hands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._host._process import Runner
    from .._instance._record import Instance
    from ._state import RestoreState

_TIMEOUT = 60.0
_CONF_BYTES = 256 * 1024  # no configuration file is larger
#: How the start ends when all was read: XLogCtl's ValidateXLOGDirectoryStructure, the first thing that a recovery does.
_CAME_THROUGH = 'required WAL directory "pg_wal" does not exist'
#: Directories whose content is the cluster's data; on the scaffold they are empty.
_EMPTY = (*_linked.DATA, "pg_stat_tmp")
#: Entries that would make the start a recovery, or belong to another one.
_NOT_THERE = (
    "backup_label",
    "tablespace_map",
    "recovery.signal",
    "standby.signal",
    "recovery.conf",
    "postmaster.pid",
    "postmaster.opts",
)
#: Settings that name files; where one leads into the data directory by its full path, the scaffold's is meant.
_PATHS = (
    *("hba_file", "ident_file", "krb_server_keyfile", "ssl_ca_file", "ssl_cert_file", "ssl_crl_dir", "ssl_crl_file"),
    *("ssl_dh_params_file", "ssl_key_file"),
)
_USUAL = re.compile(
    r"LOG: +(starting PostgreSQL|listening on|database system is shut down|database system was shut down|skipping missing"
    r"|shutting down|could not open directory|startup process)|aborting startup|could not write external PID file \"\"|^\s*$"
)


@dataclass
class StartCheck:
    """One trial of what was recovered. ``scaffold``: where; ``work``: the recovered directory; ``data_dir``: its place."""

    runner: Runner
    instance: Instance
    saved: RestoreState

    def __post_init__(self) -> None:
        self.data = self.saved.data
        self.work, self.data_dir = self.data.work, self.data.path
        self.scaffold = f"{self.work}~start"
        given = os.path.normpath(self.instance.cluster.data_dir)  # may be a link's name
        self.names = [self.data_dir, *([given] if given != self.data_dir else [])]

    def refuse(self) -> None:
        """Raise WalgError where the restored server would not start in its place, as far as that can be known."""
        if _debian_entry.wanted(self.instance.cluster) is not None:
            return  # Debian's default configuration is made with the first start
        main_file = self._main_file()
        if main_file is None:
            return
        owner = self.instance.owner
        hands = Hands(owner)
        hands.remove(self.scaffold)
        hands.make(self.scaffold)
        call_as(owner, _build, self.work, self.scaffold, self.names)
        socket_dir = _recovery_server.make_socket_dir(self.instance)
        try:
            files = _pg_files.read(owner, main_file or os.path.join(self.scaffold, _pg_files.MAIN), self.scaffold)
            given = _conf.on_command_line(shlex.split(self.instance.cluster.start_options))
            settings = {**{name: one.value for name, one in files.settings.items()}, **given}
            self._try(main_file, settings, socket_dir)
            _place_check.refuse(self.instance, self.data, settings, self.saved.recovery.major)
        except WalgError as exc:
            said = call_as(owner, _translated, exc.msg, self.scaffold, self.work)
            exc.msg = (
                f"The restored server would not start on {self.data_dir}: {said.rstrip('.')}. Nothing was put in "
                f"place; the restored directory is {self.work}. Fix that there, or where its links and includes lead."
                f"{self._lost_links()} (walg_restore_check_start: false puts it in place unchecked.)"
            )
            raise
        finally:
            _recovery_server.remove_directory(self.instance, socket_dir)
            hands.remove(self.scaffold)

    def _main_file(self) -> str | None:
        """Return the main configuration file where it lies outside of the data directory; None: nobody can say which one it is."""
        cluster = self.instance.cluster
        inside = os.path.lexists(os.path.join(self.work, _pg_files.MAIN))
        laid_out = [one.config_file for one in _debian.configured() if os.path.realpath(one.data_dir) == self.data_dir]
        outside = cluster.config_file or next(iter(laid_out), "")
        if outside or inside or cluster.service in ("", "pg_ctl"):
            return outside
        return None

    def _try(self, main_file: str, settings: Mapping[str, str], socket_dir: str) -> None:
        cluster = self.instance.cluster
        # Started by hand from a configuration directory, it looks there for its other files, too.
        directory = cluster.start_dir or self.scaffold
        argv = [os.path.join(cluster.bin_dir, "postgres"), "-D", directory, *shlex.split(cluster.start_options)]
        for name, value in {**self._own(settings), **self._harmless(main_file, socket_dir)}.items():
            argv += ["-c", f"{name}={value}"]
        cwd = _launch.cwd_of(cluster.start_environment) or self.scaffold
        ended = self.runner.run(argv, user=cluster.owner(), timeout=_TIMEOUT, cwd=cwd)
        if _CAME_THROUGH in ended.stderr:
            return
        said = [line.strip() for line in ended.stderr.splitlines() if not _USUAL.search(line)]
        if ended.timed_out:
            said.append(f"it did not end within {_TIMEOUT:.0f} s")
        raise WalgError(" | ".join(said[-6:]) or f"it ended with {ended.rc}", **ended.fields())

    def _own(self, settings: Mapping[str, str]) -> dict[str, str]:
        insides = [os.path.join(name, "") for name in self.names]
        return {
            name: os.path.join(self.scaffold, settings[name][len(inside) :])
            for name in _PATHS
            for inside in insides
            if settings.get(name, "").startswith(inside)
        }

    def _harmless(self, main_file: str, socket_dir: str) -> dict[str, str]:
        """Return what the trial does otherwise than the start: no address, no file or log elsewhere, no memory that production has."""
        settings = {
            **({"config_file": main_file} if main_file else {}),
            "data_directory": self.scaffold,
            "external_pid_file": "",
            "lc_messages": "C",
            "listen_addresses": "",
            "log_destination": "stderr",
            "log_line_prefix": "",
            "log_min_messages": "warning",
            "logging_collector": "off",
            "unix_socket_directories": socket_dir,
        }
        if _servers.servers_on(self.data_dir):
            settings.update({"huge_pages": "off", "shared_buffers": "16MB"})
        return settings

    def _lost_links(self) -> str:
        names = call_as(self.instance.owner, _linked.lost, self.work)
        if not names:
            return ""
        return (
            f" These were symbolic links, and the base backup does not say where to: {', '.join(names)}. Put files or links in their "
            "place, or set where they lead with walg_restore_links."
        )


def _translated(text: str, scaffold: str, work: str) -> str:
    """As the owner: return a message with the paths that will be, for links, and those of the restored directory, for files."""
    for name in sorted(os.listdir(scaffold), reverse=True):
        path = os.path.join(scaffold, name)
        if os.path.islink(path) and os.path.islink(os.path.join(work, name)):
            text = text.replace(path, os.path.normpath(os.path.join(scaffold, os.readlink(path))))
    return text.replace(scaffold, work)


def _build(work: str, scaffold: str, names: Sequence[str]) -> None:
    """As the owner: fill the scaffold. ``names``: the data directory's, itself and a link to it."""
    os.chmod(scaffold, os.stat(work).st_mode & 0o777)
    for name in _EMPTY:
        if name != "pg_wal":
            os.mkdir(os.path.join(scaffold, name), 0o700)
    with open(os.path.join(scaffold, _control.FILE), "xb") as copy:
        copy.write(_control.read(work))
    bringer = _Bringer(work, scaffold, [os.path.join(name, "") for name in names])
    for name in os.listdir(work):
        if name not in _EMPTY and name not in _NOT_THERE:
            bringer.bring(name)


@dataclass
class _Bringer:
    """Brings the restored directory's entries to the scaffold: by links, but for what names others by the path that they will have.

    There is something else yet, or nothing: such a file is copied with the scaffold's path, such a link leads into the scaffold.
    """

    work: str
    scaffold: str
    insides: Sequence[str]  # the data directory's names, each with a slash at its end
    left: int = 10_000  # files that are looked into: those of a configuration are few

    def bring(self, inner: str) -> None:
        source, target = os.path.join(self.work, inner), os.path.join(self.scaffold, inner)
        if os.path.islink(source):
            source = os.path.normpath(os.path.join(os.path.dirname(self.insides[0] + inner), os.readlink(source)))
            inside = self._inside(source)
            if inside:
                os.symlink(os.path.join(self.scaffold, source[len(inside) :]), target)
                return
        elif os.path.isdir(source) and self._any_names_others(source):
            os.mkdir(target, os.stat(source).st_mode & 0o777)
            for name in os.listdir(source):
                self.bring(os.path.join(inner, name))
            return
        if self._names_others(source):
            self._copy(source, target)
        else:
            os.symlink(source, target)

    def _inside(self, path: str) -> str:
        return next((inside for inside in self.insides if path.startswith(inside)), "")

    def _any_names_others(self, directory: str) -> bool:
        for folder, folders, files in os.walk(directory):
            for name in [*folders, *files]:
                path = os.path.join(folder, name)
                if self._inside(os.readlink(path)) if os.path.islink(path) else self._names_others(path):
                    return True
        return False

    def _names_others(self, path: str) -> bool:
        if self.left <= 0 or not os.path.isfile(path) or os.path.getsize(path) > _CONF_BYTES:
            return False
        self.left -= 1
        try:
            with open(open_regular(path), "rb") as stream:
                text = stream.read(_CONF_BYTES)
        except (OSError, WalgError):
            return False  # PostgreSQL will say so
        return any(os.fsencode(inside) in text for inside in self.insides)

    def _copy(self, source: str, target: str) -> None:
        with open(open_regular(source), "rb") as stream:
            text = stream.read(_CONF_BYTES)
        for inside in self.insides:
            text = text.replace(os.fsencode(inside), os.fsencode(os.path.join(self.scaffold, "")))
        with open(target, "xb") as copy:
            copy.write(text)
        os.chmod(target, os.stat(source).st_mode & 0o777)
