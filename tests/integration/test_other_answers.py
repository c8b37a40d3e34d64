# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another server has the socket of the one that was restored: its answer is no proof of a start, and it is named."""

from __future__ import annotations

from support.restoring import archived, done, refused
from support.sandbox import Sandbox


def test_another_server_took_the_port(sandbox: Sandbox) -> None:
    history = archived(sandbox)
    cluster = history.cluster
    history.step()
    cluster.stop()
    other = sandbox.idle_cluster("other")
    other.socket_dir, other.port = cluster.socket_dir, cluster.port
    other.create()
    other.start()
    said = refused(sandbox, "taken", check_start=False)  # as if the other one came later
    assert f"the server on {other.data_dir}" in said, said
    assert "answers instead" in said
    assert other.sql("SELECT 1") == "1"
    other.stop()
    done(sandbox, "taken")
    assert history.numbers() == [0, 1]
