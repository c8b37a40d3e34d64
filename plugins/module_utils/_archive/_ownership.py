# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: read, decide, write the marker that says whose archive it is. The rules and the places: _owner."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from .._errors import RefusedError, WalgError
from .._host import _facts, _inside, _times
from .._host._files import read_text, write_atomic
from .._host._users import call_as
from .._postgres import _wal_content
from .._walg import _owner_seen
from . import _owner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._host._users import User
    from .._instance._record import Instance
    from .._postgres._server import ServerFacts
    from .._walg._client import Walg

    StoragePrefix = dict[str, str]  # what overrides WAL-G's settings: nothing is the prefix itself

_FILE_PREFIXES = ("WALG_FILE_PREFIX", "WALE_FILE_PREFIX")


@dataclass(frozen=True)
class OwnerPlan:
    """The marker as it is and as it must be (None: it is so already), and where it stands, if it does."""

    before: _owner.Owner | None
    after: _owner.Owner | None
    place: StoragePrefix | None

    def diff(self) -> tuple[str, str]:
        """Before and after, for people."""
        return _told(self.before), _told(self.after or self.before)


def _told(owner: _owner.Owner | None) -> str:
    if owner is None:
        return "archive of nobody"
    heirs = ", ".join(f"{one.data_dir} on {one.host}" for one in owner.successors)
    return f"archive of {owner.who()}" + (f"; successors: {heirs}" if heirs else "")


def result(made: OwnerPlan | None) -> dict[str, Any] | None:
    """Return the marker that stands, or would, as modules return it."""
    owner = made and (made.after or made.before)
    return asdict(owner) if owner else None


def writer_on(data_dir: str) -> _owner.Writer:
    """Return this machine with a data directory, as the writer that a marker names. Containers have no machine-id of their own."""
    inside = _inside.current()
    machine = inside.machine if inside else _facts.machine_id()
    return _owner.Writer(platform.node() or "?", machine, os.path.realpath(data_dir))


def known_to_wrapper(instance: Instance, settings: Mapping[str, object]) -> Instance:
    """Return the instance with what its push wrapper needs to ask by itself, in a container: there is no Python for the job."""
    inside = _inside.current()
    if inside is None:
        return instance
    writer, place = writer_on(instance.cluster.data_dir), _owner.place_beside(settings) or {}
    setting = next((f"{name}={value}" for name, value in place.items()), "")
    return replace(instance, machine=inside.machine.partition(" ")[0], writer=writer.name, owner_place=setting)


def read(walg: Walg) -> _owner.Owner | None:
    """Return whose archive the storage is, or None if nobody says so. Raises WalgError for a marker that can't be read.

    For a restore: ``owner.timeline`` is where production continues, ``owner.highest_timeline`` the highest that any writer was
    on. Timelines of the archive that neither is, nor leads to, ``owner.timeline`` are old drills or a past that was left.
    Compare ``owner.system_identifier`` with the backup's before you follow it.
    """
    return find(walg)[0]


def find(walg: Walg) -> tuple[_owner.Owner | None, StoragePrefix | None]:
    """Return both in one: whose archive the storage is, and where that is said (None: nowhere). Raises WalgError."""
    beside = _beside(walg)
    if beside is not None and _readable(walg, beside):
        try:
            text = walg.cat(_owner.OBJECT, beside)
        except WalgError as exc:
            if not _owner.denied(exc):
                raise
            text = None  # the credentials end at the prefix: it is inside
        if text is not None:
            return _owner.parse(text, walg.storage), beside
    text = walg.cat(_owner.OBJECT)
    return (None, None) if text is None else (_owner.parse(text, walg.storage), {})


def trouble(told: Mapping[str, Any], system_identifier: str, data_dir: str, timeline: int, storage: str) -> str:
    """Say why a server may not write to the archive whose marker is ``told``, "" if it may."""
    try:
        owner = _owner.parse(_owner.render_of(told), storage)
        _owner.refuse_foreign(owner, system_identifier, writer_on(data_dir), timeline, storage)
    except WalgError as exc:
        return exc.msg
    return ""


