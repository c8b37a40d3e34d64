# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: a module whose instance's server runs in a container continues inside of it; this process serves it, and ends with its answer."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .._container import _engine, _helper, _placed, _session
from .._errors import WalgError
from .._host import _inside
from .._host._process import Runner
from .._host._users import User
from .._host._waiting import wait_until
from .._instance import _directories, _job_spec
from .._postgres import _data_dir, _servers, _whose
from . import _answer, _first_start

if TYPE_CHECKING:
    from .._container._engine import Container
    from .._container._placed import Placed

#: What a module needs: the server that runs, or its files, which a helper container reaches while there is none.
SERVER, FILES = "server", "files"
_READY = 300.0  # seconds for a server to take connections after its container was restarted


class Outside:
    """The process outside, for one run of a module. ``offers``: what this module may ask for besides."""

    def __init__(self, module: _answer.Module, placed: Placed, offers: Mapping[str, _session.Offer]) -> None:
        self.module, self.placed, self.runner = module, placed, Runner()
        self.container = placed.find(self.runner)
        self.offers = {"warn": self._warn, "servers": self._servers, "restart": self._restart, **offers}
        self.restarted = False

    @property
    def running(self) -> bool:
        return self.container.status == "running"

    def variables(self) -> dict[str, str]:
        """Return the container's environment, which holds passwords."""
        return _engine.variables(self.runner, self.container)

    def refresh(self) -> Container:
        """Look at the container again."""
        self.container = self.placed.find(self.runner)
        return self.container

    def work(self, target: Container) -> _session.End | None:
        """Go on in a container; None inside. Raises WalgError."""
        served = target.identifier == self.container.identifier
        end = _session.work(self.runner, self.placed, target, self.offers, served, self.container.user)
        if end is None:
            _go_on(self)
        return end

    def served(self) -> _session.End | None:
        """Go on in the server's own container, again after each restart of it."""
        while True:
            self.container.refuse_not_running()
            try:
                return self.work(self.container)
            except _session.AgainError:
                self.refresh()

    def beside(self) -> _session.End | None:
        """Go on where the files are reached without the server: in a helper container, which goes when it is done."""
        known = _helper.find(self.runner, self.container)
        helper = _helper.opened(self.runner, self.container)
        end = self.work(helper)
        if end is not None and known is None:
            _helper.close(self.runner, helper)
        return end

    def finish(self, end: _session.End, complete: Callable[[dict[str, Any]], None] | None = None) -> None:
        """End the module with the answer of the inside. ``complete``: what is added to a good one."""
        told = end.message
        if told is None:
            raise WalgError(
                f"The work in {self.placed.where()} ended without an answer (exit code {end.code}). Did the container end? Run again."
            )
        if "fail" in told:
            _answer.pass_on(self.module, told["fail"], failed=True)
        answer = dict(told["end"])
        if self.restarted:
            answer["changed"] = True
        if "directories" in answer:
            answer["directories"] = {**answer["directories"], **_machines(self.module.params)}
        if complete:
            complete(answer)
        _answer.pass_on(self.module, answer, failed=False)

    def _warn(self, message: Mapping[str, Any], _descriptor: int | None) -> None:
        self.module.warn(str(message["text"]))

    def _servers(self, message: Mapping[str, Any], _descriptor: int | None) -> list[int]:
        """Return the servers of any container that run on a directory, whatever it is called there."""
        mount = self.container.mount_of(str(message["path"]))
        if mount is None or not mount.source:
            return []
        below = os.path.relpath(str(message["path"]), mount.destination)
        return _servers.servers_on(os.path.normpath(os.path.join(mount.source, below)))

    def _restart(self, _message: Mapping[str, Any], _descriptor: int | None) -> None:
        _helper.restart(self.runner, self.container)
        self.restarted = True
        raise _session.AgainError


def enter(module: _answer.Module, needs: str = SERVER) -> None:
    """Return at once for an instance of this machine, and else only inside its container."""
    try:
        outside = of(module)
        if outside is None:
            return
        end = outside.served() if needs == SERVER or outside.running else outside.beside()
        if end is not None:
            outside.finish(end)
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)


def of(module: _answer.Module, offers: Mapping[str, _session.Offer] | None = None) -> Outside | None:
    """Return the outside for a module's instance; None if its server runs on this machine itself. Raises WalgError."""
    params = module.params
    config_dir = _machines(params)["config_dir"]
    placed = _placed.load(config_dir, params["instance"], module.check_mode)
    if placed:
        _job_spec.remember(config_dir, params["instance"])
    return Outside(module, placed, offers or {}) if placed else None


def _machines(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the directories that are the machine's, not the kit's."""
    if "config_dir" in params:
        return {"config_dir": params["config_dir"]}
    chosen = _directories.of_instance(params["instance"], params["directories"])
    return {name: chosen[name] for name in ("config_dir", "cron_dir")}


def _go_on(outside: Outside) -> None:
    """Inside: the options mean what they mean there."""
    sys.excepthook = _unexpected
    params, folders = outside.module.params, outside.placed.directories()
    if "config_dir" in params:
        params["config_dir"] = folders["config_dir"]
    if "directories" in params:
        params["directories"] = {**params["directories"], **folders}
    if "cluster" in params:
        params["cluster"] = {**_cluster(outside, params["cluster"]), "service": "container"}
        _close_empty(outside, params["cluster"])
    if outside.restarted:
        _await_server(outside.container.data_dir)


def _cluster(outside: Outside, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of the cluster: what the play gives, and where no server runs, what the image says."""
    if not _inside.in_helper():
        return dict(given)
    container = outside.container
    user = container.user.partition(":")[0] or "postgres"
    known = {
        "data_dir": container.data_dir,
        "bin_dir": next((one for one in container.path.split(":") if os.path.exists(os.path.join(one, "pg_ctl"))), ""),
        "socket_dir": "/var/run/postgresql",
        "os_user": "postgres" if user in ("root", "0") else user,
    }
    return {**given, **{name: given.get(name) or value for name, value in known.items() if given.get(name) or value}}


def _close_empty(outside: Outside, cluster: Mapping[str, Any]) -> None:
    """Where no server runs, make the data directory of a new container as its entry would; check mode leaves it."""
    if _inside.in_helper() and not outside.module.check_mode and cluster["data_dir"]:
        _first_start.close(cluster["data_dir"], User.by_name(cluster["os_user"]))


def _await_server(data_dir: str) -> None:
    """Wait for a server that was started with its container; what it says by then, the module finds out."""
    owner = _whose.owner_of(data_dir) if data_dir else None
    if owner is not None:
        wait_until(lambda: _data_dir.inspect(data_dir, owner).status in ("ready", "standby"), _READY)


def _unexpected(kind: type[BaseException], exc: BaseException, trace: Any) -> None:
    """A defect of ours inside: the outside has to hear of it."""
    inside = _inside.current()
    text = "".join(traceback.format_exception(kind, exc, trace))
    if inside:
        inside.line.send({"fail": {"msg": f"unexpected {kind.__name__}: {exc}", "exception": text}})
    os._exit(1)
