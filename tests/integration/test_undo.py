# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Undo, followed to the letter: archiving is off before the programs go, WAL does not pile up, the archive stays as it was.

Two clusters of one machine, as two hosts of one inventory: one with conf.d as on Debian, one whose settings are included.
"""

from __future__ import annotations

import json

import pytest
from support.following import Follower, pg_ctl, psql
from support.observe import kept
from support.pages import Page, sample, unlike
from support.releases import Releases
from support.sandbox import CHECKOUT, Cluster, Sandbox

CONF_D, INCLUDED, THE_REST = "/conf.d/", "include_if_exists", "rm -r $PROGRAMS"


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(CHECKOUT / "docs" / "undo.md")


@pytest.fixture(scope="module")
def clusters(sandbox: Sandbox) -> dict[str, Cluster]:
    made = {name: sandbox.idle_cluster(name) for name in ("maps", "orders")}
    for name, cluster in made.items():
        cluster.create(**({"include_dir": "conf.d"} if name == "maps" else {}))
        sandbox.run(["mkdir", str(cluster.data_dir / "conf.d")], user=sandbox.user)
        cluster.start()
        sandbox.storage(name)
    return made


@pytest.fixture(scope="module")
def site(sandbox: Sandbox, clusters: dict[str, Cluster]) -> str:
    """Both archive, with WAL-G from a server in the releases' layout; gives what the play said."""
    with Releases(sandbox.root / "releases") as server:
        server.publish(sandbox.walg, sandbox.walg_version())
        hosts = {}
        for name, cluster in clusters.items():
            given = sandbox.variables(cluster, walg_binary_mirror=server.url, walg_binary_mirror_ca=server.ca)
            hosts[f"db1-{name}"] = {
                key: given[key] for key in given if key not in ("walg_binary_src", "walg_binary_checksum")
            }
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        inventory = sandbox.control / "two-clusters.json"
        inventory.write_text(json.dumps({"walg": {"hosts": hosts, "vars": local}}))
        argv = [sandbox.python, "-m", "ansible", "playbook", "-i", str(inventory), "-f", "1", "mapswipe.walg.site"]
        done = sandbox.run(argv, env=sandbox.environment(sandbox.control / "none"))
    assert done.returncode == 0, done.stdout
    return done.stdout


def pile(cluster: Cluster) -> list[str]:
    """Return what stays in pg_wal though nobody needs it any more: old segments after checkpoints, and what waits for an archiver."""
    old = cluster.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    for _turn in range(3):
        cluster.sql("INSERT INTO t VALUES (0); SELECT pg_switch_wal(); INSERT INTO t VALUES (0); CHECKPOINT")
    wal = cluster.data_dir / "pg_wal"
    segments = [path.name for path in wal.iterdir() if len(path.name) == 24 and path.name <= old]
    return segments + [path.name for path in wal.glob("archive_status/*.ready")]


def undo(page: Page, cluster: Cluster, leave: set[str]) -> str:
    """Follow the page from its top to its end, but for some blocks; return what was said."""
    sandbox = cluster.sandbox
    directories = {
        "CRON": "cron",
        "PROGRAMS": "program",
        "CONFIG": "config",
        "STATE": "state",
        "LOGS": "log",
        "BIN": "bin",
    }
    values = {
        "INSTANCE": cluster.name,
        "CONF": str(cluster.data_dir),
        "RESTART": pg_ctl(cluster, "restart"),
        "PSQL": psql(cluster),
        **{name: str(sandbox.host / directory) for name, directory in directories.items()},
    }
    follower = Follower(page, sandbox, values)
    blocks = [block for block in page.blocks if not any(words in block.text for words in leave)]
    assert len(blocks) == len(page.blocks) - len(leave)
    return "".join(follower.follow(block.text) for block in blocks)


def archive(cluster: Cluster) -> dict[str, object]:
    return kept(cluster.sandbox.storage_dir / cluster.name)


def gone(page: Page, cluster: Cluster, leave: set[str]) -> None:
    """Undo one cluster: what was committed is still shipped, and nothing after that is, nor waits for it."""
    before = archive(cluster)
    cluster.sql("INSERT INTO t VALUES (1)")
    last = cluster.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    said = undo(page, cluster, leave)
    assert [line.split() for line in said.splitlines() if line.strip() in ("on", "off")] == [["off"]]
    assert cluster.sql("SHOW archive_mode") == "off"
    after = archive(cluster)
    assert {name: state for name, state in after.items() if name in before} == before
    assert [name for name in after if last in name], "the restart ships what is left"
    assert pile(cluster) == []
    assert archive(cluster) == after


def test_what_the_readme_says_is_seen(site: str) -> None:
    assert unlike(sample("site"), site, "db1-maps") == []


def test_one_of_two_goes_and_the_other_archives_on(page: Page, site: str, clusters: dict[str, Cluster]) -> None:
    for cluster in clusters.values():
        cluster.sql("CREATE TABLE t (id int)")
        cluster.ship()
    gone(page, clusters["maps"], leave={INCLUDED, THE_REST})
    clusters["orders"].sql("INSERT INTO t VALUES (2)")
    clusters["orders"].ship()


def test_the_last_one_goes_with_all_that_was_installed(
    page: Page, sandbox: Sandbox, clusters: dict[str, Cluster]
) -> None:
    cluster = clusters["orders"]
    gone(page, cluster, leave={CONF_D})
    assert kept(sandbox.host) == {}
    for name in ("orders", "maps"):
        data = clusters[name].data_dir
        ours = [path for path in data.rglob("*") if "mapswipe" in path.name]
        assert (ours, "mapswipe_walg" in (data / "postgresql.conf").read_text()) == ([], False)


def test_nothing_of_the_page_was_left_out(page: Page) -> None:
    assert page.left() == []
