# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The WAL-G that a play means: whether it is there by the disk alone, where it comes from, and how it is put in place."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import threading
import urllib.error
from collections.abc import Callable
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _locks
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._install import _binary, _installed, _wanted, _workshop
from ansible_collections.mapswipe.walg.plugins.module_utils._install._download import Web
from ansible_collections.mapswipe.walg.plugins.module_utils._install._wanted import Placed, Wanted
from support.observe import files

MIRROR = "https://mirror.example.com/walg"
ASSET = "wal-g-pg-22.04-amd64"


def build(version: str = "3.0.8", note: str = "") -> bytes:
    """A stand-in that says its version."""
    return f"#!/bin/sh\n# {note}\nprintf 'wal-g version v{version}\\tx\\ty\\tPostgreSQL\\n'\n".encode()


class Answer(io.BytesIO):
    """What urllib gives."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.headers = Message()


class Mirror:
    """Serves one build and its digest; counts what it is asked for."""

    def __init__(self, content: bytes, digest: str = "") -> None:
        self.content, self.digest = content, digest or hashlib.sha256(content).hexdigest()
        self.asked: list[str] = []

    def __call__(self, url: str, _timeout: float, _credentials: bool) -> Any:
        assert url.startswith(f"{MIRROR}/v3.0."), url
        name = url.rpartition("/")[2]
        self.asked.append(name)
        if name.endswith(".sha256"):
            return Answer(f"{self.digest}  {name[: -len('.sha256')]}\n".encode())
        return Answer(self.content)

    def web(self) -> Web:
        return Web(self, 10)


@pytest.fixture(autouse=True)
def debian_12(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host for which there is a published build."""
    monkeypatch.setattr(_binary, "host_glibc", lambda: (2, 36))
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "db", "6", "1", "x86_64")))


@pytest.fixture
def release(tmp_path: Path) -> Wanted:
    """The release of the default version; nothing stands there yet."""
    config = tmp_path / "etc"
    config.mkdir()
    return Wanted(str(tmp_path / "bin" / "wal-g-3.0.8"), "3.0.8", mirror=MIRROR, config_dir=str(config))


@pytest.fixture
def given(release: Wanted, tmp_path: Path) -> Wanted:
    """The same from a file."""
    source = tmp_path / "src"
    source.write_bytes(build())
    return replace(release, src=str(source), checksum="sha256:" + hashlib.sha256(build()).hexdigest())


def put(wanted: Wanted, mirror: Mirror, *, dry: bool = False) -> Placed:
    return _wanted.put_in_place(Runner(), mirror.web(), wanted, _workshop.starter(None), None if dry else 0.3)


def there(wanted: Wanted) -> bool:
    return _wanted.in_place(Runner(), wanted, _workshop.starter(None))


def test_check_do_check_do_of_a_release(release: Wanted) -> None:
    mirror, path = Mirror(build()), Path(release.path)
    foretold = put(release, mirror, dry=True)
    assert (foretold.changed, path.parent.exists(), there(release)) == (True, False, False)
    assert mirror.asked == [f"{ASSET}.sha256"], "of a release, check mode fetches the digest alone"
    done = put(release, mirror)
    assert (done.changed, done.before.diff(), done.now.reported) == (True, foretold.before.diff(), "v3.0.8")
    assert (path.read_bytes(), path.stat().st_mode & 0o7777, there(release)) == (build(), 0o755, True)
    assert sorted(os.listdir(path.parent)) == [_installed.NAME, "wal-g-3.0.8"]
    before, mirror = files(path.parent), Mirror(b"not asked")
    for dry in (True, False):
        again = put(release, mirror, dry=dry)
        assert (again.changed, files(path.parent), mirror.asked) == (False, before, [])


def test_a_file_is_checked_and_put_in_place(given: Wanted) -> None:
    mirror = Mirror(b"not asked")
    assert put(given, mirror, dry=True).changed is True
    assert put(given, mirror).changed is True
    assert (Path(given.path).read_bytes(), there(given), mirror.asked) == (build(), True, [])
    os.unlink(given.src)
    assert put(given, mirror).changed is False, "what is in its place needs no source"


def test_what_the_record_does_not_know_is_looked_up_and_stays_somebody_s_own(release: Wanted) -> None:
    put(release, Mirror(build()))
    (Path(release.directory) / _installed.NAME).unlink()
    assert there(release) is False
    mirror = Mirror(build())
    assert (put(release, mirror).changed, mirror.asked) == (False, [f"{ASSET}.sha256"])


@pytest.mark.parametrize("what", ["mode", "content", "config", "staged", "gone"])
def test_whatever_differs_is_not_in_place(release: Wanted, what: str) -> None:
    put(release, Mirror(build()))
    assert there(release) is True
    path = Path(release.path)
    if what == "mode":
        path.chmod(0o700)
    elif what == "content":
        path.write_bytes(build(note="another build"))
    elif what == "config":
        release = replace(release, config_dir="/etc/other")
    elif what == "staged":
        Path(_installed.staged_path(release.path)).touch()
    else:
        path.unlink()
    assert there(release) is False
    if what != "staged":
        assert put(release, Mirror(build())).changed is True
        assert there(release) is True


def test_another_version_stays_beside_it(release: Wanted) -> None:
    put(release, Mirror(build()))
    other = replace(release, version="3.0.7", path=release.path.replace("3.0.8", "3.0.7"))
    placed = put(other, Mirror(build("3.0.7")))
    assert (placed.changed, placed.others) == (True, [release.path])
    assert (there(release), there(other)) == (True, True)


