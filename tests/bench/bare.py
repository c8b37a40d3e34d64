# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL-G alone, all of its settings in its environment, on a cluster and a storage of the benchmark's own."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import clusters
from support.sandbox import Cluster, Sandbox

SEGMENTS = 40
_WAL = "INSERT INTO waiting SELECT g, md5(g::text) || repeat('w' || (g % 97), 20) FROM generate_series(1, 60000) g"
_READY = "database system is ready to accept connections"


class BareWalg:
    """``settings`` say where the storage is; what runs may be given more of them as ``values``."""

    def __init__(self, sandbox: Sandbox, kind: str, settings: Mapping[str, str]) -> None:
        self.sandbox, self.kind, self.sent = sandbox, kind, 0
        self.kept = sandbox._own("kept")  # WAL that base backups want, until it is sent
        self.cluster = sandbox.cluster(
            "main", archive_mode="on", archive_command=f"cp %p {self.kept}/%f", max_wal_size="8GB"
        )
        where = {"PGHOST": str(self.cluster.socket_dir), "PGPORT": str(self.cluster.port), "PGUSER": "postgres"}
        self.settings = {**settings, **where, "PGDATABASE": "postgres", "PGDATA": str(self.cluster.data_dir)}

    def run(self, arguments: list[str], values: Mapping[str, str]) -> clusters.Spent:
        """Return what one WAL-G took."""
        env = {"HOME": str(self.sandbox.pg_dir), **self.settings, **values}
        return clusters.as_owner(self.sandbox, [str(self.sandbox.walg), *arguments], env, self.cluster.data_dir)

    def push(self, values: Mapping[str, str]) -> float:
        self.cluster.sql("CHECKPOINT")
        os.sync()
        return self.run(["backup-push", str(self.cluster.data_dir)], values).seconds

    def fetch(self, values: Mapping[str, str]) -> float:
        target = self.sandbox.pg_dir / "fetched"
        os.sync()
        seconds = self.run(["backup-fetch", str(target), "LATEST"], values).seconds
        shutil.rmtree(target)
        return seconds

    def waiting(self) -> list[str]:
        """Have WAL waiting for the archiver, on a new base backup; return the segments' names."""
        self.cluster.sql("DROP TABLE bench")
        self.cluster.sql("CREATE TABLE waiting (id int, words text)")
        self.push({})
        self.cluster.sql("ALTER SYSTEM SET archive_command = 'false'")
        self.cluster.sql("SELECT pg_reload_conf()")
        status = self.cluster.data_dir / "pg_wal" / "archive_status"
        while True:
            self.cluster.sql(f"{_WAL}; SELECT pg_switch_wal()")
            found = sorted(path.stem for path in status.glob("*.ready") if len(path.stem) == 24)
            if len(found) >= SEGMENTS:
                self.cluster.stop()
                return found

    def send(self, names: list[str], values: Mapping[str, str]) -> tuple[float, float]:
        """Send all of them, one after another as the archiver would, to a place of their own."""
        prefix = next(name for name in self.settings if name.endswith("_PREFIX"))
        self.sent += 1
        place = self.settings[prefix] + f"-{self.sent}"
        if self.kind == "file":
            place = str(self.sandbox._own(f"storage/{self.sent}"))
        os.sync()
        runs = [self.run(["wal-push", f"pg_wal/{name}"], {**values, prefix: place}) for name in names]
        # What WAL-G notes of segments that it sent ahead would spare it the work of the next round.
        shutil.rmtree(self.cluster.data_dir / "pg_wal" / "walg_data", ignore_errors=True)
        return sum(one.seconds for one in runs), max(one.mib for one in runs)

    def archive(self, names: list[str]) -> None:
        """Send what base backups and recoveries want."""
        for path in [*sorted(self.kept.iterdir()), *(Path("pg_wal") / name for name in names)]:
            self.run(["wal-push", str(path)], {})

    def recover(self, values: Mapping[str, str]) -> float:
        """Restore the last base backup and return how long its recovery takes, from the server's start to its readiness."""
        target = self.sandbox.pg_dir / "recovered"
        self.run(["backup-fetch", str(target), "LATEST"], {})
        command = self.sandbox.pg_dir / "fetch.sh"
        lines = [f"export {name}='{value}'" for name, value in {**self.settings, **values}.items()]
        command.write_text(
            "\n".join(["#!/bin/sh", *lines, f'exec {self.sandbox.walg} wal-fetch "$1" "$2" 2>/dev/null', ""])
        )
        command.chmod(0o755)
        restore = f"restore_command = '{command} %f %p'\n"
        old = self.sandbox.major() < 12
        signal = target / ("recovery.conf" if old else "recovery.signal")
        signal.write_text(restore if old else "")
        shutil.chown(signal, self.sandbox.user)
        with open(target / "postgresql.auto.conf", "a", encoding="utf-8") as stream:
            stream.write("archive_mode = off\n" + ("" if old else restore))
        again = Cluster(
            self.sandbox, "recovered", target, self.cluster.socket_dir, self.cluster.port, self.cluster.bin_dir
        )
        os.sync()
        began = time.monotonic()
        again.start()
        while _READY not in again.log.read_text():
            time.sleep(0.01)
        seconds = time.monotonic() - began
        again.stop("immediate")
        again.log.unlink()
        shutil.rmtree(target)
        return seconds
