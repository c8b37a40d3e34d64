# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job on the host: ``walg-job VERB --instance main``, called by cron or a systemd timer. Runs without Ansible.

``walg-job confirm`` is for the push wrapper: may the cluster in this directory send this file to the archive?

Exit codes: _host/_exit_codes.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

from .._container import _placed
from .._errors import WalgError
from .._host import _exit_codes, _inside, _shown
from .._host._files import read_text
from .._host._process import Runner
from .._host._users import User
from .._instance import _job_spec, _record
from .._walg._settings import Settings
from . import _log, _metrics_file, _outcome, _parts, _usage, _voice
from ._work import Work

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code. Prints nothing on success: cron mails what is printed."""
    options = _usage.parser().parse_args(arguments)
    part = _parts.of_verb(options.verb)
    voice = _voice.Voice(Runner(), options, _job_spec.JobSpec())
    try:
        if options.verb != "confirm":
            voice.spec = _job_spec.load(options.config_dir, options.instance)
        placed = _placed.load(options.config_dir, options.instance)
        end = _parts.loaded("_enter").go_inside(voice, placed) if placed is not None else None
        if end is not None:
            told = end.message if end.message is not None or end.code == 0 else _cut_off(options, end.code)
            return _tell(voice, told or {}, end.code)
        told, code = _work(voice, part)
    except (WalgError, OSError) as exc:
        told, code = _not_begun(options, exc)
    inside = _inside.current()
    if inside is None:
        return _tell(voice, told, code)
    inside.line.send(told)
    return code


def _not_begun(options: argparse.Namespace, exc: WalgError | OSError) -> tuple[dict[str, Any], int]:
    """Return what there is to tell of a run that could not begin: it is an alarm like any failure."""
    error = exc if isinstance(exc, WalgError) else WalgError(f"{exc.filename or 'A file'} can't be used: {exc}")

    def fail() -> _outcome.Outcome:
        raise error

    _ended, run = _outcome.done(options.verb, fail, _log.silent())
    occasion = _outcome.NOTHING if options.verb in _voice.QUIET else _outcome.FAILURE
    told = {**_outcome.as_dict(run), "occasion": occasion, "complaint": run.text}
    return {"runs": [told]}, run.code


def _cut_off(options: argparse.Namespace, code: int) -> dict[str, Any]:
    """Return what there is to tell of work in a container that ended without a word, as a killed one does."""
    error = WalgError(
        f"the work in the container ended with exit code {code}, and without a word: it was killed, or the container stopped. Run again."
    )
    return _not_begun(options, error)[0]


def _work(voice: _voice.Voice, part: Any) -> tuple[dict[str, Any], int]:
    """Do the verb as the cluster's owner. Returns what there is to tell outside, and the exit code."""
    runner, options = voice.runner, voice.options
    instance = _record.require(options.config_dir, options.instance)
    _refuse_other_user(instance)
    if options.verb == "confirm":
        signal.signal(signal.SIGTERM, _end)  # the wrapper's limit ends WAL-G too
        return {}, part.confirm(runner, instance, options)
    if options.verb in _usage.LOOKING:
        try:
            return {}, part.show(runner, instance, voice.spec, options)
        except KeyboardInterrupt:
            return {}, _exit_codes.FAILED
    with _ended_in_order():
        return _worked(instance, voice, part)


def _worked(instance: _record.Instance, voice: _voice.Voice, part: Any) -> tuple[dict[str, Any], int]:
    mask = _mask(instance)
    troubles: list[str] = []
    log = _log.opened(instance.log_dir, mask, troubles)
    work = Work(voice.runner, instance, voice.spec, voice.options, log, [], troubles)
    outcome = work.do(voice.options.verb, lambda: part.act(work))
    work.keep(lambda: _metrics_file.write_own(instance, work.metrics()))
    if work.own_state():
        work.keep(lambda: _metrics_file.write_own(instance, work.metrics()))
    for one in work.told:
        one["text"] = one["complaint"] = mask.text(one["text"])
    told = {"runs": work.told, "troubles": work.troubles}
    if _voice.note(instance, work.told, _spoken(voice, told)):
        work.keep(lambda: _metrics_file.write_own(instance, work.metrics()))
    return {**told, "metrics": _metrics_file.kept(instance)}, outcome.code


def _spoken(voice: _voice.Voice, told: dict[str, Any]) -> list[list[str] | None]:
    """Tell how it ended, from inside of a container by the process outside, which reaches whom the hooks tell."""
    inside = _inside.current()
    if inside is None:
        return voice.speak(told)
    failed: list[list[str] | None] = inside.ask("tell", **told)
    return failed


def _tell(voice: _voice.Voice, told: Mapping[str, Any], code: int) -> int:
    """Tell hooks, cron and the metrics' reader what happened, outside of any container. Returns the exit code."""
    options, troubles, unkept = voice.options, voice.troubles, bool(told.get("troubles"))
    if not voice.spoke:
        failed = voice.speak(told)
        instance = None
        with contextlib.suppress(WalgError):
            instance = _record.load(options.config_dir, options.instance)
        if instance is not None and instance.owner.uid == os.geteuid():
            _voice.note(instance, told.get("runs") or (), failed)
    if voice.spec.metrics_dir and told.get("metrics"):
        try:
            _metrics_file.publish(options.config_dir, options.instance, voice.spec.metrics_dir, told["metrics"])
        except (WalgError, OSError) as exc:
            troubles.append(f"The metrics can't be written: {exc}")
    for one in troubles:
        _voice.complain(options.instance, one)
    return _exit_codes.HOOK if (troubles or unkept) and code in (_exit_codes.OK, _exit_codes.WARNING) else code


def _refuse_other_user(instance: _record.Instance) -> None:
    wanted, me = instance.owner, User.current()
    if wanted.uid != me.uid:  # one number may have several names
        raise WalgError(f"run this as {wanted.name!r}, the owner of {instance.cluster.data_dir}; you are {me.name!r}.")


def _mask(instance: _record.Instance) -> _shown.Mask:
    plain = [text for text in vars(instance).values() if isinstance(text, str)]
    return _shown.Mask(Settings.read(read_text(instance.settings_file)).secrets(), [*plain, instance.cluster.data_dir])


def _end(*_signal: object) -> None:
    raise SystemExit(_exit_codes.FAILED)


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Have a signal end what was started and give locks back. The next run tells that this one did not end by itself."""
    before = {number: signal.signal(number, _end) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
