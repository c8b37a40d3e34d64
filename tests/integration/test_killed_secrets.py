# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is killed while WAL-G works leaves no secret in a temporary directory, however Ansible brought it there."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.sandbox import Sandbox


@pytest.fixture
def silent() -> Iterator[tuple[int, threading.Event]]:
    """A server that takes connections and says nothing; set when the first one is there."""
    came = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = []

        def take() -> None:
            while True:
                try:
                    kept.append(server.accept()[0])
                except OSError:
                    return
                came.set()

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)
        for one in kept:
            one.close()


def _of(sandbox: Sandbox, temporary: Path) -> list[int]:
    """Return the processes of the play: those that work with the sandbox's files."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if int(entry.name) != os.getpid() and str(temporary).encode() in words:
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize("pipelining", ["true", "false"])
def test_no_secret_is_left(
    make_sandbox: Callable[..., Sandbox], silent: tuple[int, threading.Event], pipelining: str
) -> None:
    sandbox = make_sandbox()
    cluster = sandbox.cluster("main")
    port, came = silent
    temporary = sandbox.root / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    key = {
        "type": "service_account",
        "client_email": "a@b.example",
        "private_key": "-----BEGIN X-----\nPlantedKey7\n-----END X-----",
    }
    variables = sandbox.variables(
        cluster,
        walg_storage=f"ssh://walg@127.0.0.1:{port}/x",
        walg_secrets={"SSH_PASSWORD": "PlantedKilled7"},
        walg_google_credentials=key,
    )
    environment = {"TMPDIR": str(temporary), "ANSIBLE_PIPELINING": pipelining}
    play = threading.Thread(
        target=lambda: sandbox.play("mapswipe.walg.site", variables, "-v", env=environment), daemon=True
    )
    play.start()
    assert came.wait(120), "WAL-G did not ask the storage"
    for pid in _of(sandbox, temporary):
        os.kill(pid, signal.SIGKILL)
    play.join(60)
    time.sleep(0.2)
    controllers = sandbox.control / "local"  # the controller's own copies, 0600 below 0700
    holders = [
        path
        for path in sandbox.root.rglob("*")
        if path.is_file() and b"Planted" in path.read_bytes() and controllers not in path.parents
    ]
    assert [path.name for path in holders if not path.name.startswith("inventory-")] == []
    left = [path for path in temporary.iterdir() if path.name.startswith("mapswipe-walg-settings-")]
    assert left, "it was killed while WAL-G had its settings"
    environment = {**sandbox.environment(sandbox.control / "none"), "TMPDIR": str(temporary)}
    answer = sandbox.run([sandbox.python, "-c", _NEXT, sandbox.user], env=environment)
    assert answer.returncode == 0, answer.stdout
    assert [path for path in left if path.exists()] == [], "the next run removes what is ours"


_NEXT = """
import sys
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _scratch, _users
def work():
    with _scratch.opened():
        pass
_users.call_as(_users.User.by_name(sys.argv[1]), work)
"""
