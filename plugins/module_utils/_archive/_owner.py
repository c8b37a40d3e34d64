# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules: whose archive is it. A marker in the storage names the cluster and the writer that it belongs to.

The writer is a machine and a data directory on it: all copies of a cluster have one system identifier, so that alone
would let a staging copy write into production's archive. Who may write:

- the writer that the marker names, on whatever timeline (a rollback to the old directory goes down);
- a successor whose timeline is above all that the marker's writers were on: a failover, or a restore on the same host. A
  successor is a standby on which the role ran (it enters itself in the marker), a writer before this one that it followed, or
  another directory on the writer's own host. A restore elsewhere has a higher timeline too, and must not capture the archive;
- another one that was told to take over from the writer in the marker, by that writer's name.

Where it lies was measured (WAL-G 1.1.3, 2.0.1, 3.0.7 and 3.0.8): of all forms of `wal-g delete` only `everything` removes an object
that WAL-G does not know, and that one removes all below the prefix. So the marker stands beside the prefix: the archive
gs://bucket/path has gs://bucket/path.owner/mapswipe_walg_owner.json. Inside the prefix it stands where there is no
beside: at a bucket's root, with credentials that end at the prefix, and where a file prefix is a mount point (its sibling
would be on another file system) or is in a directory in which nobody of us may write. There `delete everything` takes
it along. A host that may see only the prefix does not see a marker beside it.

The host is the same if machine-id and name are: images are cloned with their machine-id, and containers have none. Markers of
earlier versions have neither machine nor successors; versions that know no successors read today's marker, and go by the timeline.

Limits: containers that have no machine-id, or clones that share one, are told apart as writers by the data directory only.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._postgres import _wal
from .._storage import _url
from .._walg import _foreign_json

if TYPE_CHECKING:
    from collections.abc import Mapping

OBJECT = "mapswipe_walg_owner.json"
_SIBLING = ".owner"
_FORMAT = 1
_BUCKET_ROOT = re.compile(r"[a-z0-9]+://[^/]*/*")
_IDENTIFIER = re.compile(r"[1-9][0-9]{0,19}")
#: What storages answer to somebody without the right (S3, Google, Azure, OSS, SFTP and file systems).
_DENIED = re.compile(
    r"\b403\b|forbidden|access ?denied|permission|not authori[sz]ed|AuthorizationFailure|does not have .* access", re.I
)


class ForeignError(WalgError):
    """The archive is somebody else's."""


@dataclass(frozen=True)
class Writer:
    """Who writes: a machine (its machine-id, '' where there is none) and a real path on it. The host's name is for people."""

    host: str
    machine: str
    data_dir: str

    @property
    def name(self) -> str:
        """A name that survives a change of the host's; no machine-id leaves the machine (machine-id(5))."""
        return "w" + _hidden(f"{self.machine}\n{self.data_dir}")

    @property
    def machine_name(self) -> str:
        """A name of the machine alone, "" where it has none."""
        return "m" + _hidden(self.machine) if self.machine else ""


def _hidden(text: str) -> str:
    return hmac.new(b"mapswipe.walg owner", text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:16]


@dataclass(frozen=True)
class Successor:
    """A writer that may go on where the owner's ends, on a higher timeline."""

    writer: str
    host: str
    data_dir: str


@dataclass(frozen=True)
class Owner:
    """The marker. ``timeline``: the writer's, where production continues; ``highest_timeline``: of all writers so far."""

    system_identifier: str
    writer: str
    host: str
    data_dir: str
    timeline: int
    highest_timeline: int
    written: str
    machine: str = ""  # the writer's, "" where it has none or an earlier version wrote this
    successors: tuple[Successor, ...] = ()

    def who(self) -> str:
        """The writer, for messages."""
        return f"{self.data_dir} on {self.host} (writer {self.writer}, timeline {self.timeline})"


def place_beside(settings: Mapping[str, object]) -> dict[str, str] | None:
    """Return the setting that leads WAL-G beside the prefix, or None at a bucket's root. Raises WalgError without a prefix."""
    _url.kind(settings)
    name, value = next(iter(_url.prefixes_of(settings).items()))
    prefix = value.rstrip("/")
    if not prefix or _BUCKET_ROOT.fullmatch(value):
        return None
    return {name: prefix + _SIBLING}


def denied(exc: WalgError) -> bool:
    """Say whether a storage's answer means that we lack the right, and not that it can't be reached."""
    text = f"{exc.fields.get('stderr', '')}\n{exc.fields.get('stdout', '')}"
    return not exc.fields.get("timed_out") and _DENIED.search(text) is not None


def render(owner: Owner) -> str:
    """Return the marker's text."""
    return render_of(asdict(owner))


def render_of(told: Mapping[str, Any]) -> str:
    """Return the text of a marker that was told as a dictionary."""
    return json.dumps({"format": _FORMAT, **told}, indent=2, sort_keys=True) + "\n"


def parse(text: str, where: str) -> Owner:
    """Read a marker. Raises WalgError for what can't be read, which is never taken for "nobody's"."""
    problem = "it is not a JSON object"
    try:
        values = _foreign_json.parse(text)
        if isinstance(values, dict):
            if values.get("format") != _FORMAT:
                problem = f"its format is {values.get('format')!r}, this version knows {_FORMAT}"
            else:
                return _checked(values)
    except (ValueError, KeyError, TypeError) as exc:
        problem = f"{type(exc).__name__}: {exc}"
    raise WalgError(
        f"The marker {OBJECT} of the storage {where}, which says whose archive it is, can't be read: {problem}. Nothing is written "
        "to an archive whose owner is not known. Look at it; if you are sure that the archive is this cluster's, remove that "
        "object and run the role mapswipe.walg.walg_backup.",
        stdout=text[:2000],
    )


