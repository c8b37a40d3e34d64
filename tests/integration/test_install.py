# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL-G comes from a server in the releases' layout: what is wrong there leaves the old binary alone; old versions go."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import shutil
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import elf, releases
from support.gcs import Connect, certificate
from support.observe import files
from support.releases import Releases
from support.sandbox import Sandbox

OLD = b"#!/bin/sh\nprintf 'wal-g version v0.9.9\\tx\\tx\\tPostgreSQL\\n'\n"


@pytest.fixture(scope="module")
def server(sandbox: Sandbox) -> Iterator[Releases]:
    """The server with the WAL-G under test."""
    with Releases(sandbox.root / "releases") as it:
        it.publish(sandbox.walg, sandbox.walg_version())
        yield it


@pytest.fixture(autouse=True)
def clean(server: Releases) -> Iterator[None]:
    """No fault and no request of a test is there for the next."""
    yield
    server.faults.clear()
    server.requests.clear()


@pytest.fixture
def place(sandbox: Sandbox, tmp_path: Path) -> Path:
    """A directory of its own for each test, with an older binary at the place."""
    path = sandbox.host / tmp_path.name / "wal-g"
    path.parent.mkdir()
    path.write_bytes(OLD)
    path.chmod(0o755)
    return path


def install(sandbox: Sandbox, server: Releases, path: Path, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module for the release, from the server."""
    given = {
        "path": str(path),
        "version": sandbox.walg_version(),
        "mirror": server.url,
        "ca_path": server.ca,
        **options,
    }
    return sandbox.module("walg_install", given, check)


def test_two_runs_on_one_host_take_turns(sandbox: Sandbox, server: Releases, place: Path) -> None:
    """Two instances of a host may be two hosts of a play: what one run has staged is not taken from under another."""
    options = {"path": str(place), "version": sandbox.walg_version(), "mirror": server.url, "ca_path": server.ca}
    lock = place.parent / ".mapswipe-walg.lock"
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with subprocess.Popen(
            sandbox.module_argv("walg_install", options), env=sandbox.environment(sandbox.control / "none")
        ) as run:
            time.sleep(2.5)
            assert (run.poll(), place.read_bytes(), server.requests) == (None, OLD, [])
            lock.unlink()  # as a run does that ends
            fcntl.flock(handle, fcntl.LOCK_UN)
            assert run.wait(timeout=60) == 0
    finally:
        os.close(handle)
    assert digest(place) == digest(sandbox.walg)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sizes(server: Releases) -> list[str]:
    """Return what was asked of the server: "digest" or "binary"."""
    return ["digest" if path.endswith(".sha256") else "binary" for path, _authorization in server.requests]


def test_a_release_is_installed_and_the_network_then_left_alone(
    sandbox: Sandbox, server: Releases, place: Path
) -> None:
    before = files(place.parent)
    foretold = install(sandbox, server, place, check=True)
    assert (foretold["changed"], foretold["sha256"]) == (True, digest(sandbox.walg)), foretold
    assert foretold["url"] in foretold["diff"]["after"]
    assert (sizes(server), files(place.parent)) == (["digest"], before)
    done = install(sandbox, server, place)
    assert (done["changed"], done["sha256"], done["url"]) == (True, foretold["sha256"], foretold["url"]), done
    assert done["asset"] in releases.assets(sandbox.walg_version())[1]
    assert digest(place) == digest(sandbox.walg)
    assert place.stat().st_mode & 0o7777 == 0o755
    assert sorted(os.listdir(place.parent)) == [".mapswipe-walg.json", "wal-g"]
    server.requests.clear()
    before = files(place.parent)
    for check in (True, False):
        assert not install(sandbox, server, place, check)["changed"]
    assert (server.requests, files(place.parent)) == ([], before)


def test_a_release_without_digests_needs_a_given_one(sandbox: Sandbox, server: Releases, place: Path) -> None:
    answer = install(sandbox, server, place, version="1.1")
    assert "The release v1.1 has no file with its digest: give it in walg_binary_checksum." in answer["msg"]
    assert server.requests == []
    given = install(sandbox, server, place, checksum=f"sha256:{digest(sandbox.walg)}")
    assert (given["changed"], sizes(server)) == (True, ["binary"])


def faults(directory: Path) -> dict[str, tuple[list[tuple[str, releases.Fault]], dict[str, Any], str]]:
    """What goes wrong: faults of the server, options, and what the refusal says."""
    arm = elf.make(183)
    arm_digest = hashlib.sha256(arm).hexdigest().encode()
    other = f"{'0' * 64}  wal-g-mysql-20.04-amd64\n".encode()
    return {
        "wrong digest": (
            [(".sha256", releases.answer(b"0" * 64))],
            {},
            "it is another file, or damaged. Nothing was installed",
        ),
        "other binary": (
            [("-amd64", releases.answer(OLD))],
            {},
            "it is another file, or damaged. Nothing was installed",
        ),
        "wrong digest given": (
            [],
            {"checksum": "sha256:" + "0" * 64},
            "it is another file, or damaged. Nothing was installed",
        ),
        "digest of another": (
            [(".sha256", releases.answer(other))],
            {},
            "is the digest of wal-g-mysql-20.04-amd64, expected that of",
        ),
        "a page for a digest": (
            [(".sha256", releases.answer(b"<html>log in</html>"))],
            {},
            "is not the digest of one file",
        ),
        "a book for a digest": ([(".sha256", releases.answer(b"0" * 9999))], {}, "is too big for a digest"),
        "no digest": (
            [(".sha256", releases.status(404))],
            {},
            "answered 404 Not Found. There is no such file: check walg_version",
        ),
        "no binary": (
            [("-amd64", releases.status(404))],
            {},
            "answered 404 Not Found. There is no such file: check walg_version",
        ),
        "server error": ([("-amd64", releases.status(503))], {}, "answered 503"),
        "cut off": ([("-amd64", releases.cut_off)], {}, "was cut off after 5004 of 1000000 bytes"),
        "hangs": (
            [("-amd64", releases.hang)],
            {"timeout": 1},
            "was not here after 1 s (walg_binary_timeout)|did not answer in time",
        ),
        "trickles": ([("-amd64", releases.trickle)], {"timeout": 2}, "was not here after 2 s (walg_binary_timeout)"),
        "endless": ([("-amd64", releases.endless)], {}, "has 1000000000000 bytes; a WAL-G has less"),
        "wrong arch": (
            [("-amd64", releases.answer(arm)), (".sha256", releases.answer(arm_digest))],
            {},
            "is built for aarch64, this host is x86_64. Use wal-g-pg-",
        ),
        "credentials wanted": (
            [("", releases.wants("Basic eA=="))],
            {},
            "answered 401 Unauthorized. Give the credentials",
        ),
        "unknown CA": ([], {"ca_path": str(certificate(directory)[0])}, "its certificate is not trusted"),
        "no such CA": ([], {"ca_path": str(directory / "none")}, "on this host (walg_binary_mirror_ca)"),
        "nobody there": (
            [],
            {"mirror": "https://localhost:1"},
            "If this host can't reach it, use a file (walg_binary_src)",
        ),
        "no release": ([], {"version": "devel"}, "'devel' is not a version of WAL-G"),
        "not encrypted": (
            [],
            {"mirror": "http://localhost:1"},
            "so its digest proves nothing: give it in walg_binary_checksum",
        ),
        "password in the open": (
            [],
            {
                "mirror": "http://localhost:1",
                "checksum": "sha256:" + "0" * 64,
                "url_username": "u",
                "url_password": "opensesame",
            },
            "user name and password are not sent over it",
        ),
        "password in the URL": (
            [],
            {"mirror": "https://u:opensesame@localhost:1"},
            "walg_binary_mirror holds credentials",
        ),
    }


def test_whatever_is_wrong_leaves_the_old_binary(
    sandbox: Sandbox, server: Releases, place: Path, tmp_path: Path
) -> None:
    """One after the other in one place, so that one's remains would be seen by the next."""
    inode, before = place.stat().st_ino, files(place.parent)
    for name, (told, options, text) in faults(tmp_path).items():
        server.faults[:] = told
        started = time.monotonic()
        answer = install(sandbox, server, place, **options)
        assert answer.get("failed"), name
        assert any(part in answer["msg"] for part in text.split("|")), (name, answer["msg"])
        assert (place.stat().st_ino, files(place.parent)) == (inode, before), name
        assert time.monotonic() - started < 10, name
        assert "opensesame" not in json.dumps(answer), name


def test_a_redirect_is_followed_without_the_password(
    sandbox: Sandbox, server: Releases, place: Path, tmp_path: Path
) -> None:
    """To another server of the same trust; never to one without encryption."""
    secret = "Basic " + base64.b64encode(b"backup:opensesame").decode()
    shutil.copytree(server.directory / "files", tmp_path / "far" / "files", copy_function=os.link)
    options = {"url_username": "backup", "url_password": "opensesame"}
    with (
        Releases(tmp_path / "far", certificates=server.certificates) as far,
        Releases(tmp_path / "far", secure=False) as open_one,
    ):
        server.faults.append(("", releases.redirect(open_one.url)))
        answer = install(sandbox, server, place, **options)
        assert "without encryption; that is not followed" in answer["msg"]
        assert (place.read_bytes(), open_one.requests) == (OLD, [])
        server.faults[:] = [("", releases.redirect(far.url))]
        done = install(sandbox, server, place, **options)
        assert done["changed"], done
        assert len(far.requests) == 2
        assert {sent for _path, sent in far.requests} == {""}
    assert {sent for _path, sent in server.requests} == {secret}
    assert "opensesame" not in json.dumps(done)
    assert digest(place) == digest(sandbox.walg)


def test_through_a_proxy_with_a_password(sandbox: Sandbox, server: Releases, place: Path) -> None:
    secret = "Basic " + base64.b64encode(b"backup:opensesame").decode()
    server.faults.append(("", releases.wants(secret)))
    network = type("Network", (Connect,), {"port": server.port})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), network) as proxy:
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        options = {
            "path": str(place),
            "version": sandbox.walg_version(),
            "mirror": "https://localhost:1",  # nothing listens there: only the proxy leads anywhere
            "ca_path": server.ca,
            "url_username": "backup",
            "url_password": "opensesame",
        }
        environment = {
            **sandbox.environment(sandbox.control / "none"),
            "HTTPS_PROXY": f"http://127.0.0.1:{proxy.server_address[1]}",
        }
        argv = sandbox.module_argv("walg_install", options)
        done = sandbox.run(argv, env=environment)
        proxy.shutdown()
    assert json.loads(done.stdout)["changed"], done.stdout
    assert digest(place) == digest(sandbox.walg)
    assert "opensesame" not in done.stdout


