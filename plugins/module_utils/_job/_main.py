# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job on the host: ``walg-job backup --instance main``, called by cron. Runs without Ansible.

``walg-job confirm`` is for the push wrapper: may the cluster in this directory send this file to the archive?

Exit codes: 0 all is well (a base backup was taken, or none was needed; the log says which), 1 failed, 2 wrong usage, 75 another
run holds the lock.
"""

from __future__ import annotations

import argparse
import json
import logging
import logging.handlers
import os
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._archive import _ownership
from .._backup import _take
from .._container import _placed, _session
from .._errors import WalgError
from .._host import _guard, _locks, _shown
from .._host._files import read_text
from .._host._process import Runner
from .._host._users import User, dropper
from .._instance import _record
from .._walg._client import Walg
from .._walg._settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXIT_FAILED, EXIT_LOCKED = 1, 75
_LOG_BYTES, _LOG_FILES = 1024 * 1024, 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code. Prints nothing on success: cron mails what is printed."""
    options = _parser().parse_args(arguments)
    try:
        code = _go_inside(options)
        if code is not None:
            return code
        instance = _record.require(options.config_dir, options.instance)
        _refuse_other_user(instance)
        if options.verb == "confirm":
            return _confirm(instance, options)
        log = _log(instance)
    except WalgError as exc:
        _complain(options.instance, exc.msg)
        return EXIT_FAILED
    except OSError as exc:
        _complain(options.instance, f"cannot write the log in {instance.log_dir}: {exc}")
        return EXIT_FAILED
    return _backup(instance, options, log)


def _go_inside(options: argparse.Namespace) -> int | None:
    """Go on in the container of the instance's server, as its owner, if it has one; outside, return the exit code of that."""
    placed = _placed.load(options.config_dir, options.instance)
    if placed is None:
        return None
    runner = Runner()
    container = placed.find(runner)
    container.refuse_not_running()
    end = _session.work(runner, placed, container, {}, served=True, user=container.user)
    if end is not None:
        return end.code
    options.config_dir = placed.directories()["config_dir"]
    drop = dropper(_record.require(options.config_dir, options.instance).owner)
    if drop is not None:
        drop()
        _guard.end_with_parent()  # that was forgotten with the change of user
    return None


def _complain(instance: str, text: str) -> None:
    """Say it on stderr, which cron mails."""
    sys.stderr.write(f"walg-job[{instance}]: {text}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="walg-job", description="Scheduled work of the Ansible collection mapswipe.walg."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    backup = verbs.add_parser("backup", help="take a base backup")
    confirm = verbs.add_parser("confirm", help="ask the storage whose archive it is, before WAL is sent")
    for verb in (backup, confirm):
        verb.add_argument("--instance", default="main")
        verb.add_argument("--config-dir", required=True)
    confirm.add_argument("--data-dir", required=True)
    confirm.add_argument("--file", required=True, help="name of the WAL file to send")
    backup.add_argument(
        "--max-age",
        type=float,
        default=0.0,
        help="seconds; do nothing when a restorable backup is younger (0: always take one)",
    )
    return parser


def _refuse_other_user(instance: _record.Instance) -> None:
    wanted, me = instance.owner, User.current()
    if wanted.uid != me.uid:  # one number may have several names
        raise WalgError(f"run this as {wanted.name!r}, the owner of {instance.cluster.data_dir}; you are {me.name!r}.")


class _Formatter(logging.Formatter):
    """Lines without the secrets of the settings and without control characters, whoever said what is in them."""

    def __init__(self, mask: _shown.Mask) -> None:
        super().__init__("%(asctime)s %(levelname)s [%(process)d] %(message)s")
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return self._mask.text(super().format(record))


def _mask(instance: _record.Instance) -> _shown.Mask:
    plain = [text for text in vars(instance).values() if isinstance(text, str)]
    return _shown.Mask(Settings.read(read_text(instance.settings_file)).secrets(), [*plain, instance.cluster.data_dir])


def _log(instance: _record.Instance) -> logging.Logger:
    handler = logging.handlers.RotatingFileHandler(
        os.path.join(instance.log_dir, "job.log"), maxBytes=_LOG_BYTES, backupCount=_LOG_FILES
    )
    handler.setFormatter(_Formatter(_mask(instance)))
    log = logging.getLogger("walg-job")
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    return log


def _end(*_signal: object) -> None:
    raise SystemExit(EXIT_FAILED)


def _confirm(instance: _record.Instance, options: argparse.Namespace) -> int:
    """Exit code 0: it may. Within the wrapper's limit, and with it: a signal ends WAL-G too."""
    signal.signal(signal.SIGTERM, _end)
    walg = replace(Walg.of(Runner(), instance), ask_timeout=max(1.0, instance.push_timeout - 1.0))
    _ownership.confirm_push(walg, instance, options.data_dir, options.file)
    return 0


def _backup(instance: _record.Instance, options: argparse.Namespace, log: logging.Logger) -> int:
    log.info("run for a base backup of %s to %s begins", instance.cluster.data_dir, instance.storage)
    try:
        answer = _take.ensure(Runner(), instance, max_age=options.max_age)
    except _locks.LockedError as exc:
        return _failed(log, instance, exc, EXIT_LOCKED)
    except WalgError as exc:
        return _failed(log, instance, exc, EXIT_FAILED)
    except Exception as exc:  # whatever it is, it must reach the log and cron
        log.exception("unexpected error")
        return _failed(log, instance, WalgError(f"unexpected {type(exc).__name__}: {exc}"), EXIT_FAILED)
    for line in answer.pop("log").splitlines():
        log.info("wal-g: %s", line)
    log.info("%s: %s", _outcome(answer), json.dumps(answer, sort_keys=True))
    return 0


def _outcome(answer: Mapping[str, Any]) -> str:
    """Return what happened, as the log begins to say it."""
    return "base backup done" if answer["changed"] else f"nothing done: {answer['reason']}"


def _failed(log: logging.Logger, instance: _record.Instance, exc: WalgError, code: int) -> int:
    for line in str(exc.fields.get("stderr", "")).splitlines():
        log.error("wal-g: %s", line)
    log.error("%s", exc.msg)
    _complain(instance.name, _mask(instance).text(exc.msg))
    return code
