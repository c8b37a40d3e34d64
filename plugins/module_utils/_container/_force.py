# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kit comes into force: its container is recreated with it, by Compose, or its owner is told how."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _trust
from .._host._waiting import wait_until
from . import _compose, _container_check, _fragment

if TYPE_CHECKING:
    from .._host._process import Runner
    from ._engine import Container
    from ._placed import Placed
    from ._project import Project

_PATIENCE = 180.0  # seconds for a new container to run
_READY_PATIENCE = 120.0  # seconds for its server to answer
_PAUSE = 1.0
#: What Compose may do with a newer image by itself.
_KEEPS_IMAGE = ("", "missing", "if_not_present", "never")


@dataclass(frozen=True)
class Call:
    """The call of Compose that recreates the container."""

    compose: _compose.Program
    words: tuple[str, ...]


@dataclass(frozen=True)
class Force:
    """A container that lacks the kit."""

    runner: Runner
    placed: Placed
    container: Container
    project: Project | None
    fragment: str
    data_dir: str
    stop_grace: int  # seconds
    unwritten: bool  # check mode, and the fragment is not there as it will be

    def prepare(self, allowed: bool) -> Call | None:
        """Return the call that brings the kit into force. Raises WalgError with what to do, if that is not to be done here.

        ``allowed``: the server may be restarted.
        """
        if self.project is None:
            raise self._by_hand()
        project = self.project
        command = project.again(self.placed.service)
        self._refuse_other_files(project)
        call = None if self.unwritten and project.uses(self.fragment) else self._asked(project)
        if not allowed:
            raise WalgError(
                f"The container {self.container.name} must be recreated to have {self.placed.kit}, which restarts its server once. Set "
                f"walg_backup_restart: allowed, or do it yourself: {command}",
                found="never",
            )
        return call

    def recreate(self, call: Call) -> Container:
        """Recreate the container, and wait until the new one runs with the kit. Raises WalgError."""
        project = self.project
        if project is None:
            raise self._by_hand()
        _compose.up(self.runner, call.compose, call.words, project)
        stopped = self.container.stopped
        deadline = time.monotonic() + _PATIENCE
        while True:
            found = self.placed.find(self.runner)
            has = _container_check.served(found, self.placed.kit)
            if has and (stopped or (found.status == "running" and found.pid)):
                if not stopped:
                    self._wait_for_server(found)
                return found
            if time.monotonic() > deadline:
                said = f"it is {found.status}" if has else f"it lacks {self.placed.kit}"
                raise WalgError(
                    f"The container {found.name} was recreated, but {said}. See {found.engine_name} logs {found.name}.",
                    found=found.status,
                )
            time.sleep(_PAUSE)

    def _wait_for_server(self, found: Container) -> None:
        """Wait until its server answers, if that can be told: who comes next asks it."""
        argv = [found.engine, "exec", found.identifier, "pg_isready", "--quiet"]

        def answers() -> bool:
            return self.runner.run(argv, timeout=30.0).rc not in (1, 2)  # it starts, or does not answer yet

        wait_until(answers, _READY_PATIENCE, _PAUSE, _PAUSE)

    def _refuse_other_files(self, project: Project) -> None:
        service = self.placed.service
        if project.made_by:
            raise WalgError(
                f"The container {self.container.name} was made by {project.made_by}, and lacks {self.placed.kit}. Recreate it with the "
                f"file {self.fragment}: {project.again(service, (*project.files, self.fragment))}",
                found=project.made_by,
            )
        gone = [one for one in project.made_from if not os.path.lexists(one) and one != self.fragment]
        if gone:
            raise WalgError(
                f"The container {self.container.name} was made from {gone[0]}, which is gone. Recreate it from the files that "
                f"are in force: {project.again(service)}",
                found=gone,
            )
        made = project.made_otherwise(self.fragment)
        if made:
            raise WalgError(
                f"The container {self.container.name} was made from {', '.join(made)}, but a call without -f in {project.directory} takes "
                f"{', '.join(project.files)}. Recreate it as it was made, with {self.fragment}: "
                f"{project.again(service, (*made, self.fragment))}",
                found=list(made),
            )

    def _asked(self, project: Project) -> Call:
        """Ask Compose what it would make of the service. Raises WalgError unless that is what runs, with the kit."""
        program = _compose.program(self.runner, self.placed.engine, project)
        _compose.refuse_owner(self.runner, self.placed.engine, project)
        wanted = _compose.wanted(self.runner, program, project, self.placed.service)
        kit, service = self.placed.kit, self.placed.service
        sources = {path: wanted.mounts.get(path) for path in _fragment.paths(kit)}
        if any(one is None or os.path.realpath(one.place) != os.path.realpath(path) for path, one in sources.items()):
            raise self._not_named(project)
        if not all(one.writable for path, one in sources.items() if one and path == kit):
            raise WalgError(
                f"A compose file in {project.directory} mounts {kit} read-only. Leave that to {self.fragment}.",
                found=kit,
            )
        command = project.again(service)
        if wanted.unset:
            raise WalgError(
                f"Compose finds no value for {', '.join(wanted.unset)} in {project.directory}, and would leave it blank: the shell in "
                f"which the container was created had it. Put it into {project.env_file}, or recreate "
                f"the container from that shell: {command}",
                found=list(wanted.unset),
            )
        _refuse_loose(project, command)
        self._refuse_other_image(wanted, command)
        self._refuse_other_data(wanted, project, command)
        grace = max(self.stop_grace, self.container.stop_timeout or 0) if not self.container.stopped else 0
        return Call(program, tuple(_compose.up_words(program, project, service, wanted.profiles, grace)))

    def _not_named(self, project: Project) -> WalgError:
        line = project.line_with(self.fragment)
        place = f"in {project.env_file}, change COMPOSE_FILE to" if project.named else f"add to {project.env_file}"
        restart = "then run again with walg_backup_restart: allowed, or recreate the container yourself"
        first = f"run without check mode, which writes {self.fragment}; then " if self.unwritten else ""
        return WalgError(
            f"The container {self.container.name} lacks {self.placed.kit}, and its compose files don't mount it: {first}{place} this line, "
            f"{restart}: {line}",
            found=list(project.files),
            wanted=line,
        )

    def _refuse_other_image(self, wanted: _compose.Wanted, command: str) -> None:
        """The server is restarted, not exchanged: not for another image, nor for a newer one of the same name."""
        own, name = self.container, wanted.image or self.container.image_name
        if wanted.pull_policy not in _KEEPS_IMAGE:
            raise WalgError(
                f"The service {self.placed.service} has pull_policy: {wanted.pull_policy}, so that another image might come with its new "
                f"container. Recreate it yourself: {command}",
                found=wanted.pull_policy,
            )
        answer = self.runner.run([own.engine, "image", "inspect", "--format={{.Id}}", name], timeout=60.0)
        identifier = answer.stdout.strip() if answer.rc == 0 else ""
        now = _digest(identifier)[:12] or "which is not on this machine"
        if _digest(identifier) != _digest(own.image):
            raise WalgError(
                f"A new container would have the image {name} as it is now, {now}; the container {own.name} has {own.image_name}, "
                f"{_digest(own.image)[:12]}. That is more than a restart, so recreate it yourself: {command}",
                found=identifier,
                wanted=own.image,
            )

    def _refuse_other_data(self, wanted: _compose.Wanted, project: Project, command: str) -> None:
        """The new container must have the data of the old one."""
        for mount in self.container.mounts:
            if not self.data_dir or not (
                mount.holds(self.data_dir) or mount.destination.startswith(f"{self.data_dir}/")
            ):
                continue
            source = wanted.mounts.get(mount.destination)
            if source is None and mount.anonymous:
                continue  # Compose hands it on
            place = source.place if source else ""
            same = (
                place == mount.name
                if mount.kind == "volume"
                else os.path.realpath(place) == os.path.realpath(mount.source)
            )
            if source is None or not same:
                raise WalgError(
                    f"The container {self.container.name} has {mount.name or mount.source} at {mount.destination}; by the compose files in "
                    f"{project.directory}, a new one would have {place or 'nothing'} there. Correct the files first, or recreate it "
                    f"yourself: {command}",
                    found=place,
                    wanted=mount.name or mount.source,
                )

    def _by_hand(self) -> WalgError:
        found, kit = self.container, self.placed.kit
        if found.compose_service and found.project_dir:
            return WalgError(
                f"The container {found.name} lacks {kit}. It belongs to a Compose project: set walg_compose: {{project_dir: "
                f"{found.project_dir}, service: {found.compose_service}}} in place of walg_container.",
                found=found.compose_service,
            )
        mount = found.mount_of(self.data_dir) if self.data_dir else None
        flags = [*(f"--volume {one}" for one in _fragment.volumes(kit)), "--stop-timeout 120"]
        if mount is not None and mount.anonymous:  # the new container would get another one
            flags.append(f"--volume {mount.name}:{mount.destination}")
        wanted = " ".join(flags)
        return WalgError(
            f"The container {found.name} lacks {kit}. Stop and remove it, then create it as before with these flags in addition: "
            f"{wanted}",
            wanted=wanted,
        )


def _refuse_loose(project: Project, command: str) -> None:
    """Raise WalgError if somebody other than root and the project's owner can change what Compose is about to do."""
    for path in (project.directory, project.env_file, *map(project.path, project.files)):
        try:
            _trust.refuse_loose(path, "Compose acts by its files", project.owner.uid)
        except WalgError as exc:
            raise WalgError(f"{exc.msg} Or recreate the container yourself: {command}", **exc.fields) from exc


def _digest(identifier: str) -> str:
    return identifier.partition(":")[2] or identifier
