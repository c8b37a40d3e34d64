# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: PostgreSQL's archive settings are in force. Plan first; check mode and the real run share it. Private.

Our settings go to one file of ours: into conf.d where the configuration includes such a directory (Debian), else
beside the main configuration file with one include line at its end. Never ALTER SYSTEM.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from . import (
    _archiving,
    _backups,
    _compatibility,
    _data_dir,
    _flow_owner,
    _flow_storage_change,
    _pg_conf,
    _storage,
    _walg,
)
from ._errors import WalgError
from ._files import read_text, write_atomic
from ._postgres import Server
from ._process import call_as
from ._service import Service
from ._waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._instance import Instance
    from ._postgres import ServerFacts
    from ._process import Runner

PROOF = "archive-proof.json"  # in the state directory, see _flow_archive_check
_APPLY_TIMEOUT = 20.0  # seconds for a reload to show


@dataclass(frozen=True)
class ArchivePlan:
    """What would be done. Texts are the whole files; ``include_file`` None where conf.d is included already."""

    instance: Instance
    facts: ServerFacts
    wanted: dict[str, str]
    changes: list[_archiving.Change]
    conf_file: str
    conf_before: str | None
    conf_after: str
    main_file: str
    main_before: str
    main_after: str
    unknown: list[str]
    owner: _flow_owner.OwnerPlan | None = None  # None: the storage could not be asked yet

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
            after.append(f"{self.main_file}: {_pg_conf.INCLUDE_LINE}")
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
    current = server.settings(_archiving.NAMES)
    files = server.ask_json(
        "SELECT json_agg(json_build_object('name', f.name, 'setting', f.setting, 'sourcefile', f.sourcefile, 'sourceline', "
        "f.sourceline, 'error', f.error, 'context', s.context) ORDER BY seqno) FROM pg_file_settings f LEFT JOIN pg_settings s USING (name)"
    )
    owner = instance.cluster.owner()
    config_dir = os.path.dirname(facts.config_file)
    main_before = call_as(owner, read_text, facts.config_file) or ""
    if _pg_conf.includes_directory(main_before, "conf.d"):
        conf_file, main_after = os.path.join(config_dir, "conf.d", _pg_conf.FILE_NAME), main_before
    else:
        conf_file, main_after = os.path.join(config_dir, _pg_conf.FILE_NAME), _pg_conf.with_include(main_before)
    command = _archiving.push_command(instance.program_dir, instance.record_file)
    wanted = _archiving.wanted_settings(current, command, timeout)
    _archiving.refuse_broken_files(files or [])
    _archiving.refuse_foreign(current, files or [], conf_file, wanted, replace_command)
    _archiving.refuse_override(current, wanted, conf_file, os.path.join(facts.data_directory, "postgresql.auto.conf"))
    conf_before = call_as(owner, read_text, conf_file)
    kept = _kept(conf_before, wanted)
    made = ArchivePlan(
        instance,
        facts,
        wanted,
        _archiving.changes(current, wanted),
        conf_file,
        conf_before,
        _pg_conf.conf_text({**kept, **wanted}),
        facts.config_file,
        main_before,
        main_after,
        ["storage"] if pending else [],
    )
    if made.restart and not restart:
        names = ", ".join(change.name for change in made.changes if change.restart)
        raise WalgError(
            f"A restart of the server on {instance.cluster.data_dir} is needed for {names}, and none is allowed. "
            "Allow it with this line, at a time that suits you:\n  walg_backup_restart: allowed",
            found={change.name: change.before for change in made.changes},
            wanted={change.name: change.after for change in made.changes},
        )
    if made.restart:
        service = Service(runner, instance.cluster, "")
        service.refuse_unstoppable(_data_dir.servers_on(instance.cluster.data_dir))
    _refuse_unwritable(made)
    if pending:
        return made
    made = replace(made, owner=_flow_owner.plan(client(runner, instance), facts, take_over))
    if made.changed:
        _refuse_unfit(runner, made)
    return made


def _kept(conf_before: str | None, wanted: dict[str, str]) -> dict[str, str]:
    """Keep a wal_level that our file once raised: with it in force it is no longer 'minimal', yet still ours."""
    if conf_before and "wal_level = 'replica'" in conf_before and "wal_level" not in wanted:
        return {"wal_level": "replica"}
    return {}


def _refuse_unwritable(made: ArchivePlan) -> None:
    """Refuse what could not be written: configuration of root's, or a single file that is mounted into a container."""
    owner = made.instance.cluster.owner()
    main, directory = os.path.realpath(made.main_file), os.path.dirname(made.conf_file)
    edits_main = made.main_before != made.main_after
    for path, needed in ((directory, made.conf_before != made.conf_after), (os.path.dirname(main), edits_main)):
        if needed and not call_as(owner, os.access, path, os.W_OK):
            raise WalgError(
                f"{path}, where PostgreSQL's configuration lies, can't be written by {owner.name!r}, who owns the cluster: our "
                f"archive settings belong there. Give the directory to {owner.name!r}.",
            )
    if edits_main and os.path.ismount(main):
        raise WalgError(
            f"{main} is mounted as a single file and can't be replaced. Put this line at its end yourself, and run again:\n"
            f"  {_pg_conf.INCLUDE_LINE}",
        )


