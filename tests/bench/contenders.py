# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup tools side by side, each on a cluster of its own: back it up, commit a little more, lose it, have it back."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import clusters
from part_own_time import Run
from support.sandbox import Cluster

#: Seconds of a backup, MiB of it, seconds until a restore's files lie there, and until its server has recovered.
MEASURES = ("backup", "stored", "files", "recovered")
_LOOK = "SELECT count(*), sum(id), sum(hashtext(digest)), sum(hashtext(words)) FROM bench"
_MORE = """
INSERT INTO bench
  SELECT -g - 1000 * {turn}, now(), g, md5(g::text), 'after the backup' FROM generate_series(1, 1000) g
"""


class Contender:
    """One tool, with its samples of each measure. A restore that brings other rows is an AssertionError."""

    def __init__(self, label: str, cluster: Cluster) -> None:
        self.label, self.cluster, self.sandbox = label, cluster, cluster.sandbox
        self.samples: dict[str, list[float]] = {name: [] for name in MEASURES}
        self.options: list[str] = []  # for the server, when it starts

    def prepare(self) -> None:
        """Start the cluster and have its WAL archived."""
        raise NotImplementedError

    def back_up(self) -> tuple[float, Path]:
        """Return how long it took until the base backup and its WAL are stored, and where it is."""
        raise NotImplementedError

    def fetch(self) -> float:
        """Lay out the data directory; return how long it took."""
        raise NotImplementedError

    def store_wal(self) -> None:
        """What the tool does now and then with WAL that came in."""

    def restore(self, turn: int) -> tuple[float, float]:
        """Return how long it took until the files lay there, and until the server had recovered."""
        began = time.monotonic()
        files = self.fetch()
        self.start()
        return files, time.monotonic() - began

    def round(self, turn: int) -> None:
        """Take one sample of each measure."""
        os.sync()  # nobody writes what the one before left in memory
        took, place = self.back_up()
        stored = sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) / 1024 / 1024
        self.cluster.sql(_MORE.format(turn=turn))
        rows = self.cluster.sql(_LOOK)
        self.cluster.ship()
        self.cluster.stop()
        self.store_wal()
        self.cluster.lose()
        os.sync()
        files, recovered = self.restore(turn)
        found = self.cluster.sql(_LOOK)
        assert found == rows, f"other rows were restored: {found}, not {rows}"
        for name, value in zip(MEASURES, (took, stored, files, recovered), strict=True):
            self.samples[name].append(value)

    def start(self) -> None:
        """Start the server and wait until it has recovered."""
        self.cluster.start(*self.options)
        while self.cluster.sql("SELECT pg_is_in_recovery()") == "t":
            time.sleep(0.02)

    def do(self, *argv: str | Path) -> float:
        """Run a program as the cluster's owner; return how long it took."""
        return clusters.seconds(self.sandbox, [str(one) for one in argv], {}, self.sandbox.pg_dir)

    def configuration(self, sections: Mapping[str, Mapping[str, object]]) -> Path:
        """Write the tool's settings."""
        lines = []
        for section, options in sections.items():
            lines += [f"[{section}]", *(f"{name} = {value}" for name, value in options.items())]
        path = self.sandbox.root / f"{self.cluster.name}.conf"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path


class Ours(Contender):
    """WAL-G by walg_backup and walg_restore, with what walg_config chooses. The files lie there when its backup-fetch ends."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__("WAL-G", cluster)
        self.pushes: list[float] = []

    def prepare(self) -> None:
        self.start()
        self.sandbox.configure(self.cluster)
        clusters.module(self.sandbox, "walg_archive")

    def back_up(self) -> tuple[float, Path]:
        run = Run(self.sandbox, "walg_backup", {"max_age": 0, "full": True})
        self.pushes.append(run.walg("backup-push"))
        name = run.answer["backup"]["name"]
        return run.seconds, self.sandbox.storage_dir / self.cluster.name / "basebackups_005" / name

    def restore(self, turn: int) -> tuple[float, float]:
        run = Run(self.sandbox, "walg_restore", {"request": f"bench-{turn}"})
        return run.walg("backup-fetch"), run.seconds