@pytest.mark.parametrize(
    ("mirror", "text"),
    [
        (Mirror(build("3.0.7")), "reports version 'v3.0.7', expected '3.0.8'"),
        (Mirror(build(), "0" * 64), "it is another file, or damaged. Nothing was installed."),
        (Mirror(b"#!/bin/sh\nexit 3\n"), "--version ended with 3"),
        (Mirror(b"\x1f\x8b\x08\0"), "is a compressed archive"),
    ],
)
def test_what_is_not_what_was_asked_for_is_not_installed(release: Wanted, mirror: Mirror, text: str) -> None:
    old = replace(release, version="3.0.7", path=release.path.replace("3.0.8", "3.0.7"))
    put(old, Mirror(build("3.0.7")))
    before = files(Path(release.directory))
    with pytest.raises(WalgError) as caught:
        put(release, mirror)
    assert text in caught.value.msg
    after = files(Path(release.directory))
    assert {name for name in after if name != "."} == {name for name in before if name != "."}
    assert there(old) is True


def test_a_network_that_is_not_there(release: Wanted) -> None:
    def offline(url: str, *_: object) -> Any:
        raise urllib.error.URLError("Name or service not known")

    for dry in (True, False):
        with pytest.raises(
            WalgError, match=r"could not be fetched: Name or service not known\. If this host can't reach"
        ):
            _wanted.put_in_place(Runner(), Web(offline, 10), release, None, None if dry else 1)
    assert not Path(release.directory).exists()


def test_a_release_is_brought_beside_its_place_once(release: Wanted) -> None:
    """For whoever asks the storage with it first; what is in its place is not touched, and nothing is fetched twice."""
    mirror = Mirror(build())
    with _wanted.locked_workshop(Runner(), release, _workshop.starter(None), 1) as shop:
        made = _wanted.plan(shop, mirror.web(), release)
        brought = _wanted.brought(shop, mirror.web(), made)
        assert _wanted.brought(shop, mirror.web(), replace(made, fetch="")).fetch == ""
    staged = _installed.staged_path(release.path)
    assert (brought.src, os.path.exists(staged), os.path.exists(release.path)) == (staged, True, False)
    assert put(release, mirror).changed is True
    assert (mirror.asked.count(ASSET), os.path.exists(staged), there(release)) == (1, False, True)


def test_a_package_is_only_looked_at(release: Wanted) -> None:
    package = replace(release, managed=False)
    with pytest.raises(WalgError, match="Install the package that brings it, or leave walg_binary_path out"):
        put(package, Mirror(b""))
    assert there(package) is False
    Path(package.directory).mkdir()
    Path(package.path).write_bytes(build())
    Path(package.path).chmod(0o755)
    before = files(Path(package.directory))
    placed = put(package, Mirror(b""))
    assert (placed.changed, there(package), files(Path(package.directory))) == (False, True, before)
    assert there(replace(package, version="3.0.7")) is False


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"version": "../x"}, "is not a version of WAL-G"),
        ({"path": "bin/wal-g"}, "walg_binary_path"),
        ({"path": "/usr/../bin/wal-g"}, "walg_binary_path"),
    ],
)
def test_a_place_that_can_not_be_meant(release: Wanted, change: dict[str, Any], text: str) -> None:
    release.refuse_place()
    with pytest.raises(WalgError, match=text):
        replace(release, **change).refuse_place()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could be harmed")
@pytest.mark.parametrize(
    ("which", "named"), [("path", "The directory of walg_binary_path"), ("config_dir", "walg_config_dir")]
)
def test_a_place_that_others_can_exchange(release: Wanted, tmp_path: Path, which: str, named: str) -> None:
    loose = tmp_path / "loose"
    loose.mkdir()
    os.chown(loose, 65534, 65534)
    wanted = replace(release, **{which: str(loose / "wal-g" if which == "path" else loose)})
    with pytest.raises(WalgError, match=named):
        wanted.refuse_place()
    if which == "path":
        replace(wanted, managed=False).refuse_place()  # of a package only the file counts


def test_credentials_are_not_sent_without_encryption(release: Wanted) -> None:
    digest = "sha256:" + "0" * 64
    plain = replace(release, mirror="http://mirror.example.com", checksum=digest, credentials=True)
    with pytest.raises(WalgError, match="user name and password are not sent over it"):
        put(plain, Mirror(b""))


@contextlib.contextmanager
def another_run(directory: str) -> Any:
    """Another process of ours installs there."""
    ready, over = threading.Event(), threading.Event()

    def works() -> None:
        with _locks.directory_locked(directory, 0):
            ready.set()
            over.wait(10)

    thread = threading.Thread(target=works)
    thread.start()
    ready.wait(10)
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("act", [put, lambda wanted, _mirror: _wanted.prune(Runner(), wanted, 0, "main", 0.3)])
def test_only_one_run_writes_there(release: Wanted, act: Callable[[Wanted, Mirror], Any]) -> None:
    put(release, Mirror(build()))
    put(replace(release, version="3.0.7", path=release.path.replace("3.0.8", "3.0.7")), Mirror(build("3.0.7")))
    Path(release.path).chmod(0o700)
    with another_run(release.directory), pytest.raises(WalgError, match=r"did not end within 0\.3 s\. Try again"):
        act(release, Mirror(build()))
    act(release, Mirror(build()))


def test_old_versions_go(release: Wanted) -> None:
    put(release, Mirror(build()))
    newer = replace(release, version="3.0.7", path=release.path.replace("3.0.8", "3.0.7"))
    put(newer, Mirror(build("3.0.7")))
    before = files(Path(release.directory))
    foretold = _wanted.prune(Runner(), newer, 0, "main", None)
    assert (foretold.removed, files(Path(release.directory))) == ([release.path], before)
    assert _wanted.prune(Runner(), newer, 0, "main", 1).removed == [release.path]
    assert not os.path.exists(release.path)
    assert _wanted.prune(Runner(), newer, 0, "main", 1).changed is False
