# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which WAL-G tests and demo use: the release that the collection installs, from a mirror on loopback; else the built one, with the reason.

The mirror serves a stand-in of a few bytes, under the names and with the digest that a release has.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import check
import fetch_release
import locations
import parts
import pytest
import released
import tools as toolchain
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from locations import ToolError, tools_dir
from support import releases
from support.gcs import certificate
from support.releases import Releases

VERSION = released.wanted_version()
NEWEST = max(int(major) for major in locations.VERSIONS["postgres"])


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tools folder in which nothing but the venv is installed."""
    venv = tools_dir() / "venv"
    for name in ("WALG_BINARY", "WALG_RELEASES", "PG_MAJOR", "RETRY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    place = tmp_path / "tools"
    place.mkdir()
    (place / "venv").symlink_to(venv)
    monkeypatch.setenv("WALG_TOOLS_DIR", str(place))
    return place


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    path = tmp_path / "stand-in"
    path.write_text(f"#!/bin/sh\nprintf 'wal-g version v{VERSION}\\tx\\ty\\tPostgreSQL\\n'\n")
    return path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return certificate(tmp_path_factory.mktemp("certificates"), "localhost")


@pytest.fixture
def mirror(
    tmp_path: Path, certificates: tuple[Path, Path, Path], stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Releases]:
    with Releases(tmp_path / "mirror", certificates=certificates) as it:
        it.publish(stand_in, VERSION)
        monkeypatch.setenv("WALG_RELEASES", it.url)
        monkeypatch.setenv("SSL_CERT_FILE", it.ca)
        monkeypatch.setenv("no_proxy", "localhost")
        yield it


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask in this process: what starts the other one is shown by the tests without this."""

    def ask(command: str, version: str, seconds: int, folder: str) -> dict[str, Any]:
        return fetch_release.ask(command, version, locations.release_server(), seconds, folder)

    monkeypatch.setattr(released, "ask", ask)


def built() -> Path:
    return tools_dir() / "walg" / "wal-g"


def test_the_release_is_had_once_and_used_with_the_newest_postgresql(mirror: Releases, stand_in: Path) -> None:
    assert released.due()
    released.obtain()
    [digest, _again, asset] = [path for path, _sent in mirror.requests]
    assert digest == f"{asset}.sha256"
    assert asset.rpartition("/")[2] in releases.assets(VERSION)[1]
    chosen = locations.walg()
    assert chosen.binary == tools_dir() / "release" / "wal-g"
    assert chosen.binary.read_bytes() == stand_in.read_bytes()
    assert (locations.pg_major(), parts.walg_part()) == (NEWEST, None)
    assert locations.static_walg() == built(), "older hosts can't run the build for this one"
    assert released.first_line() == (
        f"WAL-G v{VERSION} with PostgreSQL {NEWEST}: the release that the collection installs, from {mirror.url}{asset}"
    )
    assert sorted(path.name for path in chosen.binary.parent.iterdir()) == ["note.json", "wal-g"]
    assert not released.due()


@pytest.mark.usefixtures("at_once")
def test_a_release_that_was_changed_here_is_had_again(mirror: Releases) -> None:
    released.obtain()
    binary = locations.walg().binary
    binary.write_bytes(binary.read_bytes() + b"#")
    assert released.due()
    released.obtain()
    assert not released.due()


