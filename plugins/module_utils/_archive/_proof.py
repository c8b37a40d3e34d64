# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: a fresh segment reached the storage.

A record is written, WAL is switched, and that very segment is fetched back: WAL-G's archive-status cache can say
"done" for a segment that the storage never got, so neither the exit code nor pg_stat_archiver is proof.
The proof is kept in the state directory and holds until the archive, the cluster or its timeline changes, or the archiver fails.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _times
from .._host._counts import many
from .._host._files import read_text, write_atomic
from .._host._users import call_as
from .._host._waiting import wait_until
from .._instance import _record
from .._postgres._server import Server
from .._walg import _segment_size, _settings
from .._walg._client import Walg
from . import _present

if TYPE_CHECKING:
    from .._host._process import Runner
    from .._instance._record import Instance
    from .._postgres._server import ServerFacts

_WRITE_AND_SWITCH = """
SELECT pg_walfile_name(pg_logical_emit_message(false, 'mapswipe.walg', 'archive check'));
SELECT pg_switch_wal();
"""


def _proof_file(instance: Instance) -> str:
    return instance.files.proof


def _where(instance: Instance) -> dict[str, str]:
    """Which storage, and with which settings and credentials."""
    credentials = _record.credentials_path(instance.config_dir, instance.name)
    texts = [read_text(path) or "" for path in (instance.settings_file, credentials)]
    return {"storage": instance.storage, "settings": _settings.digest("".join(texts))}


def _subject(instance: Instance, facts: ServerFacts) -> dict[str, Any]:
    """What the proof is about: another storage, other settings, another cluster or timeline need a new one."""
    return {**_where(instance), "system_identifier": facts.system_identifier, "timeline": facts.timeline}


def _last_proof(instance: Instance) -> dict[str, Any]:
    """Return the last proof; one that can't be read is none."""
    try:
        known = json.loads(read_text(_proof_file(instance)) or "{}")
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}


def archive_is_proved(instance: Instance) -> bool:
    """Say whether a segment reached this storage with the settings that are on the host."""
    subject = _last_proof(instance).get("subject")
    return isinstance(subject, dict) and _where(instance).items() <= subject.items()


def still_valid(runner: Runner, instance: Instance, facts: ServerFacts) -> bool:
    """Say whether the archive of this very cluster and timeline is proved, and the archiver has not failed since."""
    if _last_proof(instance).get("subject") != _subject(instance, facts):
        return False
    return facts.in_recovery or not call_as(instance.owner, _trouble, runner, instance, facts)


def _trouble(runner: Runner, instance: Instance, facts: ServerFacts) -> str:
    return _present.ask(Server(runner, instance.cluster), facts).trouble()


def check(runner: Runner, instance: Instance, *, timeout: float, force: bool, dry: bool) -> dict[str, Any]:
    """Prove the archive unless it is proved already; run as the cluster's owner. ``timeout`` in seconds."""
    server = Server(runner, instance.cluster)
    facts = server.own_facts()
    if facts.in_recovery:
        return {"changed": False, "skipped": True, "reason": "a standby writes no WAL: its primary proves the archive"}
    subject = _subject(instance, facts)
    known = _last_proof(instance)
    if known.get("subject") == subject and not force and not _trouble(runner, instance, facts):
        return {"changed": False, "segment": known["segment"], "latency": known["latency"], "checked": known["checked"]}
    if dry:
        return {
            "changed": True,
            "reason": "no proof for this storage, cluster and timeline yet, or the archiver has failed since",
        }
    answer = _prove(runner, instance, server, facts, timeout)
    write_atomic(_proof_file(instance), json.dumps({"subject": subject, **answer}, indent=2) + "\n", 0o644)
    return {"changed": True, **answer}


def _prove(runner: Runner, instance: Instance, server: Server, facts: ServerFacts, timeout: float) -> dict[str, Any]:
    started = time.monotonic()
    segment = server.ask(_WRITE_AND_SWITCH).splitlines()[0].strip()

    def archived() -> bool:
        return server.ask("SELECT coalesce(max(last_archived_wal), '') FROM pg_stat_archiver") >= segment

    timeout *= _segment_size.patience(facts.segment_size)
    reached = wait_until(archived, timeout)
    statistics = server.ask_json("SELECT row_to_json(a) FROM pg_stat_archiver a")
    if not reached:
        raise WalgError(
            f"The segment {segment} did not leave the server within {timeout:.0f} s. pg_stat_archiver: last archived "
            f"{statistics['last_archived_wal']}, failed {many(statistics['failed_count'], 'time')}, last {statistics['last_failed_wal']}. "
            "The server's log holds what the push wrapper and WAL-G said.",
            segment=segment,
            archiver=statistics,
        )
    with tempfile.TemporaryDirectory(prefix="check-", dir=instance.state_dir) as directory:
        destination = os.path.join(directory, segment)
        fetched = Walg.of(runner, instance).fetch_segment(segment, destination, facts.segment_size)
        size = os.path.getsize(destination) if os.path.exists(destination) else 0
    if fetched.rc != 0 or size != facts.segment_size:
        raise WalgError(
            f"PostgreSQL counts {segment} as archived, but fetching it back from {instance.storage} ended with {fetched.rc} and "
            f"{size} bytes: {fetched.last_line()}",
            segment=segment,
            **fetched.fields(),
        )
    return {
        "segment": segment,
        "latency": round(time.monotonic() - started, 3),
        "checked": _times.now(),
        "archiver": statistics,
    }
