# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/containers.md, followed to the letter on the machine whose Docker has a run's hosts: its commands, inventory and cron line.

The scenario `container` calls it with its environment: the storage is there, and the image of its hosts.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import yaml
from support.pages import CHECKOUT, Page

DATA = "/var/lib/postgresql/data"


class Machine:
    """The machine with Docker, and somebody with the page."""

    def __init__(self) -> None:
        run, files = os.environ["WALG_RUN"], Path(os.environ["WALG_FILES"])
        folder = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
        self.page = Page(CHECKOUT / "docs" / "containers.md")
        self.name, self.storage = f"maps-db-{run}", f"gcs-{run}"
        scenario = CHECKOUT / "molecule" / "container" / "files"
        mounts = {
            str(scenario / "docker-entrypoint"): "/usr/local/bin/docker-entrypoint",
            os.environ["WALG_BINARY_BUILT"]: "/opt/wal-g/wal-g",
            str(files / "ca.crt"): "/etc/ssl/certs/ca-certificates.crt",
        }
        options = [f"--network=net-{run}", "--stop-signal=SIGINT", "--entrypoint=/usr/local/bin/docker-entrypoint"]
        options += [f"--volume={source}:{target}:ro" for source, target in mounts.items()]
        self.values = {
            "NAME": self.name,
            "IMAGE": os.environ["WALG_IMAGE"],
            "DATA": f"maps-data-{run}",
            "FILES": f"maps-walg-{run}",
            "OPTIONS": shlex.join(options),
            "INVENTORY": str(folder / "maps.yml"),
        }
        shutil.copy(files / "serviceAccountKey.json", folder)
        # What molecule sets for its own plays is not asked.
        Path(self.values["INVENTORY"]).write_text(self.inventory(), encoding="utf-8")
        (folder / "maps.cfg").write_text("[connection]\npipelining = true\n", encoding="ascii")
        self.environment = {**os.environ, "ANSIBLE_CONFIG": str(folder / "maps.cfg")}

    def inventory(self) -> str:
        """Return the page's inventory with the name here, the storage here, and the WAL-G under test in place of a release."""
        (shown,) = re.findall(r"^```yaml\n(.*?)^```$", self.page.text, re.S | re.M)
        data = yaml.safe_load(shown)
        (host,) = data["walg"]["hosts"]
        data["walg"]["hosts"] = {host.replace("maps-db", self.name): None}
        given = data["walg"]["vars"]
        given["walg_storage"] = given["walg_storage"].replace("example-backups", "x4m-test-bucket")
        given["walg_version"] = os.environ["WALG_VERSION"]
        given["walg_binary_src"] = "/opt/wal-g/wal-g"
        given["walg_binary_checksum"] = f"sha256:{os.environ['WALG_SHA256']}"
        return yaml.safe_dump(data)

    def run(self, argv: list[str]) -> str:
        """Run something, which has to succeed; return what it said."""
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, check=False)
        print(f"$ {shlex.join(argv)}\n{done.stdout}{done.stderr}", flush=True)
        assert done.returncode == 0, argv
        return done.stdout

    def clear(self) -> None:
        """Remove what the page makes: the container and its volumes, also of an earlier run that failed."""
        self.run(["docker", "rm", "-f", self.name])
        self.run(["docker", "volume", "rm", "-f", self.values["DATA"], self.values["FILES"]])

    def follow(self, words: str) -> str:
        """Run a block of the page."""
        start = time.monotonic()
        said = self.run(["bash", "-euo", "pipefail", "-c", self.page.script(words, self.values)])
        print(f"{time.monotonic() - start:.1f} s", flush=True)
        return said

    def sql(self, text: str) -> str:
        """Return the answer of the server, which may still be starting."""
        argv = ["docker", "exec", "-u", "postgres", self.name, "psql", "-XAtq", "-c", text]
        for _turn in range(600):
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return done.stdout.strip()
            time.sleep(0.1)
        raise AssertionError(f"{text}: {done.stderr}")

    def ship(self) -> None:
        """Close the segment; it has to reach the storage."""
        segment = self.sql("SELECT pg_walfile_name(pg_logical_emit_message(false, 'test', 'ship'))")
        self.sql("SELECT pg_switch_wal()")
        for _turn in range(600):
            if any(segment in name for name in self.stored()):
                return
            time.sleep(0.1)
        raise AssertionError(f"{segment} is not in the storage")

    def stored(self) -> list[str]:
        """Return the names of the archive's objects."""
        argv = ["docker", "exec", self.storage, "find", "/srv/objects/x4m-test-bucket/maps", "-type", "f"]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()

    def base_backups(self) -> int:
        return sum("stop_sentinel" in name for name in self.stored())

    def rows(self) -> str:
        return self.sql("TABLE ledger")

    def cron(self) -> None:
        """Run the page's cron line, as the user it names."""
        (line,) = re.findall(r"^```\n(.* root .*)\n```$", self.page.text, re.M)
        command = line.split(maxsplit=6)[6].replace("maps-db", self.name)
        self.run(["sh", "-c", command])


def archive(machine: Machine) -> None:
    """The server runs, and is archived and backed up: by the play, then by the line of cron."""
    machine.follow("The server")
    assert machine.sql("SHOW archive_mode") == "on"
    machine.follow("Archive and back up")
    assert machine.base_backups() == 1
    machine.cron()
    assert machine.base_backups() == 2


def restore(machine: Machine) -> None:
    """Files of the cluster are lost: every row is back, what was left of the old files is kept, and the new timeline is archived."""
    machine.sql("CREATE TABLE ledger AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 900) g")
    machine.ship()
    rows = machine.rows()
    machine.run(["docker", "exec", machine.name, "sh", "-c", f"rm -rf {DATA}/base {DATA}/pg_wal/*"])
    said = machine.follow("Restore")
    assert '"started": false' in said
    assert machine.rows() == rows
    assert machine.sql("SELECT timeline_id FROM pg_control_checkpoint()") == "2"
    machine.run(["docker", "exec", machine.name, "ls", f"{DATA}/.mapswipe-walg"])
    machine.ship()


def undo(machine: Machine) -> None:
    """What was committed is still shipped, and the server goes on without us."""
    machine.sql("INSERT INTO ledger VALUES (901, 'the last one')")
    rows, segment = machine.rows(), machine.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    machine.follow("postgresql.conf")
    assert any(segment in name for name in machine.stored())
    assert machine.rows() == rows
    assert "off" in machine.follow("SHOW archive_mode").split()
    machine.follow("volume rm")
    machine.run(
        ["docker", "exec", machine.name, "sh", "-c", f"! grep -i walg {DATA}/postgresql.conf && ! [ -e /walg ]"]
    )


def main() -> None:
    machine = Machine()
    machine.clear()
    archive(machine)
    restore(machine)
    undo(machine)
    assert machine.page.left() == []
    # The run's network goes next.
    machine.clear()


if __name__ == "__main__":
    main()
