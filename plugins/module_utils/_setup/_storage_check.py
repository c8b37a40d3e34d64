# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: a configuration can list, write, read and delete in its storage.

Every call has a time limit: WAL-G itself tries for half an hour what a missing bucket or a missing right will never give.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._archive import _ownership, _proof
from .._errors import WalgError
from .._host._files import write_atomic
from .._host._users import call_as
from .._storage import _answers
from .._walg import _backups, _client
from . import _encryption_check, _google_asked
from ._config import MissingCredentialsError

if TYPE_CHECKING:
    from .._host._process import Runner
    from ._config import Candidate

#: Seconds for a probe's remains to go, when something went wrong already.
_SWEEP_TIMEOUT = 10.0
_ONLY_RESTORES = "If this host shall only restore, say walg_storage_access: read_only, and in a restore walg_restore_resume_backup: false."


@dataclass(frozen=True)
class Question:
    """What is asked. ``access``: write, read, or read_only (writing is tried and should not work).

    ``timeout``: of one call, in seconds; ``dry``: only list; ``google``: ask Google about its credentials, too.
    """

    access: str
    timeout: float
    dry: bool
    google: bool = True


def known(candidate: Candidate, question: Question) -> bool:
    """Say whether this need not be asked: the host runs with these very settings, and WAL arrives."""
    return question.access == "write" and candidate.in_force() and _proof.archive_is_proved(candidate.instance)


def check(runner: Runner, candidate: Candidate, binary: str, question: Question) -> dict[str, Any]:
    """Ask the storage. Raises WalgError with what was tried, what answered and what to do; returns what was found."""
    instance = candidate.instance
    owner = instance.owner
    version = _client.binary_version(runner, binary, owner).version
    try:
        candidate.refuse_credentials(version)
    except MissingCredentialsError as exc:
        if not question.dry:
            raise
        return {"asked": False, "reason": exc.msg}

    def ask() -> dict[str, Any]:
        _encryption_check.check(runner, candidate.settings, binary, instance.environment)
        with candidate.walg(runner, binary, question.timeout) as walg:
            return _ask(walg, instance.cluster.system_identifier, question)

    try:
        found: dict[str, Any] = call_as(owner, ask)
    except WalgError as exc:
        google = _google_says(candidate, question, version)
        fields = {**exc.fields, **({"google": google} if google else {})}
        raise WalgError(_google_asked.advised(exc.msg, google), **fields) from exc
    google = _google_says(candidate, question, version)
    if not google:
        return found
    if question.dry and question.access == "write" and google.get("problem") == "permissions":
        found["warning"] = f"A run will probably fail. {google['advice']}"
    return {**found, "google": google}


def _google_says(candidate: Candidate, question: Question, version: tuple[int, int, int] | None) -> dict[str, Any]:
    """Return what Google says of the credentials, or why it was not asked; nothing where the storage is another one."""
    if not _google_asked.concerns(candidate):
        return {}
    if not question.google:
        return {"asked": False, "reason": _google_asked.NEVER}
    return _google_asked.ask(candidate, question.access != "write", question.timeout, version)


def _ask(walg: _client.Walg, system_identifier: str, question: Question) -> dict[str, Any]:
    backups = walg.backups() if walg.may_hold_backups() else []
    if system_identifier:
        _backups.refuse_foreign(backups, system_identifier, walg.storage)
        _ownership.refuse_other_cluster(walg, system_identifier)
    found: dict[str, Any] = {"asked": True, "backups": len(backups)}
    if question.dry:
        return found
    if backups:
        walg.sentinel(backups[-1].name)
    if question.access == "write":
        try:
            _probe(walg)
        except WalgError as exc:
            hint = "" if not _answers.forbidden(str(exc.fields.get("stderr"))) else _ONLY_RESTORES
            raise WalgError(f"{exc.msg} {hint}".strip(), **exc.fields) from exc
        return {**found, "can_write": True}
    if question.access == "read":
        return found
    try:
        _probe(walg)
    except WalgError as exc:
        return {**found, "can_write": False, "write_answer": exc.msg}
    warning = (
        f"These credentials can change the archive in {walg.storage}, though this host is said to only restore from it. Give it "
        "a key that can list and read, and no more."
    )
    return {**found, "can_write": True, "warning": warning}


def _probe(walg: _client.Walg) -> None:
    """Put a small object, read it back, remove it. It is at the top: no directory of it stays in a file system."""
    name = f"mapswipe_walg_probe_{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory(prefix="mapswipe-walg-") as directory:
        source = os.path.join(directory, "probe")
        write_atomic(source, name + "\n", 0o600)
        try:
            walg.put(source, name, _client.FEW_TRIES)
            text = walg.cat(name, _client.FEW_TRIES)
        except WalgError:
            _sweep(walg, name)
            raise
    try:
        walg.remove(name, _client.FEW_TRIES)
    except WalgError as exc:
        raise WalgError(
            f"{exc.msg} The probe {name} stays behind there, on Google Cloud Storage with {name}_chunks/: remove them.",
            **exc.fields,
        ) from exc
    if text != name + "\n":
        raise WalgError(f"What was written to {walg.storage} was read back as something else.", stdout=str(text)[:200])


def _sweep(walg: _client.Walg, name: str) -> None:
    """Remove what a failed probe may have left; on Google Cloud Storage an object is composed of such parts."""
    hurried = replace(walg, ask_timeout=min(walg.ask_timeout, _SWEEP_TIMEOUT))
    names = [name, f"{name}_chunks/chunk0"] if walg.storage.startswith("gs://") else [name]
    for one in names:
        with contextlib.suppress(WalgError):
            hurried.remove(one, _client.FEW_TRIES)
