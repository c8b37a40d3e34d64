# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody who follows a page to the letter, with the values of a cluster here in place of the page's own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from support.pages import Page
from support.sandbox import Cluster, Sandbox


def as_owner(sandbox: Sandbox) -> str:
    """Return the words before a command that the database user runs."""
    return f"runuser -u {sandbox.user} --" if os.geteuid() == 0 else "env"


def psql(cluster: Cluster) -> str:
    """Return the call of psql for a cluster."""
    return f"{as_owner(cluster.sandbox)} psql -h {cluster.socket_dir} -p {cluster.port} -U postgres"


def pg_ctl(cluster: Cluster, verb: str) -> str:
    """Return the call that stops or restarts a cluster, and is there when it is done."""
    return f"{as_owner(cluster.sandbox)} pg_ctl -D {cluster.data_dir} -l {cluster.log} -w -m fast {verb}"


class Follower:
    """Runs a page's blocks. ``values``: of the page's own, by their names."""

    def __init__(self, page: Page, sandbox: Sandbox, values: dict[str, str]) -> None:
        self.page, self.sandbox, self.values = page, sandbox, values

    def environment(self) -> dict[str, str]:
        env = self.sandbox.environment(self.sandbox.control / "none")
        return {**env, "PATH": f"{self.sandbox.pg_bin_dir}:{env['PATH']}"}

    def argv(self, words: str, **values: str) -> list[str]:
        return ["bash", "-euo", "pipefail", "-c", self.page.script(words, {**self.values, **values})]

    def follow(self, words: str, **values: str) -> str:
        """Run the block that has these words, which has to succeed; return what it said."""
        done = self.sandbox.run(self.argv(words, **values), env=self.environment())
        assert done.returncode == 0, done.stdout
        return done.stdout

    def watched(self, watch: str, words: str, **values: str) -> tuple[str, str]:
        """Run a block while another one that does not end shows how it goes; return what both said."""
        seen = Path(self.sandbox.control / "seen")
        with (
            seen.open("w", encoding="utf-8") as out,
            subprocess.Popen(
                self.argv(watch, **values), stdout=out, stderr=out, env=self.environment(), start_new_session=True
            ) as shown,
        ):
            try:
                said = self.follow(words, **values)
                time.sleep(1.5)  # it looks once a second
            finally:
                os.killpg(shown.pid, signal.SIGTERM)
        return said, seen.read_text(encoding="utf-8")
