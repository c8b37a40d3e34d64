# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a server from starting in its place is seen before it is put there, and what does not is let through."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._record import Instance
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._targets import Target
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _layout, _start_check
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._answer import Answer
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._recovery_plan import RecoveryPlan
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._state import RestoreState
from support.observe import kept
from support.sandbox import Sandbox


class Recovered:
    """A cluster that was recovered and lies beside its place, with its configuration linked to a directory beside both."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        made = sandbox.idle_cluster("main.restore-r1")
        made.create(log_directory="log")
        self.work, self.data_dir, self.conf = made.data_dir, sandbox.pg_dir / "main", sandbox.pg_dir / "conf"
        self.socket_dir, self.port = made.socket_dir, made.port
        names = "postgresql.conf pg_hba.conf pg_ident.conf"
        self.shell(
            f"mkdir {self.conf}; cd {self.work}; for name in {names}; do mv $name ../conf/; ln -s ../conf/$name $name; done"
        )
        self.text = (self.conf / "postgresql.conf").read_text()
        cluster = Cluster(
            str(self.data_dir), str(sandbox.pg_bin_dir), str(made.socket_dir), str(made.port), os_user=sandbox.user
        )
        state = str(sandbox.host)
        self.instance = Instance("main", state, state, state, state, "wal-g", "file:///s", cluster)
        self.state = RestoreState(
            request="r1",
            state="recovered",
            target=Target(),
            standby=False,
            backup="b",
            system_identifier="7",
            data_dir=str(self.data_dir),
            places=[_layout.place(str(self.data_dir), "", "r1")],
            recovery=RecoveryPlan(major=sandbox.major(), segment_size=1 << 24, timeline=1, along=1),
            answer=Answer(request="r1"),
        )

    def shell(self, text: str) -> None:
        done = self.sandbox.run(["sh", "-ec", text], user=self.sandbox.user)
        assert done.returncode == 0, done.stdout

    def check(self) -> str:
        """Return what is refused, if anything. It leaves nothing behind, and changes nothing of the cluster."""
        before = kept(self.work)
        told = ""
        try:
            _start_check.StartCheck(Runner(), self.instance, self.state).refuse()
        except WalgError as exc:
            told = exc.msg
        assert kept(self.work) == before
        assert sorted(os.listdir(self.work.parent)) == sorted(["conf", "main.restore-r1"])
        return told

    def starts(self) -> bool:
        """Put it in place, start it really, and take it out again."""
        self.work.rename(self.data_dir)
        pg_ctl, log = self.sandbox.pg_bin_dir / "pg_ctl", self.sandbox.root / "s0" / "real.log"
        argv = [str(pg_ctl), "-D", str(self.data_dir), "-l", str(log), "-w"]
        up = self.sandbox.run([*argv, "start"], user=self.sandbox.user).returncode == 0
        if up:
            self.sandbox.run([*argv, "-m", "fast", "stop"], user=self.sandbox.user)
        self.data_dir.rename(self.work)
        return up


@pytest.fixture(scope="module")
def base(sandbox: Sandbox) -> Recovered:
    made = Recovered(sandbox)
    for name in ("server", "other"):
        subprocess.run(
            [
                "openssl",
                "req",
                "-new",
                "-x509",
                "-days",
                "9",
                "-nodes",
                "-subj",
                "/CN=db",
                "-out",
                f"{name}.crt",
                "-keyout",
                f"{name}.key",
            ],
            cwd=sandbox.root,
            check=True,
            capture_output=True,
        )
        for end in ("crt", "key"):
            path = made.work / f"{name}.{end}"
            path.write_bytes((sandbox.root / f"{name}.{end}").read_bytes())
            found = made.work.stat()
            os.chown(path, found.st_uid, found.st_gid)
            path.chmod(0o600)
    return made


@pytest.fixture
def recovered(base: Recovered) -> Iterator[Recovered]:
    yield base
    (base.conf / "postgresql.conf").write_text(base.text)


def test_what_starts_is_let_through(recovered: Recovered) -> None:
    assert recovered.check() == ""
    assert recovered.starts()


SOUND = {
    "its own files by the path that they will have": "hba_file = '{data}/pg_hba.conf'\nssl = on\nssl_key_file = '{data}/server.key'",
    "an include beside": "include_if_exists '../conf/gone.conf'\ninclude_dir '../conf/conf.d'",
    "keys": "ssl = on",
    "a pid file nowhere": "external_pid_file = '/nowhere/pid'",
    "a log directory to be made": "logging_collector = on\nlog_directory = 'new'",
    "a data directory": "data_directory = '{data}'",
}


@pytest.mark.parametrize("name", SOUND)
def test_what_looks_odd_and_starts_is_let_through(recovered: Recovered, name: str) -> None:
    recovered.shell(f"mkdir -p {recovered.conf}/conf.d")
    with open(recovered.conf / "postgresql.conf", "a", encoding="utf-8") as stream:
        stream.write(SOUND[name].format(data=recovered.data_dir) + "\n")
    assert recovered.check() == ""
    assert recovered.starts()


def test_what_names_its_own_files_by_the_path_that_they_will_have(recovered: Recovered) -> None:
    """Links and includes of every depth, from files inside and outside; nothing lies at that path yet."""
    data, work = recovered.data_dir, recovered.work
    recovered.shell(
        f"""cd {work}; mkdir -p own.d/deep; echo "include '{data}/own.d/deep/b.inc'" > own.d/deep/a.inc
        ln -s {data}/own.d/deep/a.inc own.d/a.conf; ln -s deep/a.inc own.d/c.conf; echo "ssl = on" > own.d/deep/b.inc
        mv server.key own.d/deep/; ln -s {data}/own.d/deep/server.key server.key"""
    )
    with open(recovered.conf / "postgresql.conf", "a", encoding="utf-8") as stream:
        stream.write(f"include_dir '{data}/own.d'\n")
    assert recovered.check() == ""
    assert recovered.starts()
    recovered.shell(f"cd {work}; mv own.d/deep/b.inc own.d/deep/away")
    told = recovered.check()
    assert f"{work}/own.d/deep/b.inc" in told
    assert "~start" not in told
    recovered.shell(f"cd {work}; rm server.key; mv own.d/deep/server.key .; rm -r own.d")


FAULTS = {
    "a file that is included": ("include 'more.conf'", "more.conf"),
    "a setting of another version": ("no_such_setting = 1", "no_such_setting"),
    "a value": ("shared_buffers = 'many'", "shared_buffers"),
    "settings that exclude each other": ("wal_level = minimal\narchive_mode = on", "wal_level"),
    "a library": ("shared_preload_libraries = 'no_such_library'", "no_such_library"),
    "a certificate": ("ssl = on\nssl_cert_file = '/nowhere/server.crt'", "/nowhere/server.crt"),
    "a key of another certificate": ("ssl = on\nssl_key_file = 'other.key'", "other.key"),
    "authentication elsewhere": ("hba_file = '../conf/other_hba.conf'", "other_hba.conf"),
    "a directory for sockets": ("unix_socket_directories = '/nowhere/run'", "/nowhere/run"),
    "a directory for logs": ("logging_collector = on\nlog_directory = '/nowhere/log'", "/nowhere/log"),
    "another data directory": ("data_directory = '/nowhere/data'", "/nowhere/data"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_does_not_start_is_refused(recovered: Recovered, name: str) -> None:
    lines, named = FAULTS[name]
    with open(recovered.conf / "postgresql.conf", "a", encoding="utf-8") as stream:
        stream.write(f"{lines}\n")
    told = recovered.check()
    assert named in told, told
    assert str(recovered.work) in told
    assert "~start" not in told
    if name != "another data directory":  # the server would run there
        assert not recovered.starts()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o000])
def test_the_mode_of_a_key(recovered: Recovered, mode: int) -> None:
    with open(recovered.conf / "postgresql.conf", "a", encoding="utf-8") as stream:
        stream.write("ssl = on\n")
    key = recovered.work / "server.key"
    key.chmod(mode)
    assert "server.key" in recovered.check()
    key.chmod(0o600)
    assert recovered.check() == ""


@pytest.mark.parametrize("name", ["postgresql.conf", "pg_hba.conf"])
def test_a_linked_file_that_is_gone(recovered: Recovered, name: str) -> None:
    path = recovered.conf / name
    path.rename(recovered.conf / "away")
    assert str(Path("conf") / name) in recovered.check()
    (recovered.conf / "away").rename(path)
    with open(recovered.conf / "pg_hba.conf", "a", encoding="utf-8") as stream:
        stream.write("rubbish\n")
    told = recovered.check()
    text = (recovered.conf / "pg_hba.conf").read_text()
    (recovered.conf / "pg_hba.conf").write_text(text.replace("rubbish\n", ""))
    assert "rubbish" in told