def test_one_that_a_package_keeps(sandbox: Sandbox, server: Releases, place: Path) -> None:
    before = files(place.parent)
    answer = install(sandbox, server, place, managed=False, version="3.0.8")
    assert "reports version 'v0.9.9', expected '3.0.8'" in answer["msg"]
    answer = install(sandbox, server, place, managed=False, version="0.9.9")
    assert (answer["changed"], answer["version"]) == (False, "v0.9.9"), answer
    answer = install(sandbox, server, place.parent / "none", managed=False)
    assert "There is no file" in answer["msg"]
    assert (server.requests, files(place.parent)) == ([], before)


# --- old versions -------------------------------------------------------------------------------------------------------


def versions(sandbox: Sandbox, directory: Path, *names: str) -> list[Path]:
    """Install a small program of each name, in this order."""
    paths = []
    for name in names:
        source = directory.parent / f"{directory.name}-{name}"
        source.write_bytes(OLD + f"# {name}\n".encode())
        checksum = f"sha256:{digest(source)}"
        paths.append(directory / name)
        options = {"src": str(source), "checksum": checksum, "path": str(paths[-1]), "version": "0.9.9"}
        assert sandbox.module("walg_install", {**options, "config_dir": str(directory / "etc")})["changed"]
    return paths


def prune(sandbox: Sandbox, path: Path, keep: int, check: bool = False, stale: bool = False) -> list[str]:
    """Prune beside a path, which is installed already, and return the names that went. ``stale``: remains of a dead run go, too."""
    source = path.parent.parent / f"{path.parent.name}-{path.name}"
    options = {
        "path": str(path),
        "version": "0.9.9",
        "src": str(source),
        "checksum": f"sha256:{digest(source)}",
        "keep": keep,
        "config_dir": str(path.parent / "etc"),
    }
    answer = sandbox.module("walg_install", options, check)
    assert not answer.get("failed"), answer
    assert answer["changed"] == (stale or bool(answer["removed"]))
    return [Path(one).name for one in answer["removed"]]


