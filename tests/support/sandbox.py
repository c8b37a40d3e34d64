# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real clusters and real plays in a directory of their own, for the demo and the integration tests.

Everything lies below one temporary directory that other users can pass; servers listen on private sockets only; whatever
was started is stopped by its process id when the sandbox closes.
"""

from __future__ import annotations

import json
import os
import pwd
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: By this Ansible marks the result of a module that failed, and whose task (failed_when) leaves that to the next one.
_LEFT = "failed_when_suppressed_exception"
SUPPORT = Path(__file__).resolve().parent
CHECKOUT = SUPPORT.parent.parent


def load_tools() -> dict[str, Any]:
    """Return where the toolchain put everything (tests/toolchain)."""
    script = CHECKOUT / "tests" / "toolchain" / "tools.py"
    shown = subprocess.run([sys.executable, str(script), "paths"], check=True, capture_output=True, text=True)
    tools: dict[str, Any] = json.loads(shown.stdout)
    if tools["missing"]:
        raise SystemExit(f"The tools are not complete ({', '.join(tools['missing'])}): run `make tools` first.")
    return tools


def database_user() -> str:
    """Return an unprivileged user for PostgreSQL: ourselves, or an existing one when we are root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise SystemExit("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody.")


def passable(path: str) -> bool:
    """Say whether every directory on the way to ``path`` lets other users through."""
    real = Path(path).resolve()
    return all(parent.stat().st_mode & 0o001 for parent in [real, *real.parents] if parent.is_dir())


#: What judges every answer of a module that a test gets; it is called with the module's name and the answer.
ANSWER_CHECKS: list[Callable[[str, dict[str, Any]], None]] = []


def judge_answer(module: str, answer: dict[str, Any]) -> None:
    """Have an answer judged."""
    for check in ANSWER_CHECKS:
        check(module, answer)


@dataclass
class Play:
    """How one ansible-playbook run ended."""

    rc: int
    stdout: str
    results: list[dict[str, Any]]
    seconds: float

    def of(self, action: str) -> list[dict[str, Any]]:
        """Return the results of one module (its short name)."""
        return [
            line["result"]
            for line in self.results
            if line["action"].endswith(f".{action}") and line["status"] != "skipped"
        ]

    def changed(self) -> list[str]:
        """Return the tasks that changed something."""
        return [line["task"] for line in self.results if line["status"] == "ok" and line["result"].get("changed")]

    def failure(self) -> str:
        """Return the message of the task that failed."""
        return next((str(line["result"].get("msg")) for line in self.results if line["status"] == "failed"), "")