def _refuse_unfit(runner: Runner, made: ArchivePlan) -> None:
    """Refuse to switch archiving on when WAL-G can't serve it: an archive_command that fails fills the disk with WAL."""
    instance, facts = made.instance, made.facts
    owner = instance.cluster.owner()
    wrapper = os.path.join(instance.program_dir, "wal-push")
    for path, mode in ((wrapper, os.X_OK), (instance.record_file, os.R_OK), (instance.settings_file, os.R_OK)):
        if not call_as(owner, os.access, path, mode):
            raise WalgError(
                f"{path} can't be used by the user {owner.name!r}, who runs archive_command: it is missing, or a directory "
                "above it is closed to that user."
            )
    version = _walg.binary_version(runner, instance.binary, owner).version
    refusals = _compatibility.check_pair(
        version, facts.major, _storage.kind(_storage.storage_settings(instance.storage)), "backup"
    )
    if refusals:
        raise WalgError(" ".join(refusals))
    walg = client(runner, instance)
    found = walg.backups()
    _backups.refuse_foreign(found, facts.system_identifier, instance.storage)
    if not found and made.owner is not None and made.owner.before is None:
        _flow_owner.refuse_foreign_wal(walg, facts, instance.state_dir)


def client(runner: Runner, instance: Instance) -> _walg.Walg:
    """Return the WAL-G client of an instance."""
    return _walg.Walg(
        runner,
        instance.binary,
        instance.settings_file,
        instance.cluster.owner(),
        instance.storage,
        instance.environment,
    )


def apply(runner: Runner, made: ArchivePlan) -> None:
    """Say whose archive it is, write our files, reload, restart if the plan says so, and prove by what is in force."""
    instance, server = made.instance, Server(runner, made.instance.cluster)
    if made.owner is not None:
        _flow_owner.apply(client(runner, instance), made.owner, instance.state_dir)
    if not made.server_changed:
        return
    with _flow_storage_change.held(instance) if _takes_over(made) else contextlib.nullcontext():
        _put_in_force(runner, made, server)


def _takes_over(made: ArchivePlan) -> bool:
    """Say whether a command that archives now gives way to ours: if it is WAL-G, it has noted what it sent ahead elsewhere."""
    commands = [change.before for change in made.changes if change.name == "archive_command"]
    return any(commands) and not made.restart


def _put_in_force(runner: Runner, made: ArchivePlan, server: Server) -> None:
    instance = made.instance
    call_as(instance.cluster.owner(), _forget_proof, os.path.join(instance.state_dir, PROOF))
    call_as(
        instance.cluster.owner(),
        _write,
        made.conf_file,
        made.conf_after,
        made.main_file,
        made.main_before,
        made.main_after,
    )
    server.ask("SELECT pg_reload_conf()")
    if made.restart:
        Service(runner, instance.cluster, os.path.join(instance.log_dir, "server.log")).restart()
    names = tuple(made.wanted)

    def in_force() -> bool:
        rows = server.settings(names)
        return not _archiving.changes(rows, made.wanted) and not any(row["pending_restart"] for row in rows.values())

    if not wait_until(in_force, _APPLY_TIMEOUT):
        rows = server.settings(names)
        wrong = [
            f"{change.name} is {change.before!r} from {rows[change.name]['sourcefile'] or rows[change.name]['source']}"
            for change in _archiving.changes(rows, made.wanted)
        ]
        raise WalgError(
            f"{made.conf_file} was written and the server reloaded, but it does not run with it: {'; '.join(wrong)}. "
            "Something overrides our file; remove it and run again.",
            wanted=made.wanted,
        )


def _forget_proof(path: str) -> None:
    """What was proved of the archive holds no longer: archiving may have been off. First, so that a killed run forgets too."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _write(conf_file: str, conf_after: str, main_file: str, main_before: str, main_after: str) -> None:
    """As the owner: our file first, then the include, so that PostgreSQL never sees one without the other."""
    if os.path.islink(conf_file):
        raise WalgError(f"{conf_file} is a symbolic link; we write real files.")
    if read_text(conf_file) != conf_after:
        write_atomic(conf_file, conf_after, 0o600)
    if main_before != main_after:
        real = os.path.realpath(main_file)
        write_atomic(real, main_after, os.stat(real).st_mode & 0o7777)


def result(made: ArchivePlan) -> dict[str, Any]:
    """Return what the module returns besides changed and diff."""
    return {
        "settings": made.wanted,
        "conf_file": made.conf_file,
        "restart": made.restart,
        "unknown": made.unknown,
        "system_identifier": made.facts.system_identifier,
        "timeline": made.facts.timeline,
        "in_recovery": made.facts.in_recovery,
        "owner": _flow_owner.result(made.owner),
    }