def place(walg: Walg) -> StoragePrefix:
    """Return what leads WAL-G to where the marker is; {} is the prefix itself, and where nobody has marked the archive."""
    return find(walg)[1] or {}


def refuse_other_cluster(walg: Walg, system_identifier: str) -> None:
    """Raise WalgError if the archive's marker names another cluster. For those who know no timeline: the server may be down."""
    found = read(walg)
    if found is not None:
        _owner.refuse_other_cluster(found, system_identifier, walg.storage)


def refuse_foreign_wal(walg: Walg, facts: ServerFacts, state_dir: str) -> None:
    """Raise WalgError if an archive with neither marker nor base backup holds WAL of another cluster: a header says whose."""
    timelines = walg.wal(facts.segment_size).timelines
    if not timelines:
        refuse_lost(walg, OwnerPlan(None, None, None), facts, state_dir)
        return
    name = timelines[max(timelines)].end
    path = os.path.join(state_dir, f"owner-{name}")
    call_as(walg.user, _remove, path)
    try:
        fetched = walg.fetch_segment(name, path, facts.segment_size)
        identifier = call_as(walg.user, _wal_content.segment_identifier, path)
    finally:
        call_as(walg.user, _remove, path)
    if identifier != facts.system_identifier:
        said = f"of system identifier {identifier}" if identifier else f"that can't be fetched ({fetched.last_line()})"
        raise WalgError(
            f"The storage {walg.storage} holds WAL {said}, the segment {name}, but no base backup, and nothing says whose archive it "
            f"is; this cluster is {facts.system_identifier}. Give this cluster a prefix of its own in walg_storage, or empty that one.",
            found=identifier,
            wanted=facts.system_identifier,
        )


def plan(walg: Walg, facts: ServerFacts, take_over: str = "") -> OwnerPlan:
    """Decide what the marker has to say. Raises WalgError if the archive is not this server's to write to.

    A standby is no writer: it passes by the identifier, and enters itself as a successor of its primary, whose marker it is.
    """
    found, place = find(walg)
    if facts.in_recovery:
        if found is not None:
            _owner.refuse_other_cluster(found, facts.system_identifier, walg.storage)
            after = _owner.with_successor(found, writer_on(facts.data_directory), _times.now())
            return OwnerPlan(found, after, place)
        return OwnerPlan(None, None, place)
    writer = writer_on(facts.data_directory)
    if found is not None:
        _owner.refuse_foreign(found, facts.system_identifier, writer, facts.timeline, walg.storage, take_over)
    after = _owner.taken_over_by(found, facts.system_identifier, writer, facts.timeline, _times.now())
    return OwnerPlan(found, after, place)


def apply(walg: Walg, made: OwnerPlan, state_dir: str) -> None:
    """Write the marker, where it stood or beside the prefix, else inside, and read it back. ``state_dir``: the owner's."""
    if made.after is None:
        return
    text = _owner.render(made.after)
    source = os.path.join(state_dir, _owner.OBJECT)
    call_as(walg.user, write_atomic, source, text, 0o600)
    try:
        place = _put(walg, source, made.place)
    finally:
        call_as(walg.user, _remove, source)
    if walg.cat(_owner.OBJECT, place) != text:
        raise WalgError(
            f"The marker {_owner.OBJECT} was written to the storage {walg.storage}, but reads differently: does another host write "
            "it at the same time? Run again."
        )
    path = marker_path(walg, place)
    call_as(walg.user, _owner_seen.note, state_dir, path, walg.storage, made.after.system_identifier)


def record_rollback(walg: Walg, facts: ServerFacts, left: int, state_dir: str) -> None:
    """Have an existing marker say that this writer is back on its timeline, and that ``left`` is none to follow."""
    found, place = find(walg)
    if found is None:
        return
    writer = writer_on(facts.data_directory)
    _owner.refuse_foreign(found, facts.system_identifier, writer, facts.timeline, walg.storage)
    known = replace(found, highest_timeline=max(found.highest_timeline, left))
    after = _owner.taken_over_by(known, facts.system_identifier, writer, facts.timeline, _times.now())
    if after is None and known != found:
        after = replace(known, written=_times.now())
    apply(walg, OwnerPlan(found, after, place), state_dir)


