# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance in a container: what the machine gives to the inside, and what is made, answered and removed on the machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._container import _placed, _session
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _inside
from ansible_collections.mapswipe.walg.plugins.module_utils._install import _installed
from ansible_collections.mapswipe.walg.plugins.module_utils._install._download import Web
from ansible_collections.mapswipe.walg.plugins.module_utils._job import _programs
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _enter, _enter_instance
from support.helper_engine import HELPER, SERVER, EndedError, Helpers, Module, Work, end, placed, write

BUILD = b"a build of WAL-G"
SUM = hashlib.sha256(BUILD).hexdigest()
KNOWN = {"changed": False, "steps": [], "directories": {}, "diff": []}


def offline(url: str, *_: object) -> Any:
    raise AssertionError(f"asked for {url}")


class Host:
    """A machine with a record, and a module with the options of walg_instance."""

    def __init__(self, root: Path) -> None:
        self.root, self.where = root, placed(root)
        self.config, self.cron, self.program = root / "etc", root / "cron", Path(self.where.program_dir)
        for path in (self.config, self.cron, Path(self.where.kit)):
            path.mkdir(parents=True)
        write(self.where, self.config)
        self.module = Module(
            {
                "instance": "main",
                "state": "present",
                "purpose": "backup",
                "directories": {"config_dir": str(self.config), "cron_dir": str(self.cron)},
                "cluster": {},
                "settings": {"A": "b"},
                "secrets": {},
                "version": "3.0.8",
                "binary": None,
                "binary_src": None,
                "binary_remote_src": False,
                "binary_checksum": f"sha256:{SUM}",
            }
        )

    @property
    def params(self) -> dict[str, Any]:
        return self.module.params

    @property
    def wal_g(self) -> Path:
        """Where WAL-G will be."""
        return Path(self.where.directories()["bin_dir"], "wal-g-3.0.8")

    @property
    def upload(self) -> Path:
        """Where the controller's file is uploaded to."""
        return Path(self.where.base, "upload", os.path.basename(_installed.staged_path(str(self.wal_g))))

    def uploaded(self) -> Path:
        self.upload.parent.mkdir(parents=True, exist_ok=True)
        self.upload.write_bytes(BUILD)
        return self.upload

    def enter(self) -> None:
        _enter_instance.enter(self.module, Web(offline, 1.0))

    def answer(self) -> dict[str, Any]:
        with pytest.raises(EndedError) as caught:
            self.enter()
        caught.value.answer.pop("invocation", None)
        return caught.value.answer


@pytest.fixture
def host(tmp_path: Path, engine: Helpers, monkeypatch: pytest.MonkeyPatch) -> Host:
    assert engine
    monkeypatch.setattr(_enter_instance, "_BUNDLES", (str(tmp_path / "bundle"),))
    monkeypatch.setattr(_enter_instance._given, "complete", lambda *_: None)
    monkeypatch.setattr(_enter.sys, "excepthook", _enter.sys.excepthook)
    monkeypatch.setattr(_inside, "_current", [])
    monkeypatch.setattr(_programs, "interpreter", lambda *_: "/usr/bin/python3")
    monkeypatch.setattr(_programs, "_compile", lambda *_: None)
    return Host(tmp_path)


def inside(then: Callable[[], object] = lambda: None) -> Callable[[Any], None]:
    """Go on as the inside; ``then``: what is different in there."""

    def enter(_offers: Any) -> None:
        line: Any = None
        _inside.enter(_inside.Inside(line, "m", served=True))
        then()

    return enter


def steps(answer: dict[str, Any]) -> list[str]:
    return [one["step"] for one in answer["steps"]]


# --- where the work goes on -------------------------------------------------------------------------------------------


def test_an_instance_of_this_machine(host: Host, engine: Helpers, work: Work) -> None:
    os.unlink(_placed.record_path(str(host.config), "main"))
    host.enter()
    assert (engine.calls, work.where) == ([], [])


