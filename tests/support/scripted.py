# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Runner that starts nothing: it expects calls in order and gives the answers that a test wrote down for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result, Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass
class Call:
    """An expected call: the whole argv, the variables that must be handed on as they stand here, and the answer."""

    argv: Sequence[str]
    rc: int = 0
    stdout: str = ""
    stderr: str = ""
    timed_out: bool = False
    env: Mapping[str, str] | None = None
    user: str | None = None
    stdin: str | None = None  # a part of it
    bare: bool = False  # no variables besides
    lasting: bool = False  # the last one: it comes again and again, at least once


@dataclass
class Scripted(Runner):
    """``timeouts``, ``cwds``: what was asked for, call by call. ``finish`` fails when an answer was left over."""

    calls: list[Call] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)
    cwds: list[str] = field(default_factory=list)
    stdins: list[str] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str],
        *,
        user: User | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        cwd: str = "/",
        stdin: str = "",
        bare: bool = False,
        descriptors: Sequence[int] = (),
        errors: str = "replace",
        tied: bool = False,
    ) -> Result:
        """Compare with the next expected call and return its answer."""
        place = len(self.timeouts)
        if self.calls and self.calls[-1].lasting:
            place = min(place, len(self.calls) - 1)
        assert place < len(self.calls), f"unexpected call {list(argv)}"
        wanted = self.calls[place]
        assert list(argv) == list(wanted.argv)
        if wanted.env is not None:
            assert {name: value for name, value in (env or {}).items() if name != "GOGC"} == dict(
                wanted.env
            )  # see _walg/_client
        assert bare is wanted.bare
        if wanted.user is not None:
            assert user is not None
            assert user.name == wanted.user
        if wanted.stdin is not None:
            assert wanted.stdin in stdin
        self.timeouts.append(timeout)
        self.cwds.append(cwd)
        self.stdins.append(stdin)
        return Result(list(argv), wanted.rc, wanted.stdout, wanted.stderr, 0.25, wanted.timed_out)

    def launch(
        self,
        argv: Sequence[str],
        *,
        output: str,
        user: User | None = None,
        env: Mapping[str, str] | None = None,
        bare: bool = False,
        cwd: str = "/",
    ) -> int:
        """Compare with the next expected call, which ends in ``>>`` and the file for its output."""
        answer = self.run([*argv, ">>", output], user=user, env=env, bare=bare, cwd=cwd)
        if answer.rc:
            raise WalgError(answer.stderr)
        return 4711

    def start(self, argv: Sequence[str], **_options: Any) -> Any:
        """Never expected: nothing that these tests look at may leave a program running."""
        raise AssertionError(f"unexpected start of {list(argv)}")

    def finish(self) -> None:
        """Fail when a call that was expected did not come."""
        left = [list(call.argv) for call in self.calls[len(self.timeouts) :]]
        assert left == []
