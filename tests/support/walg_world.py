# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host and a storage for tests of the flows: real directories, and answers as WAL-G and PostgreSQL give them."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _owner, _ownership
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._record import Instance, render
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _wal
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _inventory
from support.scripted import Call

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 16 * 1024 * 1024
IDENTIFIER = "18446744073709551557"
VERSION_LINE = "wal-g version v3.0.8\tx\ty\tPostgreSQL\n"


def segment(timeline: int, number: int) -> str:
    """A segment's name at 16 MiB."""
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


def listed(
    timeline: int, number: int, finish: str, *, identifier: str | None = IDENTIFIER, segments: int = 0, size: int = 1000
) -> dict[str, Any]:
    """A row of WAL-G's detailed list: a backup that begins in segment ``number`` and ends ``segments`` later."""
    return {
        "backup_name": f"base_{segment(timeline, number)}",
        "start_time": "2026-01-01T00:00:00Z",
        "finish_time": finish,
        "hostname": "db1",
        "data_dir": "/data",
        "pg_version": 140023,
        "start_lsn": number * SIZE + 40,
        "finish_lsn": (number + segments) * SIZE + 256,
        "is_permanent": False,
        "system_identifier": int(identifier) if identifier else None,
        "uncompressed_size": size,
        "compressed_size": size // 2,
    }


def shown(
    timeline: int, first: int, last: int, *, parent: int = 0, switch: int = 0, missing: tuple[int, ...] = ()
) -> dict[str, Any]:
    """A row of wal-show."""
    return {
        "id": timeline,
        "parent_id": parent,
        "switch_point_lsn": switch,
        "start_segment": segment(timeline, first),
        "end_segment": segment(timeline, last),
        "missing_segments": [segment(timeline, number) for number in missing],
    }


def inventory(*rows: dict[str, Any]) -> _inventory.Inventory:
    """What the library makes of such rows."""
    return _inventory.inventory(rows, SIZE)


def write_cluster(path: Path, identifier: str = IDENTIFIER, state: int = 1) -> None:
    """Make a data directory that looks like one from outside."""
    (path / "global").mkdir(parents=True)
    (path / "PG_VERSION").write_text("14\n")
    head = struct.pack("=QIIi", int(identifier), 1300, 202107181, state)
    (path / "global" / "pg_control").write_bytes(head.ljust(8192, b"\0"))


@dataclass
class World:
    """Everything below one directory. ``backups`` and ``wal``: what the storage holds."""

    root: Path
    backups: list[dict[str, Any]] = field(default_factory=list)
    wal: list[dict[str, Any]] = field(default_factory=list)
    system_identifier: str = IDENTIFIER
    instance: Instance = field(init=False)

    def __post_init__(self) -> None:
        for name in ("bin", "config", "state", "log", "programs", "pg"):
            (self.root / name).mkdir()
        for program in ("bin/psql", "bin/wal-g", "bin/postgres", "programs/wal-fetch", "programs/wal-push"):
            (self.root / program).write_text("#!/bin/sh\nexit 1\n")
            (self.root / program).chmod(0o755)
        cluster = Cluster(
            str(self.data_dir),
            str(self.root / "bin"),
            str(self.root / "socket"),
            os_user=User.current().name,
            system_identifier=self.system_identifier,
        )
        self.instance = Instance(
            "main",
            config_dir=str(self.root / "config"),
            state_dir=str(self.root / "state"),
            log_dir=str(self.root / "log"),
            program_dir=str(self.root / "programs"),
            binary=str(self.root / "bin" / "wal-g"),
            storage="file:///storage",
            cluster=cluster,
        )
        (self.root / "config" / "main.json").write_text('{"WALG_FILE_PREFIX": "/storage"}')
        (self.root / "config" / "main.env").write_text(render(self.instance))

    @property
    def data_dir(self) -> Path:
        """Where the cluster lies."""
        return self.root / "pg" / "data"

    def walg(self, *arguments: str, **answer: Any) -> Call:
        """A call of WAL-G."""
        return Call([self.instance.binary, "--config", self.instance.settings_file, *arguments], **answer)

    def psql(self, answer: Any, **more: Any) -> Call:
        """A question to the server and its answer, as JSON unless it is text."""
        argv = [str(self.root / "bin" / "psql"), "-XAtqw", "-v", "ON_ERROR_STOP=1", "-f", "-"]
        return Call(argv, stdout=answer if isinstance(answer, str) else json.dumps(answer), **more)

    def lists(self) -> list[Call]:
        """The question for backups; an empty answer is asked about twice."""
        first = self.walg("backup-list", "--detail", "--json", stdout=json.dumps(self.backups))
        return [first] if self.backups else [first, self.walg("backup-list", "--json", stdout="[]")]

    def owner(self, **changes: Any) -> Call:
        """The question whose archive it is; ours, on timeline 1, unless changed."""
        writer = _ownership.writer_on(str(self.data_dir))
        answer: dict[str, Any] = {
            "system_identifier": self.system_identifier,
            "writer": writer.name,
            "host": writer.host,
            "data_dir": writer.data_dir,
            "timeline": 1,
            "highest_timeline": 1,
            "written": "2026-01-01T00:00:00Z",
            "machine": writer.machine_name,
        }
        marker = _owner.render(_owner.Owner(**{**answer, **changes}))
        return self.walg("st", "cat", _owner.OBJECT, stdout=marker)

    def no_owner(self) -> list[Call]:
        """The same of an archive that nobody has marked: what is not there is listed."""
        return [
            self.walg("st", "cat", _owner.OBJECT, rc=1, stderr="ERROR: no such object"),
            self.walg(
                "st", "ls", stdout="type size last modified name\ndir 0 0001-01-01 00:00:00 +0000 UTC wal_005/\n"
            ),
        ]

    def shows(self) -> Call:
        """The question for WAL."""
        return self.walg("wal-show", "--detailed-json", "--without-backups", stdout=json.dumps(self.wal))

    def present(self, **changes: Any) -> Call:
        """The question what the server has written, and how its archiver fares: all is well at the end of segment 5."""
        answer = {
            "mode": "on",
            "command": '/programs/wal-push /config/main.env "%p"',
            "library": "",
            "lsn": _wal.format_lsn(6 * SIZE + 40),
            "failed_wal": "",
            "failed_time": "",
            "fails": False,
            "idle": 1.0,
        }
        return self.psql({**answer, **changes}, stdin="pg_stat_archiver")

    def sentinel(self, name: str, **record: Any) -> Call:
        """The question for the record of one base backup."""
        path = f"basebackups_005/{name}_backup_stop_sentinel.json"
        return self.walg("st", "cat", path, stdout=json.dumps(record))

    def version(self, line: str = VERSION_LINE) -> Call:
        """The question for WAL-G's version."""
        return Call([self.instance.binary, "--version"], stdout=line)

    def facts(self, **changes: Any) -> Call:
        """The question who the server is."""
        answer = {
            "version_num": 140023,
            "system_identifier": self.system_identifier,
            "timeline": 1,
            "in_recovery": False,
            "data_directory": str(self.data_dir),
            "config_file": str(self.data_dir / "postgresql.conf"),
            "segment_size": SIZE,
            "start_time": "2026-01-01 00:00:00+00",
        }
        return self.psql({**answer, **changes}, stdin="pg_control_system()")
