# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage in memory that answers as WAL-G 3 does, for flows that look at many objects over many days."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result, Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _wal

from .walg_world import IDENTIFIER, World, listed, segment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import BinaryIO

SIZE = 1024 * 1024
_OLD = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def wal(name: str, identifier: str = IDENTIFIER, size: int = SIZE) -> bytes:
    """A segment with one page in use."""
    start = _wal.segment_number(name, size) * size
    head = struct.pack("=HHIQI4xQII", 0xD10D, 2, int(name[:8], 16), start, 0, int(identifier), size, 8192)
    return head.ljust(size, b"\0")


def tar(size: int = 3000) -> bytes:
    """A part of a base backup."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        entry = tarfile.TarInfo("/base/1/1")
        entry.size = size
        made.addfile(entry, io.BytesIO(bytes(size)))
    return out.getvalue()


@dataclass
class Shelf(Runner):
    """``objects``: path -> (size in the storage, content when read); ``read``: what was, in order, besides records; ``broken``: path ->
    WAL-G's errors."""

    world: World | None = None
    objects: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    broken: dict[str, list[str]] = field(default_factory=dict)
    dead: str = ""
    after: Callable[[int], None] | None = None

    @classmethod
    def of(cls, path: Path, segments: int, parts: int = 2) -> Shelf:
        """One base backup in segment 2, and so many segments from 1 on, each of 1 MiB."""
        row = listed(1, 2, "2026-01-01T01:00:00Z")
        row.update(start_lsn=2 * SIZE + 40, finish_lsn=2 * SIZE + 256, compressed_size=5000, uncompressed_size=10000)
        row["user_data"] = {"mapswipe_walg": {"segment_size": SIZE}}
        world = World(path, [row])
        made = cls(world=world, rows=world.backups)
        for number in range(1, segments + 1):
            made.put_segment(number)
        names = [f"part_{number:03}.tar.lz4" for number in range(1, parts + 1)]
        place = f"basebackups_005/{row['backup_name']}"
        for name in [*names, "pg_control.tar.lz4"]:
            made.objects[f"{place}/tar_partitions/{name}"] = (1700, tar())
        files = json.dumps({"Files": {}, "TarFileSets": {name: ["/base/1/1"] for name in names}}, separators=(",", ":"))
        made.objects[f"{place}/files_metadata.json"] = (len(files), files.encode())
        made.objects[f"{place}/metadata.json"] = (2, b"{}")
        made.objects[f"{place}_backup_stop_sentinel.json"] = (2, b"{}")
        return made

    def put_segment(self, number: int, size: int = 1000) -> str:
        """Add a segment."""
        name = segment(1, number)
        self.objects[f"wal_005/{name}.lz4"] = (size, wal(name))
        return f"wal_005/{name}.lz4"

    def run(self, argv: Sequence[str], **_options: Any) -> Result:
        """Answer a question."""
        words = list(argv)[3:]
        if self.dead:
            return Result(list(argv), 1, "", f"ERROR: {self.dead}\n")
        return Result(list(argv), 0, self._told(words))

    def _told(self, words: list[str]) -> str:
        if words[0] == "backup-list":
            return json.dumps(self.rows)
        if words[0] == "wal-show":
            return json.dumps(self._timelines())
        if words[:3] == ["st", "cat", "--help"]:
            return "--decompress --decrypt"
        if words[:2] == ["st", "cat"]:
            return self.objects[words[2]][1].decode()
        assert words[:2] == ["st", "ls"]
        if len(words) == 2:
            folders = sorted({path.partition("/")[0] for path in self.objects})
            return "type size last modified name\n" + "".join(
                f"dir 0 0001-01-01 00:00:00 +0000 UTC {one}/\n" for one in folders
            )
        inside = {
            path.partition("/")[2]: size for path, (size, _data) in self.objects.items() if path.startswith(words[3])
        }
        return "type size last modified name\n" + "".join(
            f"obj {size} 2026-01-01 00:00:00 +0000 UTC {name}\n" for name, size in sorted(inside.items())
        )

    def _timelines(self) -> list[dict[str, Any]]:
        names = sorted(path[8:32] for path in self.objects if path.startswith("wal_005/"))
        if not names:
            return []
        numbers = {_wal.segment_number(name, SIZE) for name in names}
        lacking = [segment(1, one) for one in range(min(numbers), max(numbers)) if one not in numbers]
        row = {"id": 1, "parent_id": 0, "switch_point_lsn": 0, "missing_segments": lacking}
        return [{**row, "start_segment": names[0], "end_segment": names[-1]}]

    def pipe(self, argv: Sequence[str], read: Callable[[BinaryIO], None], **_options: Any) -> Result:
        """Deliver an object."""
        path, raw = argv[-1], "--decompress" not in argv
        if not raw:
            self.read.append(path)
        if self.after:
            self.after(len(self.read))
        size, data = self.objects.get(path, (0, b""))
        errors = self.broken.get(path, [])
        error = self.dead or (
            "object not found" if path not in self.objects else errors.pop(0) if errors and not raw else ""
        )
        read(io.BytesIO(b"" if error else bytes(size) if raw and not path.endswith(".json") else data))
        return Result(list(argv), 1 if error else 0, "", f"ERROR: {error}\n" if error else "")
