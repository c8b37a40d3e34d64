# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Compose project on this machine with a server from an image in the shape of the official one, as a user of that has it.

Everything is named by the world's suffix: the folder below /opt, the project with its containers, volumes and network. All of
it is removed by these names when the world closes.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cron
import yaml
from locations import digest_of
from support.cron import backup_of
from support.gcs_host import BUCKET
from support.restoring import until
from support.sandbox import Play, Sandbox

if TYPE_CHECKING:
    from support.container_gcs import GoogleNetwork

#: What hosts.py hands on: the images by their major versions, as JSON.
IMAGES = "WALG_OFFICIAL"
STORAGE = "/srv/storage"  # in the container
CERTIFICATE = "ca.crt"
_TRUSTED = "/srv/ca.crt"  # the storage's, in the container
_OF_THE_MACHINE = ("walg_config_dir", "walg_program_dir", "walg_cron_dir")
_DATABASE_UID = 999  # of the image's user postgres


@dataclass(frozen=True)
class Image:
    """An image, the major version of its PostgreSQL, its data directory and where its volume is."""

    tag: str
    major: int
    data_dir: str
    mount: str


def images() -> dict[int, Image]:
    """Return the images of this run; none where it has no engine."""
    given = json.loads(os.environ.get(IMAGES) or "[]")
    return {one["major"]: Image(**one) for one in given}


def docker(*arguments: str | Path, check: bool = True, cwd: Path | None = None) -> str:
    """Return what the engine's program says, both streams together. ``check``: it has to succeed."""
    argv = ["docker", *(str(one) for one in arguments)]
    stream = subprocess.PIPE
    done = subprocess.run(argv, stdout=stream, stderr=subprocess.STDOUT, text=True, check=False, cwd=cwd)
    assert done.returncode == 0 or not check, f"{argv}: {done.stdout}"
    return done.stdout.strip()


def inspected(container: str) -> dict[str, Any]:
    """Return what the engine says of a container."""
    found: list[dict[str, Any]] = json.loads(docker("container", "inspect", container))
    return found[0]


def _mountpoint(volume: str) -> Path:
    return Path(json.loads(docker("volume", "inspect", volume))[0]["Mountpoint"])


@dataclass(frozen=True)
class Setup:
    """What the user's compose file says. ``bound``: the data directory lies in a folder of the machine, not on a volume."""

    bound: bool = False
    user: str = ""
    wal_apart: bool = False
    tablespace: bool = False
    arguments: Sequence[str] = ()
    restart: str = "unless-stopped"
    environment: Mapping[str, str] = field(default_factory=dict)
    google: GoogleNetwork | None = None  # where the storage is, if it is not a folder of the machine
    more: Mapping[str, Any] = field(default_factory=dict)  # of the service

    @property
    def owner(self) -> tuple[int, int]:
        """Return the user and group ids that own the cluster."""
        if not self.user:
            return _DATABASE_UID, _DATABASE_UID
        user, _colon, group = self.user.partition(":")
        return int(user), int(group or 0)