def use(directory: Path, instance: str, binary: Path) -> None:
    """Write a record that names a binary."""
    names = [
        "DATA_DIR",
        "PG_BIN_DIR",
        "PG_SOCKET_DIR",
        "PG_PORT",
        "PG_ROLE",
        "OS_USER",
        "PG_SERVICE",
        "PG_START_OPTIONS",
    ]
    names += ["SYSTEM_IDENTIFIER", "WALG_INSTANCE", "CONFIG_DIR", "STATE_DIR", "LOG_DIR", "PROGRAM_DIR", "STORAGE"]
    numbers = "".join(f"{name}_TIMEOUT='60'\n" for name in ("PUSH", "FETCH", "BACKUP"))
    directory.mkdir(exist_ok=True)
    record = "".join(f"{name}='x'\n" for name in names) + numbers + f"WALG_BINARY='{binary}'\n"
    (directory / f"{instance}.env").write_text(record)


def test_old_versions_go_by_count_and_none_in_use(sandbox: Sandbox, place: Path) -> None:
    directory = place.parent
    paths = versions(sandbox, directory, "a", "b", "c", "d", "e", "f")
    shutil.copy("/bin/sleep", directory / "a")  # somebody replaced it: not ours any more
    use(directory / "etc", "main", paths[1])  # the instance of this run: it moves to f, whatever its record says now
    use(directory / "etc", "other", paths[2])
    shutil.copy(directory / "d", directory / "d.copy")
    before = files(directory)
    assert prune(sandbox, paths[5], 1, check=True) == ["b", "d"]
    assert files(directory) == before
    assert prune(sandbox, paths[5], 1) == ["b", "d"]
    left = sorted(one.name for one in directory.iterdir() if one.is_file())
    assert left == [".mapswipe-walg.json", "a", "c", "d.copy", "e", "f", "wal-g"]
    assert (directory / "wal-g").read_bytes() == OLD
    before = files(directory)
    assert prune(sandbox, paths[5], 1) == []
    assert files(directory) == before


