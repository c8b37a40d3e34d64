# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: walg_instance for a server in a container: what the machine gives to the inside, and what stays on the machine."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _files
from .._host._files import FilePlan
from .._host._users import User
from .._install import _binary, _distant, _installed
from .._job import _programs
from . import _answer, _enter, _given, _make_ready, _remove
from ._steps import Steps

if TYPE_CHECKING:
    from .._install._download import Web

#: Where systems keep the certificates that they trust; the first that Go's library finds is used (crypto/x509, root_linux.go).
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def enter(module: _answer.Module, web: Web) -> None:
    """Complete the options; for a server in a container, return only inside of it."""
    try:
        outside, params = _enter.of(module, _distant.offers(web)), module.params
        if params["state"] == "present":
            _given.complete(params, outside.variables if outside else None)
        if outside is not None:
            _Instance(outside).run()
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)


class _Instance:
    """One run of walg_instance, seen from outside."""

    def __init__(self, outside: _enter.Outside) -> None:
        self.outside, self.module = outside, outside.module
        self.given = dict(outside.module.params)
        self.bundle = next((text for text in map(_files.read_text, _BUNDLES) if text), "")

    def run(self) -> None:
        """Return inside only."""
        source = self._source()
        served = self.given["purpose"] == "backup" or self.outside.running
        end = self.outside.served() if served else self.outside.beside()
        if source is not None and end is not None:
            os.close(source)
        if end is not None:
            self.outside.finish(end, self._removed if self.given["state"] == "absent" else self._completed)
        elif self.given["state"] == "present":
            self._give(source)

    def _source(self) -> int | None:
        """Open the file that WAL-G comes from, if it does and is here: given on this machine, or uploaded."""
        src = self.given["binary_src"]
        if not src:
            return None
        with contextlib.suppress(FileNotFoundError):
            return _files.open_regular(src if self.given["binary_remote_src"] else self._upload())
        return None

    def _place(self) -> str:
        """Return where WAL-G will be."""
        name = f"wal-g-{self.given['version']}"
        return str(self.given["binary"] or os.path.join(self.outside.placed.directories()["bin_dir"], name))

    def _upload(self) -> str:
        """Return where a file of the controller is uploaded to: where only root writes, unlike in the kit."""
        folder = os.path.join(self.outside.placed.base, "upload")
        return os.path.join(folder, os.path.basename(_installed.staged_path(self._place())))

    def _give(self, source: int | None) -> None:
        """Inside: take what the machine gives."""
        params, dry = self.module.params, self.module.check_mode
        settings = dict(params["settings"] or {})
        for name, value in self.outside.container.proxies.items():
            if "@" not in value:  # a password, which the record must not hold
                settings.setdefault(name, value)
        if not any(name in settings for name in _TRUST) and not any(map(os.path.exists, _BUNDLES)) and self.bundle:
            path = os.path.join(self.outside.placed.kit, "certs", "ca-certificates.crt")
            if not dry:
                _lay(path, self.bundle)
            if os.path.exists(path):
                settings["SSL_CERT_FILE"] = path
        params["settings"] = settings
        if params["binary_src"]:
            params["binary_remote_src"] = False
            if source is not None and not dry:
                self._stage(source)

    def _stage(self, source: int) -> None:
        """Lay WAL-G beside its place, as an upload does."""
        path = self._place()
        with contextlib.suppress(WalgError, OSError):
            made = _binary.plan_offline(
                path, _binary.parse_checksum(self.given["binary_checksum"]), path, self.given["version"]
            )
            if not made.changed:
                return
        staged = _installed.staged_path(path)
        FilePlan(os.path.dirname(path), None, 0o755, 0, 0, keep=True).apply()
        part = f"{staged}.part"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        with open(source, "rb") as stream, open(part, "xb") as copy:
            shutil.copyfileobj(stream, copy)
            os.fchmod(copy.fileno(), 0o755)
        os.replace(part, staged)

    def _completed(self, answer: dict[str, Any]) -> None:
        """Outside: the job is on the machine."""
        asked = answer.pop("upload", "") and not self.given["binary_remote_src"]
        if asked and not os.path.exists(self._upload()):
            answer["upload"] = self._upload()
        elif not self.module.check_mode:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._upload())
        directory = self.outside.placed.program_dir
        made = _programs.plan_all(self.outside.runner, directory, User.current())
        steps = Steps()
        _make_ready.put_programs(steps, made, self.module.check_mode)
        _add(answer, steps)

    def _removed(self, answer: dict[str, Any]) -> None:
        steps = Steps()
        _remove.remove_from_machine(
            self.outside.runner,
            steps,
            self.outside.placed,
            answer["directories"],
            self.module.check_mode,
        )
        _add(answer, steps)


def _add(answer: dict[str, Any], steps: Steps) -> None:
    answer["steps"] = [*answer["steps"], *steps.done]
    answer["diff"] = [*answer.get("diff", []), *steps.diffs]
    answer["changed"] = answer["changed"] or steps.changed


def _lay(path: str, text: str) -> None:
    for one in (FilePlan(os.path.dirname(path), None, 0o755, 0, 0, keep=True), FilePlan(path, text, 0o644, 0, 0)):
        if one.differs():
            one.apply()