def succeed(walg: Walg, data_dir: str, state_dir: str) -> None:
    """Enter the cluster that is restored to ``data_dir`` as a successor: a human named the writer that it replaces.

    A key that may only read can't; then this cluster's WAL waits until the role runs with one that can.
    """
    found, place = find(walg)
    walg = walg.hurried()
    after = _owner.with_successor(found, writer_on(data_dir), _times.now()) if found is not None else None
    try:
        apply(walg, OwnerPlan(found, after, place), state_dir)
    except WalgError as exc:
        if not _owner.denied(exc):
            raise


def invalidate_note(instance: Instance) -> None:
    """Have the push wrapper ask again; run as the owner. For a writer who learns that the archive is no longer his."""
    _remove(instance.files.push_owner)


def _put(walg: Walg, source: str, place: StoragePrefix | None) -> StoragePrefix:
    if place is not None:
        walg.put(source, _owner.OBJECT, place)
        return place
    beside = _beside(walg)
    if beside is not None and _writable(walg, beside):
        try:
            walg.put(source, _owner.OBJECT, beside)
            return beside
        except WalgError as exc:
            if not _owner.denied(exc):
                raise
    walg.put(source, _owner.OBJECT)
    return {}


def _beside(walg: Walg) -> StoragePrefix | None:
    """By the settings that WAL-G itself reads: somebody may have edited them."""
    try:
        settings = json.loads(read_text(walg.config) or "")
    except ValueError as exc:
        raise WalgError(f"{walg.config} is not the JSON of WAL-G's settings ({exc}): run the role again.") from None
    return _owner.place_beside(settings)


def marker_path(walg: Walg, place: StoragePrefix) -> str:
    """Return the marker's path in a file storage, "" for others."""
    prefix, beside = _directories(place or _beside(walg) or {"": ""})
    return os.path.join(beside if place else prefix, _owner.OBJECT) if prefix else ""


def refuse_lost(walg: Walg, made: OwnerPlan, facts: ServerFacts, state_dir: str) -> None:
    """Raise WalgError if the storage has no marker though this host saw one: for those who write none."""
    if made.before is None and call_as(walg.user, _owner_seen.seen, state_dir, walg.storage, facts.system_identifier):
        raise RefusedError(
            f"The storage {walg.storage} has lost the marker {_owner.OBJECT}, which said whose archive it is: was it emptied, or is this "
            f"another place? Nothing is written to it. If WAL of this cluster is in it, mapswipe.walg.site writes the marker again. "
            f"{_owner_seen.way_on(state_dir)}"
        )


def _directories(place: StoragePrefix) -> tuple[str, str]:
    """Return prefix and sibling of a file storage; empty for others, where directories need not be made."""
    name, beside = next(iter(place.items()))
    if name not in _FILE_PREFIXES:
        return "", ""
    beside = beside[len("file://localhost") :] if beside.startswith("file://localhost/") else beside
    return beside[: -len(".owner")], beside


def _readable(walg: Walg, place: StoragePrefix) -> bool:
    prefix, beside = _directories(place)
    return not beside or bool(
        call_as(walg.user, _same_storage, prefix, beside) and call_as(walg.user, os.path.isdir, beside)
    )


def _writable(walg: Walg, place: StoragePrefix) -> bool:
    prefix, beside = _directories(place)
    if not beside:
        return True
    if not call_as(walg.user, _same_storage, prefix, beside):
        return False
    if call_as(walg.user, os.path.isdir, beside) or call_as(walg.user, _make, beside, None):
        return True
    # The owner has no right in that directory, so nobody could have planted a link there for us.
    return os.geteuid() == 0 and _make(beside, walg.user)


def _same_storage(prefix: str, beside: str) -> bool:
    """Say whether what stands beside a directory is on the same file system: a share's sibling is on the local disk."""
    try:
        return os.stat(prefix).st_dev == os.stat(os.path.dirname(beside)).st_dev
    except OSError:
        return False


def _make(path: str, user: User | None) -> bool:
    try:
        os.mkdir(path, 0o700)
        if user is not None:
            os.chown(path, user.uid, user.gid, follow_symlinks=False)
    except OSError:
        return False
    return True


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