@pytest.mark.parametrize("purpose", ["backup", "restore"])
def test_a_server_that_does_not_run(host: Host, engine: Helpers, work: Work, purpose: str) -> None:
    engine.containers[0]["State"].update(Status="exited", Pid=0)
    host.params["purpose"] = purpose
    work.ends = [end(**KNOWN)]
    told = host.answer()
    assert bool(told.get("failed")) is (purpose == "backup")
    assert work.where == ([] if purpose == "backup" else [(HELPER, False, "")])
    assert engine.verbs() == ([] if purpose == "backup" else ["run", "rm"])


def test_the_container_s_variables_complete_the_options(
    host: Host, engine: Helpers, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def complete(_params: Any, variables: Any) -> None:
        monkeypatch.setattr(_enter._engine, "variables", lambda *_: {"PGDATA": "/data"})
        seen.append(variables()["PGDATA"])
        raise WalgError("Not complete.")

    monkeypatch.setattr(_enter_instance._given, "complete", complete)
    assert host.answer()["msg"] == "Not complete."
    assert (seen, work.where) == (["/data"], [])
    assert engine.done() == []


# --- WAL-G ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("dry", [False, True])
def test_wal_g_is_given(host: Host, work: Work, remote: bool, dry: bool) -> None:
    source = host.root / "wal-g" if remote else host.uploaded()
    source.write_bytes(BUILD)
    host.params.update(binary_src=str(source) if remote else "files/wal-g", binary_remote_src=remote)
    host.module.check_mode = dry
    # The machine's files are not to be seen in there; what was opened before is.
    work.ends = [inside(lambda: source.rename(host.root / "hidden"))]
    host.enter()
    staged = Path(_installed.staged_path(str(host.wal_g)))
    assert host.params["binary_remote_src"] is False
    assert staged.exists() is not dry
    if not dry:
        assert (staged.read_bytes(), staged.stat().st_mode & 0o7777) == (BUILD, 0o755)
        assert os.listdir(staged.parent) == [staged.name]


def test_a_part_of_a_killed_run_is_replaced(host: Host, work: Work) -> None:
    host.uploaded()
    host.params["binary_src"] = "files/wal-g"
    staged = Path(_installed.staged_path(str(host.wal_g)))
    staged.parent.mkdir(parents=True)
    elsewhere = host.root / "elsewhere"
    Path(f"{staged}.part").symlink_to(elsewhere)
    work.ends = [inside()]
    host.enter()
    assert (staged.read_bytes(), elsewhere.exists(), staged.is_symlink()) == (BUILD, False, False)


def test_wal_g_that_is_there_is_not_given_again(host: Host, work: Work) -> None:
    host.uploaded()
    host.params["binary_src"] = "files/wal-g"
    host.wal_g.parent.mkdir(parents=True)
    host.wal_g.write_bytes(BUILD)
    host.wal_g.chmod(0o755)
    work.ends = [inside()]
    host.enter()
    assert not os.path.lexists(_installed.staged_path(str(host.wal_g)))


def test_a_source_that_is_not_here(host: Host, work: Work) -> None:
    """It may not be needed, and who needs it says so."""
    host.params.update(binary_src=str(host.root / "none"), binary_remote_src=True)
    work.ends = [inside()]
    host.enter()
    assert (host.params["binary_remote_src"], os.path.lexists(_installed.staged_path(str(host.wal_g)))) == (
        False,
        False,
    )


def test_no_descriptor_is_left(host: Host, work: Work) -> None:
    host.uploaded()
    host.params["binary_src"] = "files/wal-g"
    host.program.mkdir()
    before = sorted(os.listdir("/proc/self/fd"))
    work.ends = [end(**KNOWN)]
    host.answer()
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("uploaded", [False, True])
def test_where_to_upload(host: Host, work: Work, uploaded: bool) -> None:
    """The inside asks for a file; what was uploaded and taken is removed."""
    host.params["binary_src"] = "files/wal-g"
    if uploaded:
        host.uploaded()
    work.ends = [end(**KNOWN, upload="/in/there")]
    told = host.answer()
    assert told.get("upload") == (None if uploaded else str(host.upload))
    assert not host.upload.exists()


def test_an_upload_outlives_check_mode(host: Host, work: Work) -> None:
    host.params["binary_src"] = "files/wal-g"
    host.uploaded()
    host.module.check_mode = True
    work.ends = [end(**KNOWN)]
    host.answer()
    assert host.upload.read_bytes() == BUILD


# --- settings ---------------------------------------------------------------------------------------------------------


def test_proxies_of_the_container(host: Host, engine: Helpers, work: Work) -> None:
    engine.containers[0]["Config"]["Env"] += [
        "HTTPS_PROXY=http://proxy:3128",
        "HTTP_PROXY=http://user:secret@proxy:3128",
        "NO_PROXY=localhost",
    ]
    host.params["settings"] = {"NO_PROXY": "mine"}
    work.ends = [inside()]
    host.enter()
    assert host.params["settings"] == {"NO_PROXY": "mine", "HTTPS_PROXY": "http://proxy:3128"}


@pytest.mark.parametrize("dry", [False, True])
def test_an_image_without_certificates(host: Host, work: Work, dry: bool) -> None:
    """In check mode it is foretold only where it lies already."""
    bundle, path = host.root / "bundle", Path(host.where.kit, "certs", "ca-certificates.crt")
    bundle.write_text("certificates")
    host.module.check_mode = dry
    given, params = dict(host.params), host.params
    for text in ("certificates", "newer"):
        bundle.write_text(text)
        params.update(given)
        work.ends = [inside(bundle.unlink)]
        _inside._current[:] = []
        host.enter()
        wanted = {} if dry else {"SSL_CERT_FILE": str(path)}
        assert params["settings"] == {"A": "b", **wanted}
        assert path.exists() is not dry
        if not dry:
            assert (path.read_text(), path.stat().st_mode & 0o7777) == (text, 0o644)


@pytest.mark.parametrize("why", ["the image has its own", "named", "a directory is named", "the machine has none"])
def test_certificates_that_are_not_given(host: Host, work: Work, why: str) -> None:
    bundle, given = host.root / "bundle", {"named": "SSL_CERT_FILE", "a directory is named": "SSL_CERT_DIR"}.get(why)
    if why != "the machine has none":
        bundle.write_text("certificates")
    settings = {given: "/mine"} if given else {}
    host.params["settings"] = dict(settings)
    work.ends = [inside() if why == "the image has its own" else inside(lambda: bundle.unlink(missing_ok=True))]
    host.enter()
    assert host.params["settings"] == settings
    assert not Path(host.where.kit, "certs").exists()


# --- the machine ------------------------------------------------------------------------------------------------------


def test_the_job_is_on_the_machine(host: Host, work: Work) -> None:
    host.module.check_mode = True
    work.ends = [end(**KNOWN) for _turn in range(4)]
    foretold = host.answer()
    assert (foretold["changed"], steps(foretold), host.program.exists()) == (True, ["programs"], False)
    host.module.check_mode = False
    done = host.answer()
    assert (done["changed"], done["steps"], done["diff"]) == (True, foretold["steps"], foretold["diff"])
    assert {"walg-job", "wal-push", "mapswipe_walg"} <= set(os.listdir(host.program))
    for dry in (True, False):
        host.module.check_mode = dry
        again = host.answer()
        assert (again["changed"], again["steps"]) == (False, [])


def test_steps_of_both_are_told(host: Host, work: Work) -> None:
    known = {"step": "settings", "what": "x"}
    work.ends = [end(changed=True, steps=[known], directories={}, diff=[{"before": "a", "after": "b"}])]
    told = host.answer()
    assert (told["steps"][0], steps(told), len(told["diff"])) == (known, ["settings", "programs"], 2)


def test_a_failure_makes_nothing_on_the_machine(host: Host, work: Work) -> None:
    work.ends = [_session.End({"fail": {"msg": "No."}}, 1)]
    assert host.answer()["msg"] == "No."
    assert not host.program.exists()


@pytest.mark.parametrize("dry", [False, True])
def test_it_leaves_the_machine(host: Host, work: Work, dry: bool) -> None:
    work.ends = [end(**KNOWN), end(**KNOWN)]
    host.answer()
    schedule = host.cron / "mapswipe-walg-main"
    schedule.write_text("* * * * * root walg-job\n")
    host.module.check_mode = dry
    host.params["state"] = "absent"
    told = host.answer()
    assert (told["changed"], steps(told)) == (True, ["schedule", "programs"])
    assert (schedule.exists(), host.program.exists()) == (dry, dry)
    assert work.where[-1] == (SERVER, True, "")
