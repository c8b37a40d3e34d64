# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that WAL-G can't encrypt and decrypt with are found before archiving is on, without showing them. The keys are made by GnuPG."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.sandbox import Sandbox

_RIGHT = "RightPassphrase7"


@dataclass
class Keyring:
    """Keys in a GnuPG home of the test's own."""

    home: Path

    def gpg(self, *arguments: str) -> str:
        argv = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--pinentry-mode", "loopback", *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})
        assert done.returncode == 0, done.stderr
        return done.stdout

    def made(self, name: str, usage: str = "encr", passphrase: str = "", *more: str) -> str:
        """Return a private key of a kind."""
        self.gpg(
            "--passphrase", passphrase, *more, "--quick-generate-key", f"{name}@example.org", "rsa2048", usage, "30d"
        )
        return self.gpg("--passphrase", passphrase, "--armor", "--export-secret-keys", f"{name}@example.org")


@pytest.fixture(scope="module")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyring]:
    home = tmp_path_factory.mktemp("keys")
    home.chmod(0o700)
    yield Keyring(home)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=False, capture_output=True)


def test_each_is_found_before_anything_changes(make_sandbox: Callable[..., Sandbox], keyring: Keyring) -> None:
    sandbox = make_sandbox()
    cluster = sandbox.cluster("main")
    sandbox.storage("main")
    right, locked = keyring.made("right"), keyring.made("locked", passphrase=_RIGHT)
    expired = keyring.made("expired", "encr", "", "--faked-system-time", "20200101T000000")
    public = keyring.gpg("--armor", "--export", "right@example.org")
    path = sandbox.root / "public.asc"
    path.write_text(public)

    def asked(settings: dict[str, str], **secrets: str) -> dict[str, Any]:
        """Ask as the preflight does; nothing is on the host yet."""
        known = sandbox.module("walg_instance_info", info)
        options = {
            "storage": f"file://{sandbox.storage_dir}/main",
            "settings": settings,
            "secrets": secrets,
            "binary": str(sandbox.walg),
            "cluster": known["cluster"],
            "directories": known["directories"],
        }
        return sandbox.module("walg_storage_check", options)

    info = {
        "cluster": {key[len("walg_pg_") :]: value for key, value in cluster.variables().items()},
        "directories": {key[len("walg_") :]: value for key, value in sandbox.directories().items()},
    }
    wrong: list[tuple[dict[str, str], dict[str, str], str]] = [
        ({}, {"WALG_PGP_KEY": "PlantedNoKey7"}, "not an OpenPGP key in ASCII armor"),
        ({}, {"WALG_PGP_KEY": right.replace("\n", "\nPlanted", 4)}, "not an OpenPGP key in ASCII armor"),
        ({}, {"WALG_PGP_KEY": public}, "is a public key"),
        ({"WALG_PGP_KEY_PATH": str(path)}, {}, "a public key alone"),
        ({"WALG_PGP_KEY_PATH": "/nowhere/key"}, {}, "no such file"),
        ({"WALG_PGP_KEY_PATH": "/dev/null"}, {}, "WAL-G can't encrypt and decrypt"),
        ({}, {"WALG_PGP_KEY": expired}, "has expired"),
        ({}, {"WALG_PGP_KEY": keyring.made("signs", "sign")}, "only sign"),
        ({}, {"WALG_PGP_KEY": locked}, "passphrase is not given"),
        ({}, {"WALG_PGP_KEY": locked, "WALG_PGP_KEY_PASSPHRASE": "PlantedWrong7"}, "is not the key's"),
        ({}, {"WALG_LIBSODIUM_KEY": "Planted7" * 4}, "without libsodium"),
        ({"WALG_COMPRESSION_METHOD": "PlantedMethod"}, {}, "WAL-G can't compress"),
    ]
    for settings, secrets, hint in wrong:
        answer = asked(settings, **secrets)
        assert answer.get("failed"), (settings, secrets.keys())
        assert hint in answer["msg"], answer["msg"]
        told = str(answer).replace("PlantedMethod", "")
        assert "Planted" not in told
        assert not [line for key in (right, locked, expired) for line in key.splitlines()[2:5] if line in told]
    assert asked({}, WALG_PGP_KEY=right)["can_write"] is True
    assert asked({}, WALG_PGP_KEY=locked, WALG_PGP_KEY_PASSPHRASE=_RIGHT)["can_write"] is True
    play = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster, walg_secrets={"WALG_PGP_KEY": expired}))
    assert "has expired" in play.failure()
    assert cluster.sql("SHOW archive_mode") == "off"
    assert not (sandbox.host / "config").exists()
