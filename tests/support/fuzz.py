# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong values for every option of every module, and what may come of them: an answer in sentences, soon."""

from __future__ import annotations

import math
import signal
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import module_docs
from .forked import ForkingSandbox
from .sandbox import Cluster

_LONGEST = 40  # seconds for one module
#: What a person, a template or an enemy may write where text is wanted.
TEXTS = (
    "",
    " ",
    "\0",
    "a\0b",
    "a\nb",
    "\x1b[31mred",
    "$HOME",
    "~",
    "~nobody/x",
    "..",
    "../../../x",
    "relative/path",
    "/",
    "//",
    "/dev/zero",
    "/dev/null",
    "/proc/self/mem",
    "/proc/1/cwd",
    "x" * 5000,
    "/" + "y" * 300,
    "naïve",
    "\u202egnp",
    "{{ x }}",
    "%p %f %",
    "';--",
    "-rf",
    "--help",
    "0",
    "-1",
    "1e400",
    "9" * 40,
    "NaN",
    "1.2.3/../../x",
    "2026-13-45T99:99:99Z",
    "\uff12\uff10\uff12\uff16-01-01T00:00:00Z",
    "2026-01-01T00:00:00+99:99",
    "2026-01-01",
    "0/G",
    "FFFFFFFFF/0",
    "gs://",
    "file://",
    "file:///",
    "file://relative",
    "s3://a b/..",
    "s3://user:hidden@host/x",
    "http://[::1",
    "://",
    "sha256:",
    "sha256:" + "g" * 64,
    "systemd:",
    "systemd:../x",
    "command:relative",
    "pg_ctlcluster:14/../main",
    "host=x password=hidden",
    "main",
)
_INTS = (-1, 0, 1, 65536, 2**31, 2**63, 10**30)
_FLOATS = (-1.0, 0.0, 1e308, float("inf"), float("nan"))
_OTHERS = (
    None,
    [],
    {},
    [[]],
    {"": ""},
    {"a": None},
    {"a": {"b": []}},
    {"PGHOST": "\0"},
    {"WALG_X": "1"},
    {"7": "relative"},
    True,
    3.5,
)
VALUES: tuple[Any, ...] = (*TEXTS, *_INTS, *_FLOATS, *_OTHERS)


@dataclass(frozen=True)
class Case:
    """One option, also one within another (``path`` from the top), and the value that it gets."""

    module: str
    path: tuple[str, ...]
    value: Any

    def options(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """Return the base options with this one in place of theirs."""
        return _put(base, self.path, self.value)


def _put(base: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    if len(path) == 1:
        return {**base, path[0]: value}
    return {**base, path[0]: _put(base.get(path[0]) or {}, path[1:], value)}


def specs() -> dict[str, dict[str, Any]]:
    """Return the argument spec of every module."""
    return {name: module_docs.spec(name)["argument_spec"] for name in module_docs.MODULES}


def _options(spec: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    for name, entry in spec.items():
        yield (name,), entry
        for rest, inner in _options(entry.get("options") or {}):
            yield (name, *rest), inner


def cases() -> list[Case]:
    """Return every wrong value for every option of every module, but those at which Ansible's own check of types breaks."""
    return [
        Case(module, path, value)
        for module, spec in specs().items()
        for path, entry in _options(spec)
        for value in VALUES
        if not _breaks_ansible(entry, value)
    ]


def _breaks_ansible(entry: Mapping[str, Any], value: Any) -> bool:
    """A number for a dictionary with options of its own, no number for an integer, a blank that is masked as a secret."""
    number = isinstance(value, (int, float))
    odd = isinstance(value, float) and not math.isfinite(value)
    masked = entry.get("no_log") and value == " "
    return bool(("options" in entry and number) or (entry.get("type") == "int" and odd) or masked)


def faults(answer: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with how a module answered."""
    found = []
    if answer.get("exception") or "Traceback" in str(answer):
        found.append("a traceback")
    message = str(answer.get("msg", ""))
    if answer.get("failed") and len(message.split()) < 3:
        found.append("no sentence")
    # (Ansible itself quotes what does not fit a type or a choice, as it is.)
    ours = not message.startswith(("value of ", "argument ", "Elements value ", "Validation of arguments failed"))
    if ours and any(unicodedata.category(char) in ("Cc", "Cs") and char != "\n" for char in message):
        found.append("control characters")
    return found


class BoundedSandbox(ForkingSandbox):
    """A module that does not end is killed, and has answered nothing."""

    def _run(self, argv: list[str], out: int) -> None:
        signal.alarm(_LONGEST)
        super()._run(argv, out)


def base_options(sandbox: ForkingSandbox, cluster: Cluster) -> dict[str, dict[str, Any]]:
    """Return options with which each module has something to look at: a configured instance of a running cluster."""
    instance = sandbox.instance()
    variables = sandbox.variables(cluster)
    places = {key[len("walg_") :]: value for key, value in sandbox.directories().items()}
    given = {key[len("walg_pg_") :]: value for key, value in cluster.variables().items()}
    found = sandbox.module("walg_instance_info", {"instance": "main", "cluster": given, "directories": places})
    known = {"cluster": found["cluster"], "directories": found["directories"]}
    storage = {"instance": "main", "storage": variables["walg_storage"]}
    binary = str(sandbox.host / "bin" / "wal-g")
    return {
        "walg_archive": {**instance, "restart": "allowed"},
        "walg_archive_check": {**instance, "force": True},
        "walg_backup": instance,
        "walg_backup_info": instance,
        "walg_backup_mark": {**instance, "name": "LATEST"},
        "walg_config": {**storage, "binary": binary, **known},
        "walg_container": {
            "container": "no-such-container",
            "instance": "other",
            "config_dir": found["directories"]["config_dir"],
        },
        # Of a type that is judged without a question to anybody.
        "walg_google_check": {"storage": "gs://bucket/path", "google_credentials": {"type": "external_account"}},
        "walg_install": {
            "path": binary,
            "version": variables["walg_version"],
            "src": str(sandbox.walg),
            "checksum": variables["walg_binary_checksum"],
        },
        "walg_instance": {
            **sandbox.host_options(cluster, purpose="backup", archive={}),
            "binary": binary,
        },
        "walg_instance_info": {"instance": "main", "cluster": given, "directories": places},
        "walg_programs": {
            "path": found["directories"]["program_dir"],
            "user": sandbox.user,
        },
        "walg_report": {"path": str(sandbox.host / "report.html"), "hosts": {}},
        "walg_restore": {**instance, "request": "r1", "stop_running": True},
        "walg_retention": {**instance, "days": 7, "confirmed": True},
        "walg_schedule": {**instance, "cron_dir": found["directories"]["cron_dir"]},
        "walg_status": instance,
        "walg_storage_check": {**storage, "binary": binary, **known},
        "walg_verify": instance,
    }
