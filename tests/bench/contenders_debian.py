# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgBackRest and Barman as contenders: their settings and commands. ``folder`` is where toolchain/others.py has put the tool."""

from __future__ import annotations

from pathlib import Path

from contenders import Contender
from support.sandbox import Cluster


class PgBackRest(Contender):
    """With as many processes as told; its archive_command and restore_command are its own."""

    def __init__(self, label: str, cluster: Cluster, folder: Path, processes: int) -> None:
        super().__init__(label, cluster)
        self.repository = self.sandbox._own(cluster.name)
        options = {
            "repo1-path": self.repository,
            "repo1-retention-full": "99",
            "start-fast": "y",
            "compress-type": "lz4",
            "process-max": processes,
            "lock-path": self.sandbox._own(f"{cluster.name}-lock"),
            "log-level-file": "off",
            "log-level-console": "warn",
        }
        source = {"path": cluster.data_dir, "socket-path": cluster.socket_dir, "port": cluster.port, "user": "postgres"}
        named = {f"pg1-{name}": value for name, value in source.items()}
        program = folder / "bin" / "pgbackrest"
        configuration = self.configuration({"global": options, "main": named})
        self.argv = [str(program), f"--config={configuration}", "--stanza=main", f"--cmd={program}"]
        self.options = ["-c", f"archive_command={program} --config={configuration} --stanza=main archive-push %p"]

    def prepare(self) -> None:
        self.start()
        self.do(*self.argv, "stanza-create")
        self.do(*self.argv, "check")

    def back_up(self) -> tuple[float, Path]:
        took = self.do(*self.argv, "--type=full", "backup")
        return took, (self.repository / "backup" / "main" / "latest").resolve()

    def fetch(self) -> float:
        self.do("mkdir", "-m", "700", self.cluster.data_dir)
        return self.do(*self.argv, "restore")


class Barman(Contender):
    """By pg_basebackup, which compresses, and with PostgreSQL's own way to archive; a restore copies the WAL that it needs."""

    def __init__(self, label: str, cluster: Cluster, folder: Path) -> None:
        super().__init__(label, cluster)
        self.home = self.sandbox._own(cluster.name)
        self.incoming = self.home / "main" / "incoming"
        connection = f"host={cluster.socket_dir} port={cluster.port} user=postgres dbname=postgres"
        options = {
            "barman_home": self.home,
            "barman_user": self.sandbox.user,
            "log_file": self.home / "barman.log",
        }
        server = {
            "description": "bench",
            "conninfo": connection,
            "streaming_conninfo": connection,
            "path_prefix": next(folder.glob("root/usr/lib/postgresql/*/bin")),
            "archiver": "on",
            "backup_method": "postgres",
            "backup_compression": "lz4",
            "backup_compression_format": "tar",
            "backup_compression_location": "client",  # PostgreSQL itself knows lz4 from 15 on
            "immediate_checkpoint": "true",
            "recovery_staging_path": self.sandbox.pg_dir,
        }
        configuration = self.configuration({"barman": options, "main": server})
        self.argv = [str(folder / "bin" / "barman"), "-c", str(configuration)]
        self.options = ["-c", f'archive_command=test ! -e "{self.incoming}/%f" && cp "%p" "{self.incoming}/%f"']

    def prepare(self) -> None:
        self.start()
        self.do("mkdir", "-p", self.incoming)
        self.do(*self.argv, "switch-wal", "--force", "--archive", "main")
        self.do(*self.argv, "check", "main")

    def back_up(self) -> tuple[float, Path]:
        took = self.do(*self.argv, "backup", "--wait", "main")
        return took, max((self.home / "main" / "base").iterdir())

    def store_wal(self) -> None:
        self.do(*self.argv, "archive-wal", "main")

    def fetch(self) -> float:
        return self.do(*self.argv, "recover", "main", "latest", self.cluster.data_dir)
