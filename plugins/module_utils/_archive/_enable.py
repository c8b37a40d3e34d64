# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: PostgreSQL's archive settings are in force. Plan first; check mode and the real run share it.

Our settings go to one file of ours: into conf.d where the configuration includes such a directory (Debian), else
beside the main configuration file with one include line at its end. Never ALTER SYSTEM.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _trust
from .._host._files import read_conf, write_atomic
from .._host._users import User, call_as
from .._host._waiting import wait_until
from .._postgres import _archive_settings, _conf, _servers
from .._postgres._server import Server
from .._postgres._service import Service
from .._walg import _backups, _client, _compatibility
from . import _command_length, _conf_place, _ownership, _storage_move

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._host._process import Runner
    from .._instance._record import Instance
    from .._postgres._server import ServerFacts

FILES = """
SELECT json_agg(json_build_object('name', f.name, 'setting', f.setting, 'sourcefile', f.sourcefile, 'sourceline', f.sourceline,
                                  'error', f.error, 'context', s.context) ORDER BY seqno)
FROM pg_file_settings f LEFT JOIN pg_settings s USING (name)
"""
_APPLY_TIMEOUT = 20.0  # seconds for a reload to show


@dataclass(frozen=True)
class ArchivePlan:
    """What would be done. Texts are the whole files; ``include_file`` None where conf.d is included already."""

    instance: Instance
    facts: ServerFacts
    wanted: dict[str, str]
    changes: list[_archive_settings.Change]
    conf_file: str
    conf_before: str | None
    conf_after: str
    main_file: str
    main_before: str
    main_after: str
    owner: _ownership.OwnerPlan | None = None  # None: the storage could not be asked yet

    @property
    def owner_changed(self) -> bool:
        return self.owner is not None and self.owner.after is not None

    @property
    def files_changed(self) -> bool:
        return self.conf_before != self.conf_after or self.main_before != self.main_after

    @property
    def changed(self) -> bool:
        return self.server_changed or self.owner_changed

    @property
    def server_changed(self) -> bool:
        return self.files_changed or bool(self.changes)

    @property
    def restart(self) -> bool:
        """A setting changes that only a restart brings into force (pg_settings.context = postmaster)."""
        return any(change.restart for change in self.changes)

    def diff(self) -> dict[str, str]:
        """Before and after of the settings in force and of our files."""
        before = [f"{change.name} = '{change.before}'" for change in self.changes]
        after = [f"{change.name} = '{change.after}'" for change in self.changes]
        if self.main_before != self.main_after:
            after.append(f"{self.main_file}: {_conf.INCLUDE_LINE}")
        if self.owner is not None:
            said = self.owner.diff()
            before.append(said[0])
            after.append(said[1])
        return {
            "before_header": f"in force; {self.conf_file}",
            "after_header": f"in force; {self.conf_file}",
            "before": "\n".join(before) + "\n\n" + (self.conf_before or ""),
            "after": "\n".join(after) + "\n\n" + self.conf_after,
        }