@pytest.mark.usefixtures("at_once")
def test_another_version_is_asked_for(mirror: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    released.obtain()
    monkeypatch.setattr(released, "wanted_version", lambda: "3.0.7")
    assert released.due()


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("end", ["the digest", "the build"])
def test_a_wrong_digest_is_an_error_and_nothing_is_built_instead(mirror: Releases, stand_in: Path, end: str) -> None:
    if end == "the digest":
        mirror.faults.append((".sha256", releases.answer(b"0" * 64 + b"\n")))
    else:
        mirror.faults.append(("-amd64", releases.answer(stand_in.read_bytes() + b"\n")))
    for _turn in range(2):
        with pytest.raises(
            ToolError, match=r"The digest of https://.* is \w{64}, expected \w{64}: .*WALG_RELEASES=none"
        ):
            released.obtain()
        assert list((tools_dir() / "release").iterdir()) == []
        assert released.due(), "the next run must stumble over it again"


@pytest.mark.usefixtures("at_once")
def test_an_answer_that_is_no_digest_is_an_error(mirror: Releases) -> None:
    mirror.faults.append((".sha256", releases.answer(b"<html>Please log in</html>\n")))
    with pytest.raises(ToolError, match="is not the digest of one file"):
        released.obtain()


@pytest.mark.usefixtures("at_once")
def test_a_build_of_another_version_is_an_error(mirror: Releases, stand_in: Path) -> None:
    stand_in.write_text(stand_in.read_text().replace(VERSION, "3.0.1"))
    mirror.publish(stand_in, VERSION)
    with pytest.raises(ToolError, match=f"reports version 'v3.0.1', expected '{VERSION}'"):
        released.obtain()


def test_a_server_that_is_away_is_remembered_for_a_day(mirror: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    url = mirror.url
    mirror.__exit__()
    released.obtain()
    chosen = locations.walg()
    assert (chosen.binary, locations.pg_major()) == (built(), locations.VERSIONS["postgres_default"])
    assert chosen.why.startswith(f"built from source, because the release {VERSION} can't be had: {url}/v{VERSION}/")
    assert "Connection refused" in chosen.why
    assert "walg_binary" not in chosen.why, "advice for plays helps nobody here"
    part = parts.walg_part()
    assert part is not None
    assert part.outputs[0] == built()
    assert not released.due()
    monkeypatch.setenv("RETRY", "1")
    assert released.due()
    monkeypatch.delenv("RETRY")
    monkeypatch.setenv("WALG_RELEASES", "https://localhost:1")
    assert released.due(), "another server is another question"
    monkeypatch.setenv("WALG_RELEASES", url)
    note = tools_dir() / "release" / "note.json"
    old = json.loads(note.read_text())
    note.write_text(json.dumps({**old, "at": time.time() - released.DAY - 1}))
    assert released.due()


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (releases.status(404), "answered 404 Not Found."),
        (releases.status(503), "answered 503 Service Unavailable."),
        (releases.redirect_to("http://localhost/elsewhere"), "leads to http://localhost, without encryption"),
    ],
)
def test_a_server_without_the_release(mirror: Releases, fault: releases.Fault, reason: str) -> None:
    mirror.faults.append((".sha256", fault))
    released.obtain()
    assert reason in locations.walg().why
    assert locations.walg().binary == built()


@pytest.mark.usefixtures("at_once", "mirror")
def test_a_machine_for_which_there_is_no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine="riscv64"))
    released.obtain()
    assert f"can't be had: WAL-G's releases hold no build of {VERSION} for riscv64" in locations.walg().why
    assert locations.walg().binary == built()


def test_a_machine_that_lacks_a_library_can_use_the_built_one() -> None:
    """It is no fault of the file; everything else that is found out about that is an error."""
    assert fetch_release.outcome(WalgError("does not start", missing=["liblzo2.so.2"], rc=127)) == "unfit"
    assert fetch_release.outcome(WalgError("does not start", rc=127)) == "wrong"


@pytest.mark.usefixtures("at_once")
def test_a_download_that_breaks_off(mirror: Releases) -> None:
    mirror.faults.append(("-amd64", releases.cut_off))
    released.obtain()
    assert "was cut off after 5004 of 1000000 bytes" in locations.walg().why
    assert [path.name for path in (tools_dir() / "release").iterdir()] == ["note.json"]


