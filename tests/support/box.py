# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container without an engine: namespaces of its own, and a tree that has the machine's programs and nothing else of the machine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._container import _engine, _placed, _session
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _inside, _proc
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result, Runner

PROGRAMS = ("bin", "lib", "lib32", "lib64", "sbin", "usr")
IDENTIFIER = "0123456789abcdef" * 4
_START = r"""
set -e
mount --bind "$0" "$0"
cd "$0"
for name in $BOX_PROGRAMS; do
    [ -d "/$name" ] || continue
    if [ -L "/$name" ]; then [ -L "$name" ] || ln -s "$(readlink "/$name")" "$name"
    else mkdir -p "$name"; mount --bind -o ro "/$name" "$name"; fi
done
mkdir -p old proc dev tmp
chmod 1777 tmp
mount -t proc proc proc
[ -e dev/null ] || : >dev/null
mount --bind /dev/null dev/null
for path in $BOX_MOUNTS; do mkdir -p ".$path"; mount --bind "$path" ".$path"; done
pivot_root . old
umount -l /old
echo ready
exec "$@"
"""


def why_not() -> str:
    """Return why there can be no box here, "" if there can."""
    if os.geteuid() != 0:
        return "only root can make namespaces and enter them"
    if shutil.which("unshare") is None:
        return "there is no program unshare"
    done = subprocess.run(["unshare", "-m", "-p", "-f", "-n", "-i", "true"], capture_output=True, check=False)
    return "this machine lets nobody make namespaces" if done.returncode else ""


needs_box = pytest.mark.skipif(bool(why_not()), reason=why_not() or "there can be one")


@dataclass
class Box:
    """One container; ``more``: flags of unshare, ``mounts``: directories of the machine that it has at the same paths."""

    root: Path
    command: Sequence[str] = ("sleep", "infinity")
    mounts: Sequence[Path] = ()
    more: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Write its files and start it."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o755)
        files = {"etc/passwd": "root:x:0:0::/root:/bin/sh\npostgres:x:999:998::/var/lib/postgresql:/bin/sh\n"}
        files["etc/group"] = "root:x:0:\npostgres:x:998:\nssl-cert:x:101:other,postgres\n"
        for name, text in {**files, **self.files}.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        self.start()

    def start(self) -> None:
        """Start it, again if it has ended."""
        env = {**os.environ, "BOX_PROGRAMS": " ".join(PROGRAMS), "BOX_MOUNTS": " ".join(map(str, self.mounts))}
        argv = ["unshare", "-m", "-p", "-f", "-n", "-i", *self.more, "sh", "-c", _START, str(self.root), *self.command]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env, start_new_session=True)
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"
        self.pid = _proc.children(self.process.pid)[0]

    def end(self) -> None:
        """Kill its main process, and all in it dies."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.process.wait()

    @property
    def container(self) -> _engine.Container:
        """What an engine would say of it."""
        return container(pid=self.pid)

    @property
    def placed(self) -> _placed.Placed:
        return _placed.Placed("main", "docker", "db", "", "", "/opt/kits/main/kit", "/usr/local/lib/mapswipe-walg")

    def work(
        self,
        function: Callable[[], Any],
        offers: Mapping[str, _session.Offer] | None = None,
        runner: Runner | None = None,
        served: bool = True,
        user: str = "",
    ) -> _session.End:
        """Call a function inside, and return how that ended; what it returns is the message's ``end``."""
        engine = runner or Engine(self)
        end = _session.work(engine, self.placed, self.container, offers or {}, served, user)
        if end is not None:
            return end
        _tell(function)
        raise AssertionError

    def answer(self, function: Callable[[], Any], **more: Any) -> Any:
        """Return what a function returns inside."""
        end = self.work(function, **more)
        assert end.message is not None, f"no answer, exit code {end.code}"
        assert "fail" not in end.message, end.message["fail"]["msg"]
        assert end.code == 0
        return end.message["end"]


def _tell(function: Callable[[], Any]) -> None:
    """Inside: be nothing but that function."""
    inside = _inside.current()
    assert inside
    answer: dict[str, Any] = {}
    try:
        answer = {"end": function()}
    finally:
        if not answer:
            answer = {"fail": {"msg": traceback.format_exc()}}
        inside.line.send(answer)
        os._exit(0)


@dataclass
class Engine(Runner):
    """An engine that knows one box. ``pids``: what it says of the main process, question by question."""

    box: Box | None = None
    pids: list[int] = field(default_factory=list)

    def __init__(self, box: Box, *pids: int) -> None:
        super().__init__()
        self.box, self.pids = box, list(pids)

    def run(self, argv: Sequence[str], **options: Any) -> Result:
        """Answer a question about the container; other programs are started."""
        if argv[1:3] != ["container", "inspect"]:
            return super().run(argv, **options)
        assert self.box
        pid = self.pids.pop(0) if self.pids else self.box.pid
        return Result(list(argv), 0, json.dumps([inspected(State={"Pid": pid, "Status": "running"})]))


def inspected(**more: Any) -> dict[str, Any]:
    """Return what the engine says of a container."""
    known = {
        "Id": IDENTIFIER,
        "Name": "/db",
        "Image": "sha256:1",
        "State": {"Status": "running", "Pid": 1},
        "Config": {"Env": ["PGDATA=/data", "PATH=/usr/bin:/bin"]},
        "HostConfig": {},
    }
    return {**known, **more}


def container(pid: int = 1, **more: Any) -> _engine.Container:
    """Return a container as the library sees it."""
    return _engine._parsed("docker", inspected(State={"Status": "running", "Pid": pid}, **more))


def eventually(question: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Return the first true answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = question()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def lives(pid: int) -> bool:
    """Say whether a process runs; a zombie does not."""
    return _proc.stat(pid)[:1] not in ([], ["Z"])