def plan(
    runner: Runner,
    instance: Instance,
    *,
    timeout: int,
    restart: bool,
    replace_command: bool,
    pending: Sequence[str],
    take_over: str = "",
) -> ArchivePlan:
    """Look, decide, refuse.

    ``pending``: what earlier tasks would have made (check mode on a virgin host); ``take_over``: see _owner.
    """
    server = Server(runner, instance.cluster)
    facts = server.own_facts()
    current = server.settings(_archive_settings.NAMES)
    files = server.ask_json(FILES) or []
    owner = instance.owner
    main_before = call_as(owner, read_conf, facts.config_file) or ""
    place = _conf_place.choose(facts.config_file, main_before, facts.data_directory)
    command = _archive_settings.push_command(instance.program_dir, instance.record_file)
    _command_length.refuse_cut_archive(command, facts.major)
    wanted = _archive_settings.wanted_settings(current, command, timeout)
    _archive_settings.refuse_broken_files(files)
    _archive_settings.refuse_foreign(current, files, place.conf_file, wanted, replace_command)
    auto_conf = os.path.join(facts.data_directory, "postgresql.auto.conf")
    _archive_settings.refuse_override(current, wanted, place.conf_file, auto_conf)
    _conf_place.refuse_later(files, wanted, place)
    conf_before = call_as(owner, read_conf, place.conf_file)
    kept = _kept(conf_before, wanted)
    made = ArchivePlan(
        instance,
        facts,
        wanted,
        _archive_settings.changes(current, wanted),
        place.conf_file,
        conf_before,
        _conf.conf_text({**kept, **wanted}),
        facts.config_file,
        main_before,
        place.main_after,
    )
    if made.restart:
        names = ", ".join(change.name for change in made.changes if change.restart)
        fields = {
            "found": {change.name: change.before for change in made.changes},
            "wanted": {change.name: change.after for change in made.changes},
        }
        refuse_restart(runner, instance, facts.config_file, restart, names, **fields)
    _refuse_unwritable(made)
    if pending:
        return made
    made = replace(made, owner=_ownership.plan(_client.Walg.of(runner, instance), facts, take_over))
    if made.changed:
        _refuse_unfit(runner, made)
    return made


def refuse_restart(
    runner: Runner, instance: Instance, config_file: str, allowed: bool, settings: str, **fields: Any
) -> None:
    """Raise WalgError for a restart that is not allowed, or that nobody can make. ``settings``: what it is needed for."""
    if not allowed:
        raise WalgError(
            f"A restart of the server on {instance.cluster.data_dir} is needed for {settings}, and none is allowed. "
            "Allow it with this line, at a time that suits you:\n  walg_backup_restart: allowed",
            **fields,
        )
    service = Service(runner, instance.cluster, "")
    service.refuse_unstoppable(_servers.servers_on(instance.cluster.data_dir))
    service.as_started(config_file)


def _kept(conf_before: str | None, wanted: dict[str, str]) -> dict[str, str]:
    """Keep a wal_level that our file once raised: with it in force it is no longer 'minimal', yet still ours."""
    if conf_before and "wal_level = 'replica'" in conf_before and "wal_level" not in wanted:
        return {"wal_level": "replica"}
    return {}


def _refuse_unwritable(made: ArchivePlan) -> None:
    """Refuse what could not be written: configuration of others, or a single file that is mounted into a container."""
    main, owner = os.path.realpath(made.main_file), made.instance.owner
    edits_main = made.main_before != made.main_after
    for path, needed in ((made.conf_file, made.conf_before != made.conf_after), (main, edits_main)):
        if needed and writer(path, owner) is None:
            included = _conf_place.in_data_dir(made.facts.data_directory)
            raise WalgError(
                f"{os.path.dirname(path)} holds PostgreSQL's configuration, and {owner.name!r} can't write there. Put this line at the "
                f"end of {made.main_file} yourself:\n  include_if_exists = '{included}'\nThen run again: the settings go into that "
                "file. (If only root can change that directory and those above it, a play that runs as root writes there itself.)",
            )
    if edits_main and os.path.ismount(main):
        raise WalgError(
            f"{main} is mounted as a single file and can't be replaced. Put this line at its end yourself, and run again:\n"
            f"  {_conf.INCLUDE_LINE}",
        )


def writer(path: str, owner: User) -> User | None:
    """Return who writes a file of the configuration: the cluster's owner, or root in what is root's own all the way up."""
    directory = os.path.dirname(path)
    if call_as(owner, os.access, directory, os.W_OK):
        return owner
    return User.current() if os.geteuid() == 0 and not _trust.is_loose(directory) else None


