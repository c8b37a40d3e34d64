# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The WAL-G client: one method for each command we use.

Answers are read from stdout only; log lines go to stderr. Facts by version: exit codes and outputs of WAL-G 1.1.3 to
3.0.9 as measured; no exit code but 0 is trusted to mean anything particular.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .._errors import StorageError, WalgError
from .._host._files import read_text
from .._host._process import Result, Runner
from .._host._users import call_as
from .._instance._record import Instance
from .._postgres import _wal, _wal_content
from .._storage import _answers
from . import _backups, _corruption, _foreign_json, _inventory, _objects, _owner_seen, _releases, _segment_size

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence

    from .._host._users import User

#: Seconds for a question to the storage. WAL-G itself may retry for half an hour and more (a missing bucket).
ASK_TIMEOUT = 60.0
#: WAL-G tries for half an hour what is forbidden; few tries are enough for what may well be.
FEW_TRIES = {"GCS_MAX_RETRIES": "2", "S3_MAX_RETRIES": "2", "OSS_MAX_RETRIES": "2"}
#: For what is over before it has anything to collect. While it starts, Go would collect garbage several times: a quarter of its time.
_BRIEF = {"GOGC": "400"}
#: Seconds for a listing, as long as the storage answers small questions meanwhile: a big archive is no dead storage.
LIST_TIMEOUT = 3600.0
#: What is asked of a storage; the rest lists.
_ACTS = {"st put": "write", "st cat": "read", "st rm": "delete"}


def binary_version(
    runner: Runner, binary: str, user: User | None = None, *, name: str = "", descriptors: Sequence[int] = ()
) -> _releases.BinaryVersion:
    """Run ``binary --version`` as ``user``. Raises WalgError when it doesn't start or isn't WAL-G for PostgreSQL.

    ``name``: what messages call it, where ``binary`` is one of ``descriptors``.
    """
    result = runner.run([binary, "--version"], user=user, timeout=30, descriptors=descriptors)
    if result.rc != 0:
        shown = replace(result, argv=[name or binary, "--version"])
        raise WalgError(
            f"{name or binary} --version ended with {result.rc}: {result.last_line()}. Is it a build of WAL-G for this host?",
            **shown.fields(),
        )
    return _releases.parse_version_output(result.stdout)