def test_a_version_that_runs_stays(sandbox: Sandbox, place: Path) -> None:
    directory = place.parent
    _old, new = versions(sandbox, directory, "old", "new")
    shutil.copy("/bin/sleep", directory / "old")
    record = directory / ".mapswipe-walg.json"
    content = json.loads(record.read_text())
    content["binaries"][0]["sha256"] = digest(directory / "old")  # as if that were the WAL-G we installed
    record.write_text(json.dumps(content))
    runs = subprocess.Popen([directory / "old", "60"])
    try:
        assert prune(sandbox, new, 0) == []
    finally:
        runs.kill()
        runs.wait()
    assert prune(sandbox, new, 0) == ["old"]


def test_a_record_that_cannot_be_read_keeps_everything(sandbox: Sandbox, place: Path) -> None:
    directory = place.parent
    _old, new = versions(sandbox, directory, "old", "new")
    (directory / "etc").mkdir()
    (directory / "etc" / "other.env").write_text("damaged")
    before = files(directory)
    assert prune(sandbox, new, 0) == []
    assert files(directory) == before
    (directory / "etc" / "other.env").unlink()
    assert prune(sandbox, new, 0) == ["old"]


def test_remains_of_a_killed_download_go(sandbox: Sandbox, place: Path) -> None:
    directory = place.parent
    (new,) = versions(sandbox, directory, "new")
    for name, age in ((".mapswipe-walg.x1", 2), (".mapswipe-walg.x2", 0)):
        (directory / name).write_text("half")
        os.utime(directory / name, (time.time() - age * 86400,) * 2)
    assert prune(sandbox, new, 1, stale=True) == []
    assert (directory / ".mapswipe-walg.x2").exists()
    assert not (directory / ".mapswipe-walg.x1").exists()