class ContainerWorld:
    """One such project, and the sandbox that plays run in. The storage is a folder of the machine that is mounted."""

    service = "db"

    def __init__(self, tools: dict[str, Any], image: Image, setup: Setup | None = None) -> None:
        self.image, self.setup = image, setup or Setup()
        self.suffix = secrets.token_hex(3)
        self.root = Path("/opt") / f"mapswipe-walg-tests-{self.suffix}"
        self.sandbox = Sandbox(tools, base=str(self.root))
        self.walg = Path(tools["walg_static"])
        self.project = self.root / f"maps-{self.suffix}"
        self.password = secrets.token_hex(12)
        for name in (self.project.name, "storage", "data"):
            (self.root / name).mkdir(exist_ok=True)
        for name in ("storage", "data"):
            os.chown(self.root / name, *self.setup.owner)
        self.write()

    @property
    def kit_dir(self) -> Path:
        """Where kits lie, on the machine and in the container."""
        return self.root / "kit"

    def compose_file(self) -> dict[str, Any]:
        """Return what the user's compose file says."""
        setup, image = self.setup, self.image
        data = str(self.root / "data") if setup.bound else "data"
        volumes = [f"{data}:{image.mount}", f"{self.root / 'storage'}:{STORAGE}"]
        environment = {"POSTGRES_PASSWORD": "${POSTGRES_PASSWORD}", **setup.environment}
        named = {} if setup.bound else {"data": None}
        if setup.wal_apart:
            named["wal"] = None
            volumes.append("wal:/var/lib/wal")
            environment["POSTGRES_INITDB_WALDIR"] = "/var/lib/wal/pg_wal"
        if setup.tablespace:
            named["space"] = None
            volumes.append("space:/var/lib/space")
        if setup.google:
            volumes.append(f"{setup.google.files / CERTIFICATE}:{_TRUSTED}:ro")
        service = {
            "image": image.tag,
            "restart": setup.restart,
            "environment": environment,
            "volumes": volumes,
            **({"user": setup.user} if setup.user else {}),
            **({"command": ["postgres", *setup.arguments]} if setup.arguments else {}),
            **setup.more,
        }
        networks = {"default": {"name": setup.google.name, "external": True}} if setup.google else {}
        parts = {"services": {self.service: service}, "volumes": named, "networks": networks}
        return {name: part for name, part in parts.items() if part}

    def write(self, compose_file: Mapping[str, Any] | None = None) -> None:
        """Write the user's files."""
        text = yaml.safe_dump(compose_file or self.compose_file())
        (self.project / "docker-compose.yml").write_text(text, encoding="utf-8")
        self.write_env()

    def write_env(self, *lines: str) -> None:
        """Write the project's .env, with more lines."""
        env = self.project / ".env"
        env.write_text(
            "".join(f"{line}\n" for line in (f"POSTGRES_PASSWORD={self.password}", *lines)), encoding="utf-8"
        )
        env.chmod(0o600)

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Return what Compose says, called as a user calls it: in the project's folder, where it finds its files."""
        return docker("compose", *arguments, check=check, cwd=self.project)

    def up(self) -> None:
        """Have the service run, and its server answer by TCP, which the temporary one of initdb doesn't."""
        self.compose("up", "-d")
        self.wait()
        if self.setup.tablespace:
            self.run_inside("chown", self.setup.user or "postgres", "/var/lib/space", user="root")

    def wait(self, seconds: float = 60) -> None:
        """Wait for the server to take connections and to be out of recovery."""

        def ready() -> bool:
            said = self._psql("-h", "127.0.0.1", "-c", "SELECT pg_is_in_recovery()")
            return said.returncode == 0 and said.stdout.strip() == "f"

        try:
            until(ready, seconds)
        except AssertionError as error:
            raise AssertionError(self.logs()[-4000:]) from error

    @property
    def container(self) -> str:
        """Return the identifier of the service's container, as it is now."""
        return self.compose("ps", "--all", "--quiet", self.service)

    def status(self) -> str:
        return str(inspected(self.container)["State"]["Status"])

    def started(self) -> str:
        """Return what tells one run of the service's container from others."""
        found = inspected(self.container)
        return f"{found['Id']} {found['State']['StartedAt']}"

    def helpers(self) -> list[str]:
        """Return the names of other containers that have the service's mounts."""
        mine = [one["Name"] for one in inspected(self.container)["Mounts"] if one["Type"] == "volume"]
        places = [*mine, str(self.root / "storage"), str(self.root / "data")]
        named = {
            name
            for place in places
            for name in docker(
                "ps", "--all", "--format", "{{.ID}} {{.Names}}", "--filter", f"volume={place}"
            ).splitlines()
        }
        return sorted(line.split()[1] for line in named if not self.container.startswith(line.split()[0]))

    def logs(self) -> str:
        return docker("logs", self.container, check=False)

    def run_inside(self, *argv: str, user: str = "") -> subprocess.CompletedProcess[str]:
        """Run something in the container, as the server's user or another one."""
        command = ["docker", "exec", "--user", user or self.setup.user or "postgres"]
        command += ["--env", "PGPASSWORD", self.container, *argv]
        environment = {**os.environ, "PGPASSWORD": self.password}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def _psql(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        user = self.setup.environment.get("POSTGRES_USER", "postgres")
        return self.run_inside("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-U", user, "-d", "postgres", *arguments)

    def sql(self, text: str) -> str:
        """Return psql's answer."""
        done = self._psql("-c", text)
        assert done.returncode == 0, f"{text}: {done.stderr}"
        return done.stdout.strip()

    def rows(self, table: str) -> list[str]:
        """Return every row of a table as text, in the order of its first column."""
        return self.sql(f"SELECT t::text FROM {table} t ORDER BY 1").splitlines()

    def ship(self) -> str:
        """Have everything that was committed archived; return the segment."""
        segment = self.sql("SELECT pg_walfile_name(pg_logical_emit_message(false, 'test', 'ship'))")
        self.sql("SELECT pg_switch_wal()")
        until(lambda: self.sql("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver") >= segment)
        return segment

    def stored(self) -> list[str]:
        """Return the paths of the archive's objects."""
        if self.setup.google:
            return self.setup.google.stored("maps")
        files = sorted((self.root / "storage").rglob("*"))
        return [str(path.relative_to(self.root / "storage")) for path in files if path.is_file()]

    def base_backups(self) -> int:
        return sum("stop_sentinel" in name for name in self.stored())

    def data_place(self) -> Path:
        """Return where the mount of the data directory lies on the machine."""
        if self.setup.bound:
            return self.root / "data"
        return _mountpoint(f"{self.project.name}_data")

    def lose(self) -> None:
        """The server is killed, and every file in its volumes or its directory of the machine is gone; the container stays as it is."""
        docker("kill", self.container)
        volumes = docker("volume", "ls", "--quiet", "--filter", f"name=^{self.project.name}_").split()
        for place in {self.data_place(), *(_mountpoint(volume) for volume in volumes)}:
            for path in place.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def walg_version(self) -> str:
        """Return what the WAL-G under test calls itself."""
        said = self.sandbox.run([str(self.walg), "--version"]).stdout
        return said.split("\t")[0].split()[-1].removeprefix("v")

    def variables(self, **more: Any) -> dict[str, Any]:
        """Return what an inventory says of this machine and the service."""
        sandbox = self.sandbox
        directories = {name: value for name, value in sandbox.directories().items() if name in _OF_THE_MACHINE}
        return {
            **directories,
            "walg_compose": {"project_dir": str(self.project), "service": self.service},
            "walg_kit_dir": str(self.kit_dir),
            **(
                self._google_variables(self.setup.google)
                if self.setup.google
                else {"walg_storage": f"file://{STORAGE}"}
            ),
            "walg_binary_src": str(self.walg),
            "walg_binary_checksum": f"sha256:{digest_of(self.walg)}",
            "walg_version": self.walg_version(),
            "walg_backup_archive_timeout": 600,  # an idle server ships nothing while a test looks
            **more,
        }

    def _google_variables(self, google: GoogleNetwork) -> dict[str, Any]:
        return {
            "walg_storage": f"gs://{BUCKET}/maps",
            "walg_google_credentials": google.key(),
            "walg_settings": {"SSL_CERT_FILE": _TRUSTED},
        }

    def line(self) -> str:
        """Return the line of the project's .env that combines the user's compose file with the one of the kit."""
        return f"COMPOSE_FILE=docker-compose.yml:{self.kit_dir / 'main.compose.yml'}"

    def play(self, name: str, *arguments: str, **more: Any) -> Play:
        """Run one of the collection's playbooks."""
        return self.sandbox.play(f"mapswipe.walg.{name}", self.variables(**more), *arguments)

    def site(self, *arguments: str, **more: Any) -> Play:
        """Archive and back up, which has to succeed."""
        play = self.play("site", *arguments, **more)
        assert play.rc == 0, f"{play.stdout}\n{self.logs()[-4000:]}"
        return play

    def restore(self, request: str, *arguments: str, **more: Any) -> Play:
        """Run the playbook for restores."""
        return self.play("restore", "-e", "walg_hosts=walg", *arguments, walg_restore_request=request, **more)

    def restored(self, request: str, **more: Any) -> Play:
        """Restore, which has to succeed and to change something; wait for the server."""
        play = self.restore(request, **more)
        assert play.rc == 0, f"{play.stdout}\n{self.logs()[-4000:]}"
        assert play.changed()
        self.wait()
        return play

    def now(self) -> str:
        """Return the server's time, as a target of a restore has it."""
        return self.sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")

    def run_cron_job(self) -> None:
        """Have the job of the machine's cron file take a base backup, by the shell as cron does."""
        (file,) = (self.sandbox.host / "cron").iterdir()
        user, command = backup_of(file.read_text(encoding="utf-8"))
        assert user == "root"
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/root", "SHELL": "/bin/sh", "LOGNAME": user}
        argv = ["sh", "-c", command]
        done = subprocess.run(argv, env=environment, cwd="/", capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done

    @contextlib.contextmanager
    def cron(self) -> Iterator[None]:
        """Debian's cron runs, and sees this machine's cron files alone; mounts of its own keep it from any other."""
        folder = self.sandbox.host / "cron"
        script = """
            mount -t tmpfs none /var/spool && mkdir -p /var/spool/cron/crontabs && mount --bind "$1" /etc/cron.d
            [ ! -e /etc/crontab ] || mount --bind /dev/null /etc/crontab
            exec "$0" -f
        """
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", script, str(cron.ensure()), str(folder)]
        with subprocess.Popen(argv) as process:
            try:
                yield
            finally:
                process.terminate()

    def close(self) -> None:
        """Remove all of it by its names, also what a failed test left of a restore."""
        name = self.project.name
        volumes = docker("volume", "ls", "--quiet", "--filter", f"name=^{name}_").split()
        filters = [f"label=com.docker.compose.project={name}", *(f"volume={one}" for one in [*volumes, str(self.root)])]
        for one in [*filters, *(f"volume={self.root / part}" for part in ("data", "storage", "kit"))]:
            for container in docker("ps", "--all", "--quiet", "--filter", one).split():
                docker("rm", "--force", "--volumes", container, check=False)
        for volume in volumes:
            docker("volume", "rm", "--force", volume, check=False)
        docker("network", "rm", f"{name}_default", check=False)
        self.sandbox.close()
