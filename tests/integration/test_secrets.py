# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets are planted in every option that takes one, and looked for everywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from support.observe import ProcessWatch, Syslog
from support.sandbox import Sandbox

#: What is refused, and not shown by that.
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"walg_secrets": "PlantedString7"}, "dictionary"),
    ({"walg_settings": "PlantedString7"}, "dictionary"),
    ({"walg_settings": ["PlantedListed7"]}, "dictionary"),
    ({"walg_secrets": {"AWS_SECRET_ACCES_KEY": "PlantedTypo7"}}, "AWS_SECRET_ACCESS_KEY"),
    ({"walg_settings": {"AWS_SECRET_ACCESS_KEY": "PlantedOpenly7"}}, "walg_secrets"),
    ({"walg_settings": {"HTTPS_PROXY": "me:PlantedProxy7@proxy:3128"}}, "walg_secrets"),
    ({"walg_settings": {"AWS_ENDPOINT": "https://host/?X-Amz-Signature=PlantedToken7"}}, "walg_secrets"),
    ({"walg_settings": {"WALG_PGP_KEY_PATH": "PlantedKeyText7"}}, "absolute path"),
    ({"walg_google_credentials": "PlantedNoJson7"}, "not the JSON"),
    ({"walg_google_credentials": ["PlantedListedKey7"]}, "neither the text"),
    ({"walg_google_credentials": {"installed": {"client_secret": "PlantedClient7"}}}, "OAuth client"),
    ({"walg_google_credentials": {"type": "service_account", "private_key": "PlantedNoPem7"}}, "client_email"),
    ({"walg_secrets": {"WALG_PGP_KEY": "PlantedNoKey7"}}, "gpg --armor"),
    ({"walg_secrets": {"WALG_LIBSODIUM_KEY": "PlantedShort7"}}, "fewer than"),
    ({"walg_storage": "s3://me:PlantedUser7@bucket/path"}, "credentials"),
    ({"walg_storage": "s3://bucket/path?X-Amz-Signature=PlantedQuery7"}, "query"),
    ({"walg_storage": "bucket:PlantedBare7@host"}, "scheme"),
    ({"walg_binary_src": "", "walg_binary_mirror": "http://PlantedMirror7@127.0.0.1:9/x"}, "walg_binary_mirror"),
    ({"walg_binary_src": "", "walg_binary_mirror": "https://127.0.0.1:9/x?token=PlantedToken7"}, "walg_binary_mirror"),
    (
        {"walg_restore_request": "r", "walg_restore_primary_conninfo": "host=a password = 'PlantedWord7 it\\'s'"},
        "holds a password",
    ),
    ({"walg_restore_request": "r", "walg_restore_primary_conninfo": "postgres://a:PlantedUri7@b"}, "holds a password"),
    ({"walg_restore_request": "r", "walg_restore_primary_conninfo": "postgres://b?pass%77ord=PlantedQ7"}, "holds a"),
    ({"walg_restore_request": "r", "walg_restore_primary_conninfo": "PlantedNoAddress7"}, "is not an address"),
    ({"walg_restore_request": "r", "walg_restore_settings": {"ssl_passphrase_command": "PlantedCommand7"}}, "secret"),
]


def test_secrets_are_seen_nowhere(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    cluster = sandbox.cluster("main")
    sandbox.storage("main")
    first = {
        "AWS_SECRET_ACCESS_KEY": "PlantedOne7",
        "AWS_ACCESS_KEY_ID": "PlantedTwo7",
        "AZURE_STORAGE_ACCESS_KEY": "PlantedThree7",
    }
    second = {**first, "AWS_SECRET_ACCESS_KEY": "PlantedFour7", "SSH_PASSWORD": "PlantedFive7"}
    seen = ""
    with ProcessWatch() as watch, _system_log() as log:
        for number, (secrets, arguments) in enumerate(
            ((first, ("--diff", "-vvv")), (second, ("--check", "--diff", "-vvv")))
        ):
            pem = f"-----BEGIN PRIVATE KEY-----\nPlantedKey{number}7\n-----END PRIVATE KEY-----\n"
            content = {
                "type": "service_account",
                "client_email": "a@b.example",
                "private_key": pem,
                "more": ["PlantedMore7"],
            }
            key = content if number else json.dumps(content)
            variables = sandbox.variables(cluster, walg_secrets=secrets, walg_google_credentials=key)
            play = sandbox.play(
                "mapswipe.walg.site", variables, *arguments, env={"ANSIBLE_PIPELINING": str(bool(number))}
            )
            assert play.rc == 0, play.stdout
            seen += play.stdout + json.dumps(play.results)
        for given, hint in WRONG:
            name = "restore" if any("restore" in key for key in given) else "site"
            play = sandbox.play(
                f"mapswipe.walg.{name}", {**sandbox.variables(cluster), **given}, "-vvv", "-e", "walg_hosts=db"
            )
            assert (play.rc != 0, hint in play.failure()) == (True, True), (given, play.failure())
            seen += play.stdout + json.dumps(play.results)
    assert "(secret, changed)" in seen, "a changed secret shows as changed"
    assert "Planted" not in seen
    assert not [line for line in watch.seen if "Planted" in line]
    assert [line for line in watch.seen if "backup-push" in line], "the watch sees what runs"
    if log is not None:
        assert "walg_backup" in log.text
        assert "Planted" not in log.text
    holders = [path for path in sandbox.root.rglob("*") if path.is_file() and b"Planted" in path.read_bytes()]
    mine = {path.name for path in holders if sandbox.control in path.parents}
    assert {name.partition("-")[0] for name in mine} == {"inventory"}, "neither an answer nor a file that Ansible sent"
    outside = [path for path in holders if sandbox.control not in path.parents]
    assert {path.name for path in outside} == {"main.json", "main.credentials.json"}
    assert {path.stat().st_mode & 0o777 for path in outside} == {0o600}
    assert "PlantedOne7" in (sandbox.host / "config" / "main.json").read_text()


class _Nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def _system_log() -> Any:
    """Listen where modules log to; not possible where a daemon does, or without the right to."""
    return Syslog() if os.geteuid() == 0 and not os.path.lexists("/dev/log") else _Nothing()