def _checked(values: Mapping[str, Any]) -> Owner:
    texts = {name: values[name] for name in ("system_identifier", "writer", "host", "data_dir", "written")}
    numbers = {name: values[name] for name in ("timeline", "highest_timeline")}
    wrong = [name for name, value in texts.items() if not isinstance(value, str)]
    wrong += [
        name
        for name, value in numbers.items()
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _wal.LAST_TIMELINE
    ]
    if wrong or not _IDENTIFIER.fullmatch(texts["system_identifier"]) or not texts["writer"]:
        raise ValueError(f"a wrong value of {', '.join(wrong) or 'system_identifier or writer'}")
    machine, listed = values.get("machine", ""), values.get("successors", [])
    if not isinstance(machine, str) or not isinstance(listed, list):
        raise ValueError("a wrong value of machine or successors")
    found = Owner(**texts, **numbers, machine=machine, successors=tuple(_successor(one) for one in listed))
    shown = [
        *texts.values(),
        machine,
        *(text for one in found.successors for text in (one.writer, one.host, one.data_dir)),
    ]
    if not all(text.isprintable() for text in shown):  # messages quote them
        raise ValueError("a text with a line break or another control character")
    return found


def _successor(entry: object) -> Successor:
    if not isinstance(entry, dict):
        raise ValueError("a successor that is no object")
    return Successor(str(entry["writer"]), str(entry["host"]), str(entry["data_dir"]))


def refuse_other_cluster(found: Owner, system_identifier: str, where: str) -> None:
    """Raise WalgError if the archive is another cluster's, by the marker: also when it holds no base backup yet."""
    if found.system_identifier != system_identifier:
        raise ForeignError(
            f"The storage {where} is the archive of another cluster: its marker names system identifier {found.system_identifier}, "
            f"{found.who()}; this cluster is {system_identifier}. Give this cluster a prefix of its own in walg_storage.",
            found=found.system_identifier,
            wanted=system_identifier,
        )


def follows(found: Owner, writer: Writer) -> bool:
    """Say whether a writer is one that may go on where the owner's ends: entered in the marker, or on the same host."""
    if any(one.writer == writer.name for one in found.successors):
        return True
    return found.host == writer.host and found.machine in ("", writer.machine_name)


def refuse_foreign(
    found: Owner, system_identifier: str, writer: Writer, timeline: int, where: str, take_over: str = ""
) -> None:
    """Raise WalgError unless this writer, on this timeline, may write to the archive. ``take_over``: the writer to replace."""
    refuse_other_cluster(found, system_identifier, where)
    above = timeline > found.highest_timeline
    if found.writer in (writer.name, take_over) or (above and follows(found, writer)):
        return
    if above:
        why = (
            "and is on a higher timeline, but it is not a successor of that writer: the role mapswipe.walg.walg_backup never ran on it "
            "while it was its standby. It may be a test restore, and archiving from it would corrupt the production archive"
        )
    else:
        why = (
            f"but its timeline ({timeline}) is not newer than the archive's ({found.highest_timeline}). It is a copy of that cluster "
            "or an old primary, and archiving from it would corrupt the production archive"
        )
    raise ForeignError(
        f"The storage {where} is the archive of {found.who()}. {writer.data_dir} on {writer.host} (writer {writer.name}) has the same "
        f"system identifier {system_identifier} {why}. Give it a prefix of its own in "
        "walg_storage. Only if that writer is gone for good, and this one continues in its place, add this line:\n"
        f'  walg_backup_take_over: "{found.writer}"',
        found=found.writer,
        wanted=writer.name,
    )


def refuse_capture(found: Owner, writer: Writer, where: str, take_over: str = "") -> None:
    """Raise WalgError for a restore whose cluster could go on as the archive's writer, and is not meant to by anybody."""
    if found.writer in (writer.name, take_over) or follows(found, writer):
        return
    raise ForeignError(
        f"The storage {where} is the archive of {found.who()}. Restored as {writer.data_dir} on {writer.host} (writer {writer.name}), "
        "which is not registered as its successor, the cluster would continue to archive there and shut production out. For a copy "
        "or a test, make it archive nothing:\n"
        "  walg_restore_archive: none\n"
        "Only if that writer is gone for good, and this one continues in its place, add this line:\n"
        f'  walg_backup_take_over: "{found.writer}"',
        found=found.writer,
        wanted=writer.name,
    )


def with_successor(found: Owner, writer: Writer, written: str) -> Owner | None:
    """Return the marker with one more successor, or None if it needs none."""
    if found.writer == writer.name or any(one.writer == writer.name for one in found.successors):
        return None
    entry = Successor(writer.name, writer.host, writer.data_dir)
    return replace(found, successors=(*found.successors, entry), written=written)


def taken_over_by(
    found: Owner | None, system_identifier: str, writer: Writer, timeline: int, written: str
) -> Owner | None:
    """Return the marker as it must be when this writer may write, or None if it says so already.

    The writer before it stays a successor, for the way back, if this one followed it; one that was replaced by name is gone.
    """
    highest = max(timeline, found.highest_timeline) if found else timeline
    left: list[Successor] = []
    if found is not None:
        left = [one for one in found.successors if one.writer != writer.name]
        if found.writer != writer.name and follows(found, writer):
            left = [
                *(one for one in left if one.writer != found.writer),
                Successor(found.writer, found.host, found.data_dir),
            ]
    wanted = Owner(
        system_identifier,
        writer.name,
        writer.host,
        writer.data_dir,
        timeline,
        highest,
        written,
        writer.machine_name,
        tuple(left),
    )
    return None if found is not None and replace(found, written=written) == wanted else wanted
