# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: an instance leaves the host. Archiving goes first and is proved to be off; the record goes last, so that a killed run is finished.

The storage is left as it is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Any

from .._archive import _disable
from .._container import _placed
from .._errors import WalgError
from .._host import _locks, _mounts
from .._host._files import sweep
from .._host._users import call_as
from .._install import _installed
from .._instance import _directories, _record
from .._job import _programs, _wrappers
from .._restore import _state, _ways
from . import _scheduling, _variables
from ._steps import Steps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._container._placed import Placed
    from .._host._process import Runner
    from .._instance._record import Instance

_WRAPPERS = tuple(_wrappers.texts())


def remove(runner: Runner, params: Mapping[str, Any], dry: bool) -> dict[str, Any]:
    """Remove an instance; return the module's answer. ``params``: the options of walg_instance; ``dry``: only say what would be done."""
    _variables.refuse_unknown(params["variables"], params["known_variables"])
    directories = _directories.of_instance(params["instance"], params["directories"])
    _directories.refuse_loose(directories)
    instance, steps = _record.load(directories["config_dir"], params["instance"]), Steps()
    if instance is None:
        _remove_schedule(runner, steps, params["instance"], directories, dry)
        return {"directories": directories, "warnings": [], **steps.answer()}
    _refuse_open_restore(instance)
    archive = _disable.plan(runner, instance, params["restart"] == "allowed")
    last = not _others(instance, directories["bin_dir"])
    with contextlib.nullcontext() if dry else _no_backup(instance):
        if archive and archive.changed:
            with steps.within("archive"):
                if not dry:
                    _disable.apply(runner, archive)
                steps.add("archive", archive.conf_file, [archive.diff()])
        _remove_schedule(runner, steps, instance.name, directories, dry)
        if last:
            with steps.within("programs"):
                _remove_programs(steps, instance, directories["bin_dir"], dry)
        with steps.within("settings"):
            _remove_instance(steps, instance, dry)
    if last and not dry:
        for path in (instance.config_dir, os.path.dirname(instance.state_dir), os.path.dirname(instance.log_dir)):
            with contextlib.suppress(OSError):
                os.rmdir(path)  # where nothing of others is in it
    return {"directories": directories, "warnings": [], **steps.answer()}


def remove_from_machine(
    runner: Runner, steps: Steps, placed: Placed, directories: Mapping[str, str], dry: bool
) -> None:
    """Remove what the machine has for an instance in a container: the schedule, and the job unless another instance uses it."""
    config_dir = directories["config_dir"]
    _remove_schedule(runner, steps, placed.instance, directories, dry)
    if not _has_others(config_dir, _placed.record_path(config_dir, placed.instance)):
        _remove_paths(steps, placed.program_dir, _programs_in(placed.program_dir), dry)


def _refuse_open_restore(instance: Instance) -> None:
    saved = _state.load(instance)
    if saved is None or saved.finished:
        return
    raise WalgError(
        f"The restore {saved.request!r} of {saved.data_dir} is {saved.state}. Finish it first. {_ways.of(saved)}",
        found=saved.state,
    )


@contextlib.contextmanager
def _no_backup(instance: Instance) -> Any:
    """Keep base backups from beginning. One that runs has to end first."""
    if not os.path.isdir(instance.state_dir):
        yield
        return
    with _locks.locked(instance.files.backup_lock, f"A base backup of the instance {instance.name!r}", instance.owner):
        yield


def _others(instance: Instance, bin_dir: str) -> bool:
    """Say whether this host has other instances, in any directory of records that is known."""
    known = {*_installed.load(bin_dir).config_dirs, *_installed.load(os.path.dirname(instance.binary)).config_dirs}
    return any(_has_others(directory, instance.record_file) for directory in {*known, instance.config_dir})


def _has_others(config_dir: str, record: str) -> bool:
    """Say whether a directory has records of other instances than that of this one, be their servers on the host or in a container."""
    with contextlib.suppress(FileNotFoundError):
        records = {name for name in os.listdir(config_dir) if name.endswith((".env", _placed.SUFFIX))}
        return any(os.path.join(config_dir, name) != record for name in records)
    return False


def _remove_schedule(runner: Runner, steps: Steps, name: str, directories: Mapping[str, str], dry: bool) -> None:
    """Remove what starts the job, what it is told, and the link to its metrics."""
    made = _scheduling.plan_absent(name, directories["config_dir"], directories["cron_dir"])
    if not made.changed:
        return
    if not dry:
        made.apply(runner, name)
    steps.add("schedule", _scheduling.cron_path(directories["cron_dir"], name), made.diffs)


def _remove_programs(steps: Steps, instance: Instance, bin_dir: str, dry: bool) -> None:
    """Remove what runs on the host, and the versions of WAL-G that we installed. Files of others stay."""
    place = instance.program_dir
    found = _programs_in(place)
    records = {directory: _installed.load(directory) for directory in (bin_dir, os.path.dirname(instance.binary))}
    for directory, record in records.items():
        paths = [os.path.join(directory, name) for name in record.binaries]
        found += [path for path in paths if _installed.ours(record, path)]
        note = os.path.join(directory, _installed.NAME)
        found += [note] if os.path.lexists(note) else []
    _remove_paths(steps, place, list(dict.fromkeys(found)), dry)


def _programs_in(place: str) -> list[str]:
    """Return what of our programs is in the program directory."""
    names = (*_WRAPPERS, _programs.JOB, _programs.PACKAGE)
    return [path for path in (os.path.join(place, one) for one in names) if os.path.lexists(path)]


def _remove_paths(steps: Steps, place: str, found: list[str], dry: bool) -> None:
    """Remove programs and the directory that they are in, and note that as a step."""
    if not found:
        return
    if not dry:
        for path in found:
            _programs.remove(path)
        with contextlib.suppress(OSError):
            os.rmdir(place)  # where nothing of others is in it
    steps.add("programs", place, [{"before": "".join(f"{path}\n" for path in found), "after": ""}])


def _remove_instance(steps: Steps, instance: Instance, dry: bool) -> None:
    """Remove settings, state and logs, and at last the record, by which a run that is killed before is known and finished."""
    credentials = _record.credentials_path(instance.config_dir, instance.name)
    files = [path for path in (instance.settings_file, credentials) if os.path.lexists(path)]
    restores = _state.directory(instance)
    trees = [path for path in dict.fromkeys((instance.state_dir, instance.log_dir, restores)) if os.path.isdir(path)]
    if not dry:
        for path in files:
            os.unlink(path)
        sweep(instance.config_dir)
        for path in trees:
            _remove_tree(instance, path)
        os.unlink(instance.record_file)
    listed = "".join(f"{path}\n" for path in (*files, *trees, instance.record_file))
    steps.add("settings", instance.config_dir, [{"before": listed, "after": ""}])


def _remove_tree(instance: Instance, path: str) -> None:
    """Remove a directory of the owner's as the owner: no link in it leads root elsewhere."""
    _mounts.refuse(path)
    roots = os.stat(path).st_uid == os.geteuid()
    call_as(None if roots else instance.owner, _empty, path)
    os.rmdir(path)


def _empty(path: str) -> None:
    for entry in os.scandir(path):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