def _refuse_unfit(runner: Runner, made: ArchivePlan) -> None:
    """Refuse to switch archiving on when WAL-G can't serve it: an archive_command that fails fills the disk with WAL."""
    instance, facts = made.instance, made.facts
    owner = instance.owner
    wrapper = os.path.join(instance.program_dir, "wal-push")
    for path, mode in ((wrapper, os.X_OK), (instance.record_file, os.R_OK), (instance.settings_file, os.R_OK)):
        if not call_as(owner, os.access, path, mode):
            raise WalgError(
                f"{path} can't be used by the user {owner.name!r}, who runs archive_command: it is missing, or a directory "
                "above it is closed to that user."
            )
    version = _client.binary_version(runner, instance.binary, owner).version
    kind = instance.storage_kind
    refusals = _compatibility.check_pair(version, facts.major, kind, "backup", untested=instance.cluster.untested)
    if refusals:
        raise WalgError(" ".join(refusals))
    walg = _client.Walg.of(runner, instance)
    found = walg.backups()
    _backups.refuse_foreign(found, facts.system_identifier, instance.storage)
    if not found and made.owner is not None and made.owner.before is None:
        _ownership.refuse_foreign_wal(walg, facts, instance.state_dir)


def apply(runner: Runner, made: ArchivePlan) -> None:
    """Say whose archive it is, write our files, reload, restart if the plan says so, and prove by what is in force."""
    instance, server = made.instance, Server(runner, made.instance.cluster)
    if made.owner is not None:
        _ownership.apply(_client.Walg.of(runner, instance), made.owner, instance.state_dir)
    if not made.server_changed:
        return
    with _storage_move.moving(instance) if _takes_over(made) else contextlib.nullcontext():
        _put_in_force(runner, made, server)


def _takes_over(made: ArchivePlan) -> bool:
    """Say whether a command that archives now gives way to ours: if it is WAL-G, it has noted what it sent ahead elsewhere."""
    commands = [change.before for change in made.changes if change.name == "archive_command"]
    return any(commands) and not made.restart


def _put_in_force(runner: Runner, made: ArchivePlan, server: Server) -> None:
    instance = made.instance
    call_as(instance.owner, _forget_proof, instance.files.proof)
    owner, main = instance.owner, os.path.realpath(made.main_file)
    if made.conf_before != made.conf_after:
        who = writer(made.conf_file, owner)
        call_as(who, _write_ours, made.conf_file, made.conf_after, 0o600 if who == owner else 0o644)
    if made.main_before != made.main_after:  # last, so that PostgreSQL never sees the include without our file
        call_as(writer(main, owner), write_main, main, made.main_after)
    server.ask("SELECT pg_reload_conf()")
    if made.restart:
        Service(runner, instance.cluster, os.path.join(instance.log_dir, "server.log")).restart()
    names = tuple(made.wanted)

    def in_force() -> bool:
        rows = server.settings(names)
        return not _archive_settings.changes(rows, made.wanted) and not any(
            row["pending_restart"] for row in rows.values()
        )

    if not wait_until(in_force, _APPLY_TIMEOUT):
        rows = server.settings(names)
        wrong = [
            f"{change.name} is {change.before!r} from {rows[change.name]['sourcefile'] or rows[change.name]['source']}"
            for change in _archive_settings.changes(rows, made.wanted)
        ]
        raise WalgError(
            f"{made.conf_file} was written and the server reloaded, but it does not run with it: {'; '.join(wrong)}. "
            "Something overrides this file; remove that and run again.",
            wanted=made.wanted,
        )


def _forget_proof(path: str) -> None:
    """Forget the proof of the archive, since archiving may have been off. This comes first, so that a killed run has forgotten it too."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _write_ours(path: str, text: str, mode: int) -> None:
    if os.path.islink(path):
        raise WalgError(f"{path} is a symbolic link; only real files are written here.")
    write_atomic(path, text, mode)


def write_main(path: str, text: str) -> None:
    """Write it as the server can still read it: with its mode, and where root writes, with its owner."""
    found = os.stat(path)
    ids = (found.st_uid, found.st_gid) if os.geteuid() == 0 else (-1, -1)
    write_atomic(path, text, found.st_mode & 0o7777, *ids)


def result(made: ArchivePlan) -> dict[str, Any]:
    """Return what the module returns besides changed and diff."""
    return {
        "settings": made.wanted,
        "conf_file": made.conf_file,
        "restart": made.restart,
        "system_identifier": made.facts.system_identifier,
        "timeline": made.facts.timeline,
        "in_recovery": made.facts.in_recovery,
        "owner": _ownership.result(made.owner),
    }