@dataclass
class Cluster:
    """A PostgreSQL cluster of the tests' own."""

    sandbox: Sandbox
    name: str
    data_dir: Path
    socket_dir: Path
    port: int
    bin_dir: Path

    @property
    def log(self) -> Path:
        return self.sandbox.pg_dir / f"{self.name}.log"

    def create(self, initdb: Sequence[str] = (), **settings: str) -> None:
        """initdb with checksums, a private socket, and the given settings."""
        given = ("-k", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", *initdb)
        self._as_owner("initdb", "-D", str(self.data_dir), *given)
        values = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_dir),
            "port": str(self.port),
            "shared_buffers": "32MB",
            "fsync": "off",
            **settings,
        }
        text = "".join(f"{key} = '{value}'\n" for key, value in values.items())
        with open(self.data_dir / "postgresql.conf", "a", encoding="utf-8") as stream:
            stream.write(text)

    def start(self, *options: str) -> None:
        """Start it by pg_ctl, with options for the server."""
        given = ["-o", shlex.join(options)] if options else []
        self._as_owner("pg_ctl", "-D", str(self.data_dir), "-l", str(self.log), "-w", *given, "start")

    def stop(self, mode: str = "fast") -> None:
        if self.pid():
            self._as_owner("pg_ctl", "-D", str(self.data_dir), "-m", mode, "-w", "stop")

    def pid(self) -> int:
        """Return the postmaster's process id, 0 if none lives."""
        try:
            pid = int((self.data_dir / "postmaster.pid").read_text().splitlines()[0])
            os.kill(pid, 0)
        except (OSError, ValueError, IndexError):
            return 0
        return pid

    def kill(self) -> None:
        """The power goes out."""
        pid = self.pid()
        if pid:
            children = self._children(pid)
            os.kill(pid, signal.SIGKILL)
            for _turn in range(200):
                if (
                    not Path(f"/proc/{pid}").exists()
                    or Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"
                ):
                    break
                time.sleep(0.05)
            self._wait_gone(children)
            # Where nobody collects the dead at once, the next server would take this one for alive.
            (self.socket_dir / f".s.PGSQL.{self.port}.lock").unlink(missing_ok=True)

    def _children(self, pid: int) -> list[str]:
        """Return the processes that the server has started itself; those of others may work in its directory, too."""
        done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
        return done.stdout.split()

    def _wait_gone(self, pids: Sequence[str]) -> None:
        """Wait until processes have left the data directory: the archiver stays until its command ends."""
        places = (str(self.data_dir), f"{self.data_dir} (deleted)")
        for _turn in range(600):
            here = []
            for pid in pids:
                with suppress(OSError):
                    if os.readlink(f"/proc/{pid}/cwd") in places:
                        here.append(pid)
            if not here:
                return
            time.sleep(0.05)
        raise AssertionError(f"processes {here} work in {self.data_dir} after the end of their server")

    def lose(self) -> None:
        """The machine dies and its disk is gone."""
        self.kill()
        shutil.rmtree(self.data_dir)

    def psql(self, database: str = "postgres", socket_dir: str = "", port: str = "") -> list[str]:
        """Return the words that call psql, as the superuser, for the cluster's own server or one on another socket."""
        where = ["-h", socket_dir or str(self.socket_dir), "-p", port or str(self.port)]
        return [str(self.bin_dir / "psql"), "-XAtqw", *where, "-U", "postgres", "-d", database]

    def sql(self, text: str) -> str:
        """Return psql's unaligned answer."""
        done = subprocess.run(
            [*self.psql(), "-v", "ON_ERROR_STOP=1", "-f", "-"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"psql: {done.stderr}")
        return done.stdout.strip()

    def ship(self) -> None:
        """Have everything that was committed archived."""
        segment = self.sql(
            "SELECT pg_walfile_name(pg_logical_emit_message(false, 'test', 'ship')); SELECT pg_switch_wal()"
        ).splitlines()[0]
        for _turn in range(600):
            if self.sql("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver") >= segment:
                return
            time.sleep(0.05)
        raise AssertionError(f"{segment} was not archived: {self.sql('SELECT * FROM pg_stat_archiver')}")

    def system_identifier(self) -> str:
        return self.sql("SELECT system_identifier FROM pg_control_system()")

    def rows(self, table: str) -> list[str]:
        """Return every row of a table as text, in the order of its first column."""
        return self.sql(f"SELECT t::text FROM {table} t ORDER BY 1").splitlines()

    def variables(self) -> dict[str, str]:
        """Return what a play has to be told when several clusters run here."""
        return {
            "walg_pg_data_dir": str(self.data_dir),
            "walg_pg_bin_dir": str(self.bin_dir),
            "walg_pg_socket_dir": str(self.socket_dir),
            "walg_pg_port": str(self.port),
            "walg_pg_os_user": self.sandbox.user,
        }

    def _as_owner(self, program: str, *arguments: str) -> None:
        done = self.sandbox.run([str(self.bin_dir / program), *arguments], user=self.sandbox.user, timeout=120)
        if done.returncode:
            raise AssertionError(f"{program}: {done.stdout}")


@dataclass
class Sandbox:
    """``user`` owns PostgreSQL; ``as_user``: plays run as that user too and not as root."""

    tools: dict[str, Any]
    as_user: bool = False
    user: str = field(default_factory=database_user)
    base: str | None = None

    def __post_init__(self) -> None:
        self.root = Path(self.base) if self.base else Path(tempfile.mkdtemp(prefix="mapswipe-walg-"))
        self.root.mkdir(exist_ok=True)
        self.root.chmod(0o755)
        self.clusters: list[Cluster] = []
        self.pg_dir = self._own("pg")
        self.storage_dir = self._own("storage")
        self.host = self._own("host") if self.as_user else self._mine("host")
        self.control = self._own("control") if self.as_user else self._mine("control")
        self.pg_bin_dir, self.walg = Path(self.tools["pg_bin_dir"]), Path(self.tools["walg_binary"])
        self.python, self._python_path = self._interpreter()
        self.collections = self._collections()
        shutil.copy(SUPPORT / "recorder.py", self.control / "recorder.py")
        (self.control / "ansible.cfg").write_text("")

    def _own(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            entry = pwd.getpwnam(self.user)
            os.chown(path, entry.pw_uid, entry.pw_gid)
        return path

    def _mine(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(exist_ok=True)
        return path

    def _interpreter(self) -> tuple[str, list[str]]:
        """Return the Python that plays run with; an unprivileged user may not reach the venv's own."""
        if not self.as_user or passable(self.tools["python"]):
            return self.tools["python"], []
        packages = next(Path(self.tools["venv"]).glob("lib/python3*/site-packages"))
        return self.tools["public_python"], [str(packages)]

    def _collections(self) -> str:
        """Return the collections path: the staged checkout, or a copy where the user can't reach that."""
        if not self.as_user or passable(str(CHECKOUT)):
            return str(self.tools["collections"])
        copy = self.root / "collections"
        for part in ("plugins", "roles", "playbooks", "meta"):
            shutil.copytree(CHECKOUT / part, copy / "ansible_collections/mapswipe/walg" / part, dirs_exist_ok=True)
        return str(copy)

    def run(
        self, argv: list[str], user: str | None = None, timeout: float = 300, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program, as another user if we are root; both streams come back in stdout, by a file."""
        who = user if user and os.geteuid() == 0 else None
        with tempfile.TemporaryFile("w+") as out:
            done = subprocess.run(
                argv,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                text=True,
                timeout=timeout,
                cwd=self.root,
                check=False,
                env=env,
                user=who,
                group=pwd.getpwnam(who).pw_gid if who else None,
                extra_groups=[] if who else None,
            )
            out.seek(0)
            return subprocess.CompletedProcess(argv, done.returncode, out.read(), "")

    def major(self) -> int:
        """Return the PostgreSQL under test."""
        return int(self.run([str(self.pg_bin_dir / "postgres"), "--version"]).stdout.split()[-1].split(".")[0])

    def idle_cluster(self, name: str) -> Cluster:
        """Choose directory, socket and port of a cluster that does not exist yet."""
        socket_dir = self._own(f"s{len(self.clusters)}")
        made = Cluster(self, name, self.pg_dir / name, socket_dir, random.randint(20000, 60000), self.pg_bin_dir)
        self.clusters.append(made)
        return made

    def cluster(self, name: str = "main", initdb: Sequence[str] = (), **settings: str) -> Cluster:
        """Create and start a cluster; ``initdb``: more arguments for that."""
        made = self.idle_cluster(name)
        made.create(initdb, **settings)
        made.start()
        return made

    def storage(self, name: str = "main") -> str:
        """Return the URL of a fresh file storage that the database user can write."""
        path = self._own(f"storage/{name}")
        return f"file://{path}"

    def directories(self) -> dict[str, str]:
        """Return the collection's directories on this "host"."""
        names = ("bin", "config", "program", "state", "log", "cron")
        return {f"walg_{name}_dir": str(self.host / name) for name in names}

    def walg_version(self) -> str:
        """Return what the WAL-G under test calls itself; WALG_BINARY may name another one."""
        return self.run([str(self.walg), "--version"]).stdout.split("\t")[0].split()[-1]

    def variables(self, cluster: Cluster, **more: Any) -> dict[str, Any]:
        """Return the variables of a play for one cluster."""
        return {
            **self.directories(),
            **cluster.variables(),
            "walg_storage": f"file://{self.storage_dir}/{cluster.name}",
            "walg_instance": cluster.name,
            "walg_binary_src": str(self.walg),
            "walg_binary_checksum": f"sha256:{self.tools['walg_sha256']}",
            "walg_version": self.walg_version(),
            "walg_backup_restart": "allowed",
            "walg_backup_archive_timeout": 600,  # an idle server ships nothing while a test looks
            **more,
        }

    def host_options(self, cluster: Cluster, /, **more: Any) -> dict[str, Any]:
        """Return the options of walg_instance for one cluster, as the role hands them on."""
        given = self.variables(cluster)
        return {
            "instance": cluster.name,
            "cluster": {key[len("walg_pg_") :]: value for key, value in cluster.variables().items()},
            "directories": {key[len("walg_") :]: value for key, value in self.directories().items()},
            "storage": given["walg_storage"],
            "version": given["walg_version"],
            "binary_src": given["walg_binary_src"],
            "binary_checksum": given["walg_binary_checksum"],
            **more,
        }

    def marker(self, name: str = "main") -> Path:
        """Return the file that says how far the last restore of an instance came."""
        roots = os.geteuid() == 0 and not self.as_user
        return self.host / "state" / (f"{name}.restore" if roots else name) / "restore.json"

    def instance(self, name: str = "main") -> dict[str, str]:
        """Return the options that name a configured instance to a module."""
        return {"instance": name, "config_dir": str(self.host / "config")}

    def play(
        self,
        playbook: str,
        variables: dict[str, Any],
        *arguments: str,
        env: dict[str, str] | None = None,
        others: dict[str, dict[str, Any]] | None = None,
    ) -> Play:
        """Run ansible-playbook against one local host with these variables. ``others``: more such hosts, by name."""
        number = len(list(self.control.glob("inventory-*.json")))
        inventory = self.control / f"inventory-{number:03}.json"
        record = self.control / f"record-{number:03}.jsonl"
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        hosts = {name: {**local, **one} for name, one in {"db": variables, **(others or {})}.items()}
        inventory.write_text(json.dumps({"walg": {"hosts": hosts}}))
        if os.geteuid() == 0 and self.as_user:
            os.chown(inventory, pwd.getpwnam(self.user).pw_uid, -1)
        argv = [self.python, "-m", "ansible", "playbook", "-i", str(inventory), playbook, *arguments]
        started = time.monotonic()
        done = self.run(
            argv, user=self.user if self.as_user else None, timeout=900, env={**self.environment(record), **(env or {})}
        )
        seconds = time.monotonic() - started
        lines = record.read_text().splitlines() if record.exists() else []
        results: list[dict[str, Any]] = [json.loads(line) for line in lines]
        for line in results:
            collection, _dot, module = line["action"].rpartition(".")
            if collection == "mapswipe.walg" and line["status"] in ("ok", "failed"):
                judge_answer(
                    module, {**line["result"], "failed": line["status"] == "failed" or _LEFT in line["result"]}
                )
        return Play(done.returncode, done.stdout, results, seconds)

    def configure(
        self,
        cluster: Cluster,
        storage: str = "",
        settings: dict[str, str] | None = None,
        service: str = "",
        cluster_options: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        """Do what the role mapswipe.walg.walg does, by its modules: binary, programs, settings. ``service``: who starts the server.

        ``more``: other options of walg_config.
        """
        wanted = self.variables(cluster)
        found = self.module(
            "walg_instance_info",
            {
                "instance": cluster.name,
                "cluster": {key[len("walg_pg_") :]: value for key, value in cluster.variables().items()},
                "directories": {key[len("walg_") :]: value for key, value in self.directories().items()},
            },
        )
        binary = str(self.host / "bin" / "wal-g")
        install = {
            "src": str(self.walg),
            "checksum": wanted["walg_binary_checksum"],
            "path": binary,
            "version": wanted["walg_version"],
            "config_dir": found["directories"]["config_dir"],
        }
        programs = {"path": found["directories"]["program_dir"], "user": self.user}
        config = {
            "instance": cluster.name,
            "storage": storage or self.storage(cluster.name),
            "settings": settings or {},
            "binary": binary,
            "cluster": {
                **found["cluster"],
                "service": service or found["cluster"]["service"],
                **(cluster_options or {}),
            },
            "directories": found["directories"],
            **more,
        }
        for name, options in (("walg_install", install), ("walg_programs", programs), ("walg_config", config)):
            answer = self.module(name, options)
            assert not answer.get("failed"), answer

    def module_argv(self, name: str, options: dict[str, Any], check: bool = False) -> list[str]:
        """Return the command that runs one module by itself, without a play."""
        arguments = self.control / f"arguments-{len(list(self.control.glob('arguments-*.json'))):03}.json"
        extra = {"_ansible_check_mode": check, "_ansible_diff": True, "_ansible_remote_tmp": str(self.control / "tmp")}
        arguments.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": {**options, **extra}}))
        source = Path(self.collections) / "ansible_collections/mapswipe/walg/plugins/modules" / f"{name}.py"
        return [self.python, str(source), str(arguments)]

    def module(self, name: str, options: dict[str, Any], check: bool = False) -> dict[str, Any]:
        """Run one module by itself and return its answer."""
        argv = self.module_argv(name, options, check)
        done = self.run(
            argv, user=self.user if self.as_user else None, timeout=600, env=self.environment(self.control / "none")
        )
        for line in done.stdout.splitlines():
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                # A test that expects an error must not be content with this one.
                assert "Unsupported parameters" not in answer.get("msg", ""), answer["msg"]
                judge_answer(name, answer)
                return answer
        raise AssertionError(f"{name} answered nothing: {done.stdout}")

    def environment(self, record: Path) -> dict[str, str]:
        """Return the environment of a play: its own Ansible home, and the checkout as the only collection."""
        return {
            "PATH": f"{self.tools['venv_bin']}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.control),
            "LANG": "C.UTF-8",
            "TERM": os.environ.get("TERM", "dumb"),
            "ANSIBLE_HOME": str(self.control / "ansible"),
            "ANSIBLE_CONFIG": str(self.control / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": self.collections,
            "ANSIBLE_CALLBACK_PLUGINS": str(self.control),
            "ANSIBLE_CALLBACKS_ENABLED": "recorder",
            "ANSIBLE_REMOTE_TMP": str(self.control / "tmp"),
            "ANSIBLE_ASYNC_DIR": str(self.control / "async"),
            "ANSIBLE_LOCAL_TEMP": str(self.control / "local"),
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_INJECT_FACT_VARS": "false",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "RECORDER_FILE": str(record),
            **self._shared_modules(),
            "PYTHONPATH": os.pathsep.join([*_hook(), self.collections, *self._python_path]),
            **{name: value for name, value in os.environ.items() if name.startswith("WALG_COVERAGE")},
        }

    def _shared_modules(self) -> dict[str, str]:
        """Return where plays of this collection, run by this user, share what Ansible sends of modules."""
        shared = os.environ.get("RECORDER_MODULES")
        if shared is None or self.as_user or self.collections != str(self.tools["collections"]):
            return {}
        return {"RECORDER_MODULES": shared}

    def close(self, keep: bool = False) -> None:
        """Stop every server whose directory lies in here, and remove everything."""
        for pid in self.servers():
            try:
                os.kill(pid, signal.SIGQUIT)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + 20
        while self.servers() and time.monotonic() < deadline:
            time.sleep(0.1)
        if not keep:
            for attempt in range(20):  # the last children of a killed server still write
                shutil.rmtree(self.root, ignore_errors=attempt < 19)
                if not self.root.exists():
                    break
                time.sleep(0.2)

    def servers(self) -> list[int]:
        """Return the process ids of PostgreSQL servers that run below the sandbox."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if os.readlink(entry / "cwd").startswith(f"{self.root}/") and _is_server(entry):
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found


def _hook() -> list[str]:
    """Return the folder that measures what plays run of the library, when make coverage does."""
    return [os.environ["WALG_COVERAGE_HOOK"]] if "WALG_COVERAGE_HOOK" in os.environ else []


def _is_server(entry: Path) -> bool:
    """Say whether a directory of /proc is a PostgreSQL server's, whatever the program's name."""
    return (entry / "comm").read_text().strip() == "postgres" or " /SYSV" in (entry / "maps").read_text()