def test_a_server_that_says_nothing_is_not_waited_for(mirror: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.faults.append((".sha256", releases.hang))
    monkeypatch.setattr(released, "SHORT", 1)
    monkeypatch.setattr(released, "LOOK_UP", 40)  # the client's own limit is the earlier one on a busy machine, too
    start = time.monotonic()
    released.obtain()
    assert time.monotonic() - start < 40, "it would be silent for a minute"
    assert "was not here after 1 s" in locations.walg().why


def test_names_that_are_looked_up_for_ever_are_not_waited_for(
    mirror: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's own limit can't interrupt that; here it is the limit which is too late."""
    mirror.faults.append((".sha256", releases.hang))
    monkeypatch.setattr(released, "LOOK_UP", 1 - released.SHORT)
    released.obtain()
    assert "the server did not answer within 1 s" in locations.walg().why


def test_a_proxy_is_used(mirror: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("https_proxy", "http://localhost:1")
    released.obtain()
    assert "Connection refused" in locations.walg().why
    assert mirror.requests == []


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    "server", ["http://localhost", "https://", "ftp://localhost/x", "https://me:open@localhost", "mirror"]
)
def test_what_is_no_server_of_releases(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALG_RELEASES", server)
    with pytest.raises(ToolError, match="WALG_RELEASES must be a URL that begins with https://"):
        released.obtain()


def test_nobody_is_asked_where_another_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in: Path
) -> None:
    monkeypatch.setenv("WALG_RELEASES", "none")
    assert not released.due()
    with pytest.raises(ToolError, match=r"there is no .*/walg/wal-g yet: make tools"):
        released.first_line()
    assert locations.walg() == locations.Walg(built(), "built from source, because WALG_RELEASES is none", 14)
    assert locations.static_walg() == built()
    monkeypatch.delenv("WALG_RELEASES")
    stand_in.chmod(0o755)
    monkeypatch.setenv("WALG_BINARY", str(stand_in))
    assert not released.due()
    assert (locations.walg().binary, locations.static_walg(), parts.walg_part()) == (stand_in, stand_in, None)
    assert released.first_line() == f"WAL-G v{VERSION} with PostgreSQL 14: WALG_BINARY names it"


@pytest.mark.usefixtures("at_once")
def test_the_digest_of_the_paths_is_that_of_the_release(mirror: Releases, stand_in: Path) -> None:
    """Plays of tests and demo give it to the collection."""
    released.obtain()
    found = locations.paths()
    assert found["walg_sha256"] == hashlib.sha256(stand_in.read_bytes()).hexdigest()
    assert "walg_binary" not in found["missing"]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the parts that would be installed."""
    names: list[str] = []

    def note(group: list[parts.Part]) -> list[str]:
        names.extend(part.name for part in group)
        return []

    monkeypatch.setattr(toolchain, "make_group", note)
    return names


def done() -> Future[list[str]]:
    venv: Future[list[str]] = Future()
    venv.set_result([])
    return venv


@pytest.mark.usefixtures("at_once", "mirror")
def test_make_tools_installs_the_postgresql_that_goes_with_the_release(made: list[str]) -> None:
    toolchain.make_chosen(done())
    assert made == [f"pg-{NEWEST}"], "and builds nothing"


@pytest.mark.usefixtures("at_once")
def test_make_tools_builds_where_the_release_is_away(
    made: list[str], mirror: Releases, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror.faults.append((".sha256", releases.status(404)))
    for said in (f"walg: asking for the release {VERSION}\n", ""):
        toolchain.make_chosen(done())
        assert made == ["pg-14", "walg"]
        assert capsys.readouterr().out == said
        made.clear()


@pytest.mark.usefixtures("at_once")
def test_make_tools_builds_nothing_in_place_of_a_wrong_file(made: list[str], mirror: Releases) -> None:
    mirror.faults.append(("-amd64", releases.answer(b"another file")))
    with pytest.raises(ToolError, match="The digest of"):
        toolchain.make_chosen(done())
    assert made == []


def test_make_test_begins_with_which_walg(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stand_in: Path
) -> None:
    stand_in.chmod(0o755)
    monkeypatch.setenv("WALG_BINARY", str(stand_in))
    monkeypatch.setattr(check, "run_step", lambda _step, _reports: 0)
    monkeypatch.setattr("sys.argv", ["check.py", "tools", "lint", "unit"])
    assert check.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"WAL-G v{VERSION} with PostgreSQL 14: WALG_BINARY names it", "=== lint"]


def test_hosts_are_given_the_static_walg() -> None:
    """The release for this machine does not start on an older system."""
    texts = [path.read_text(encoding="utf-8") for path in locations.HERE.glob("*.py")]
    given = [line for text in texts for line in text.splitlines() if '"WALG_BINARY_BUILT":' in line]
    assert given
    assert [line for line in given if "walg_static" not in line] == []