@dataclass(frozen=True)
class Walg:
    """WAL-G with one settings file, run as the cluster's owner."""

    runner: Runner
    binary: str
    config: str
    user: User
    storage: str  # for messages
    environment: Mapping[str, str] = field(default_factory=dict)
    ask_timeout: float = ASK_TIMEOUT
    descriptors: Sequence[int] = ()  # those that ``config`` and what it names lead to

    @classmethod
    def of(cls, runner: Runner, instance: Instance) -> Walg:
        """Return the client of an instance. Raises WalgError if its storage is a share that is not mounted."""
        _owner_seen.refuse_unmounted(instance.owner, instance.state_dir, instance.storage)
        return cls(
            runner, instance.binary, instance.settings_file, instance.owner, instance.storage, instance.environment
        )

    def hurried(self) -> Walg:
        """Return the same client with few tries: for what may well be forbidden, or dead."""
        return replace(self, environment={**self.environment, **FEW_TRIES})

    def _run(
        self,
        arguments: Sequence[str],
        timeout: float,
        cwd: str = "/",
        place: Mapping[str, str] | None = None,
        tied: bool = False,
        brief: bool = False,
    ) -> Result:
        argv = [self.binary, "--config", self.config, *arguments]
        env = {**(_BRIEF if brief else {}), **self.environment, **(place or {})}
        return self.runner.run(
            argv, user=self.user, env=env, timeout=timeout, cwd=cwd, descriptors=self.descriptors, tied=tied
        )

    def _ask(self, arguments: Sequence[str], place: Mapping[str, str] | None = None) -> str:
        result = self._run(arguments, self.ask_timeout, place=place, brief=True)
        if result.rc != 0 or result.timed_out:
            raise self._failure(result, arguments)
        return result.stdout

    def _list(self, arguments: Sequence[str], told: Mapping[str, str] | None = None) -> str:
        """Ask for a listing: of a big archive it takes long. Ended as a question is when the storage falls silent."""
        argv = [self.binary, "--config", self.config, *arguments]
        try:
            with _ticking(self.runner, _Pulse(self).feel):
                result = self._run(arguments, max(LIST_TIMEOUT, self.ask_timeout), place=told)
        except _SilentError as exc:
            stdout, stderr = (str(exc.fields.get(name, "")) for name in ("stdout", "stderr"))
            result = Result(argv, int(exc.fields.get("rc", -1)), stdout, stderr, timed_out=True)  # refused below
        if result.rc != 0 or result.timed_out:
            raise self._failure(result, arguments)
        return result.stdout

    def _failure(self, result: Result, arguments: Sequence[str]) -> WalgError:
        """Return the error for a command that the storage did not serve: what was asked, what answered, what to do."""
        output, act = result.stderr or result.stdout, _ACTS.get(" ".join(arguments[:2]), "list")
        advice = _answers.advice(output, self.storage.partition("://")[0], act, result.timed_out)
        told = replace(result, stderr=_answers.telling_line(output), stdout="").last_line()
        command = f"`wal-g {' '.join(arguments)}`"
        if result.timed_out:
            said = f": {told}" if output.strip() else "."
            what = f"The storage {self.storage} did not answer {command} within {self.ask_timeout:.0f} s{said}"
        else:
            what = f"{command} on the storage {self.storage} ended with {result.rc}: {told}"
        fields = {"timed_out": True} if result.timed_out else {}
        return StorageError(f"{what} {advice}".strip(), **fields, **result.fields())

    def backups(self) -> list[_backups.Backup]:
        """List all base backups with details, oldest first."""
        text = self._list(["backup-list", "--detail", "--json"])
        found = _backups.parse_list(text)
        if not found:
            # Up to 2.0.1 the detailed list calls a refused or dead storage "No backups found", exit 0; the plain one fails.
            plain = self._list(["backup-list", "--json"]).strip()
            if plain not in ("", "[]", "null"):
                raise WalgError(
                    f"WAL-G lists base backups in {self.storage}, but none with details: is one of them damaged?",
                    stdout=plain[:2000],
                )
        return found

    def may_hold_backups(self) -> bool:
        """List the top of the storage, and say whether there is a place for base backups; WAL-G's list would make one in files."""
        return _objects.BACKUPS in self._ask(["st", "ls"])

    def wal(self, segment_size: int) -> _inventory.Inventory:
        """List the WAL in the storage, per timeline. ``segment_size`` in bytes."""
        told = {
            _segment_size.SETTING: str(segment_size // 1024**2)
        }  # a host whose cluster is lost may not have the setting
        text = self._list(["wal-show", "--detailed-json", "--without-backups"], told)
        try:
            shown = _foreign_json.parse(text) if text.strip() else []
        except ValueError as exc:
            raise WalgError(f"WAL-G's wal-show did not answer with JSON: {exc}", stdout=text[:2000]) from exc
        return _inventory.inventory(shown or [], segment_size)

    def archive(
        self, segment_size: int, backups: Sequence[_backups.Backup] = (), names: Sequence[str] | None = None
    ) -> _inventory.Inventory:
        """List the WAL as ``wal`` does, with the ancestors that only history files know (one is read for each that needs it).

        A segment that no recovery passes, as ``backups`` tell, is treated as missing. ``names``: what a listing of the WAL folder has
        just told; it is enough in an archive of one timeline.
        """
        known = _inventory.of_names(names, segment_size) if names is not None else None
        found = known or self.wal(segment_size)
        for timeline in _inventory.cut_off(found, {one.timeline for one in backups}):
            found = _inventory.with_history(found, timeline, self.history(timeline))
        return _inventory.without(found, _backups.passed(backups))

    def history(self, timeline: int) -> str:
        """Read the history file of a timeline."""
        return str(self._fetched(f"{timeline:08X}.history", read_text, 0))

    def segment_content(self, name: str, segment_size: int) -> _wal_content.SegmentContent:
        """Read what one segment holds; it is fetched to a temporary directory."""
        start = _wal.segment_number(name, segment_size) * segment_size

        def read(path: str) -> dict[str, Any]:
            with open(path, "rb") as stream:
                return asdict(_wal_content.read_segment(stream.read(), start))

        return _wal_content.SegmentContent(**self._fetched(name, read, segment_size))

    def _fetched(self, name: str, read: Callable[[str], Any], segment_size: int) -> Any:
        """Fetch a segment or history file and return what ``read`` makes of it, all of it as the cluster's owner."""
        directory = call_as(self.user, tempfile.mkdtemp)
        try:
            destination = os.path.join(directory, name)
            result = self.fetch_segment(name, destination, segment_size)
            if result.rc != 0:
                raise WalgError(
                    f"`wal-g wal-fetch {name}` on the storage {self.storage} ended with {result.rc}: {result.last_line()}",
                    **result.fields(),
                )
            return call_as(self.user, read, destination)
        finally:
            call_as(self.user, shutil.rmtree, directory)

    def uploaded(self, names: Container[str]) -> dict[str, str]:
        """Return when segments were uploaded (RFC 3339), of those that are asked for by name."""
        return _inventory.upload_times(self.wal_table(), names)

    def wal_table(self) -> str:
        """Return the table of what is in the WAL folder, with sizes and times."""
        return self._list(["st", "ls", _objects.WAL])

    def wal_table_if_any(self) -> str:
        """Return the same; "" where there is no such folder, as far as the storage does not just fall silent."""
        try:
            return self.wal_table()
        except WalgError as exc:
            if exc.fields.get("timed_out"):
                raise
            return ""

    def objects(self, folder: str) -> list[_objects.Object]:
        """List all that is in a folder of the prefix and below it, with sizes and times; nothing if there is no such folder."""
        try:
            return _objects.parse(self._list(["st", "ls", "-r", folder]))
        except WalgError:
            if folder in self.folders():
                raise
            return []

    def folders(self, folder: str = "") -> list[str]:
        """Return the names of the folders at the top of the prefix, or of one below it."""
        return _objects.folders(self._list(["st", "ls", *([folder] if folder else [])]))

    def fetch_segment(self, name: str, destination: str, segment_size: int) -> Result:
        """Fetch one segment to a path that does not exist. One stream: no prefetch child is left behind."""
        timeout = self.ask_timeout * _segment_size.patience(segment_size)
        argv = [self.binary, "--config", self.config, "wal-fetch", name, destination]
        env = {**self.environment, "WALG_DOWNLOAD_CONCURRENCY": "1"}
        return self.runner.run(argv, user=self.user, timeout=timeout, env=env, cwd=os.path.dirname(destination))

    def sentinel(self, name: str) -> dict[str, Any]:
        """Read the record that WAL-G keeps of one base backup (tablespaces stand only there)."""
        text = self._ask(["st", "cat", sentinel_object(name)])
        try:
            found = _foreign_json.parse(text)
        except ValueError as exc:
            raise WalgError(f"The record of the base backup {name} is not JSON: {exc}", stdout=text[:2000]) from exc
        if not isinstance(found, dict):
            raise WalgError(f"The record of the base backup {name} is not a JSON object.", stdout=text[:2000])
        return found

    def text(self, path: str) -> str:
        """Read an object that is listed, as it is stored."""
        return self._ask(["st", "cat", path])

    def cat(self, name: str, place: Mapping[str, str] | None = None, *, seldom: bool = False) -> str | None:
        """Return the text of an object at the top of the prefix, or None if the storage lists none of that name.

        ``place``: settings that override the file, as a prefix to look at instead. No exit code says "missing", so a
        listing does, and what is listed but can't be read is an error. ``seldom``: it is mostly missing, so that is asked first.
        """
        if seldom and not self._lists(name, place):
            return None
        try:
            return self._ask(["st", "cat", name], place)
        except WalgError as exc:
            if exc.fields.get("timed_out") or self._lists(name, place):
                raise
            return None

    def _lists(self, name: str, place: Mapping[str, str] | None) -> bool:
        rows = self._ask(["st", "ls"], place).splitlines()
        return name in [row.split()[-1] for row in rows if row.strip()]

    def put(self, source: str, name: str, place: Mapping[str, str] | None = None) -> None:
        """Write a local file as an object at the top of the prefix, over an old one, as it is."""
        self._ask(["st", "put", source, name, "-f", "--no-compress", "--no-encrypt"], place)

    def remove(self, name: str, place: Mapping[str, str] | None = None) -> None:
        """Remove one object. From 3.0.0 on, WAL-G also removes all that is below this name as a folder."""
        self._ask(["st", "rm", name], place)

    def mark(self, name: str, *, permanent: bool) -> None:
        """Make a base backup permanent, with all that it is based on, or ordinary. Raises WalgError if WAL-G does not."""
        self._ask(["backup-mark", name, *([] if permanent else ["-i"])])

    def backup_push(
        self,
        data_dir: str,
        user_data: dict[str, Any],
        full: bool,
        timeout: float,
        options: str = "",
        page_checksums: bool = False,
    ) -> Result:
        """Take a base backup of a local data directory; ``timeout`` in seconds ends WAL-G and its children.

        ``options``: PGOPTIONS of its session (read from 3.0.8 on). ``page_checksums``: whether they are verified; see _corruption.
        """
        arguments = ["backup-push", data_dir, *(["--full"] if full else []), *(["--verify"] if page_checksums else [])]
        # Not as an argument: everybody on the host may read those.
        env = {"WALG_SENTINEL_USER_DATA": json.dumps(user_data, sort_keys=True), **_corruption.ENVIRONMENT}
        place = {**env, **({"PGOPTIONS": options} if options else {})}
        return self._run(arguments, timeout, cwd=data_dir, place=place, tied=True)  # two must never run at once

    def backup_fetch(self, destination: str, name: str, timeout: float, restore_spec: str = "") -> Result:
        """Fetch a base backup by name into a directory that is absent or empty. ``restore_spec``: a file, see restore_spec_text."""
        options = ["--restore-spec", restore_spec] if restore_spec else []
        return self._run(["backup-fetch", destination, name, *options], timeout, cwd=os.path.dirname(destination))


class _SilentError(WalgError):
    """The storage answers nothing any more."""


class _Pulse:
    """While a listing runs: ask the storage for something small now and then. ``feel`` is called every few seconds."""

    def __init__(self, walg: Walg) -> None:
        self.half = walg.ask_timeout / 2
        self.walg = replace(walg, runner=Runner(), ask_timeout=self.half)
        self.next = time.monotonic() + self.half

    def feel(self) -> None:
        """Raise _SilentError when the storage does not answer; so a dead one is told in the time of a question."""
        if time.monotonic() < self.next:
            return
        try:
            self.walg.may_hold_backups()
        except WalgError as exc:
            raise _SilentError(exc.msg) from exc
        self.next = time.monotonic() + 2 * self.half


@contextlib.contextmanager
def _ticking(runner: Runner, more: Callable[[], None]) -> Iterator[None]:
    """Have ``more`` called while a program runs, besides what is called already."""
    before = runner.tick

    def both() -> None:
        if before:
            before()
        more()

    runner.tick = both
    try:
        yield
    finally:
        runner.tick = before


def sentinel_object(name: str) -> str:
    """Return the storage object that says that a base backup is complete."""
    return f"{_objects.BACKUPS}/{name}_backup_stop_sentinel.json"


def restore_spec_text(destination: str, tablespaces: Mapping[str, str]) -> str:
    """Return the file that tells WAL-G where tablespaces go (OID -> directory). All three parts are needed, OIDs as text."""
    spec: dict[str, Any] = {"base_prefix": destination, "tablespaces": sorted(tablespaces)}
    spec.update({oid: {"loc": path, "link": f"pg_tblspc/{oid}"} for oid, path in tablespaces.items()})
    return json.dumps(spec, indent=2) + "\n"
