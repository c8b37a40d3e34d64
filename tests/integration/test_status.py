# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at four hosts: one is well, one has lost its storage, one has a hole in its archive, one can't be reached.

What the page says to type is typed after the first one's disk is gone, and gives the rows of the moment that was chosen.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.browser import Parsed, in_browser
from support.sandbox import Cluster, Play, Sandbox

STATES = {"db": "yes", "gone": "unknown", "hole": "no", "away": "unknown"}
WORST_FIRST = ["hole", "away", "gone", "db"]


@dataclass
class Site:
    """Four hosts of an inventory."""

    sandbox: Sandbox
    clusters: dict[str, Cluster]
    variables: dict[str, dict[str, Any]]
    moment: str = ""
    rows: list[str] = field(default_factory=list)

    @property
    def page(self) -> Path:
        return self.sandbox.control / "page.html"

    def play(self, name: str, *arguments: str, **variables: Any) -> Play:
        """Run one of the plays over all hosts."""
        first, *others = ({**one, **variables} for one in self.variables.values())
        return self.sandbox.play(
            f"mapswipe.walg.{name}", first, *arguments, others=dict(zip(list(self.variables)[1:], others, strict=True))
        )

    def status(self, name: str, *, check: bool = False) -> dict[str, Any]:
        return self.sandbox.module("walg_status", self.sandbox.instance(name), check=check)


def into_next_second() -> None:
    time.sleep(1.1 - time.time() % 1)


@pytest.fixture(scope="module")
def site(sandbox: Sandbox) -> Site:
    clusters = {}
    for name, cluster in (("db", "main"), ("gone", "gone"), ("hole", "hole")):
        clusters[name] = one = sandbox.cluster(cluster, archive_mode="on")
        sandbox.configure(one)
        for module, options in (("walg_archive", {"timeout": 600}), ("walg_backup", {"max_age": 0})):
            answer = sandbox.module(module, {**sandbox.instance(cluster), **options})
            assert answer["changed"], answer
        one.sql("CREATE TABLE t (n int)")
    made = Site(sandbox, clusters, {name: sandbox.variables(cluster) for name, cluster in clusters.items()})
    main, hole = clusters["db"], clusters["hole"]
    main.sql("INSERT INTO t VALUES (1)")
    made.rows = main.rows("t")
    into_next_second()
    made.moment = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    into_next_second()
    main.sql("INSERT INTO t VALUES (2)")
    main.ship()
    clusters["gone"].ship()
    for number in range(3):
        hole.sql(f"INSERT INTO t VALUES ({number})")
        hole.ship()
    segments = (
        one for one in (sandbox.storage_dir / "hole" / "wal_005").iterdir() if len(one.name.split(".")[0]) == 24
    )
    sorted(segments)[-2].unlink()
    shutil.rmtree(sandbox.storage_dir / "gone")
    made.variables["away"] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    return made


def test_the_play_shows_each_verdict_and_fails_where_it_is_not_yes(site: Site) -> None:
    done = site.play("status")
    assert done.rc == 4, done.stdout
    found = {line["host"]: line["result"] for line in done.results if line["action"].endswith("walg_status")}
    assert {name: one["verdict"]["restorable"] for name, one in found.items() if "verdict" in one} == {
        name: state for name, state in STATES.items() if name != "away"
    }
    assert found["away"]["unreachable"]
    assert [one["changed"] for one in found.values()] == [False] * 4
    failed = {line["host"]: line["result"]["msg"] for line in done.results if line["status"] == "failed"}
    assert sorted(failed) == ["gone", "hole"]
    assert "restorable no" in failed["hole"]
    assert "restorable unknown" in failed["gone"]
    for name in ("db", "gone", "hole"):
        assert all(line in done.stdout for line in found[name]["lines"][:1]), done.stdout
    assert {one["code"] for one in found["hole"]["verdict"]["reasons"]} >= {"gap"}
    assert {one["code"] for one in found["gone"]["verdict"]["reasons"]} >= {"storage_unreadable"}
    assert found["db"]["verdict"]["exit_code"] in (0, 5), found["db"]["lines"]


def test_shown_only_it_does_not_fail(site: Site) -> None:
    done = site.play("status", "-e", "walg_status_fail=false", "--limit", "hole", "--check")
    assert (done.rc, done.changed()) == (0, []), done.stdout


def test_the_module_never_changes_anything(site: Site) -> None:
    answers = [site.status("main", check=check) for check in (True, False, True, False)]
    assert [one["changed"] for one in answers] == [False] * 4
    assert {one["verdict"]["restorable"] for one in answers} == {"yes"}


def test_the_page_has_all_hosts_the_worst_first(site: Site) -> None:
    done = site.play("report", "--diff", "-e", f"walg_report_path={site.page}")
    assert done.rc == 0, done.stdout
    (answer,) = done.of("walg_report")
    assert answer["states"] == {"yes": 1, "no": 1, "unknown": 2}, done.stdout
    assert answer["changed"]
    assert answer["diff"]["after"].splitlines() == [f"{name}: {STATES[name]}" for name in sorted(STATES)]
    assert "1 restorable, 1 not, 2 unknown" in done.stdout
    titles = re.findall(r"<h2>(\w+)", site.page.read_text())
    assert titles == WORST_FIRST


def test_a_second_page_is_no_change_though_it_is_younger(site: Site) -> None:
    hosts = {"db": site.status("main"), "gone": site.status("gone"), "hole": site.status("hole")}
    hosts["away"] = {"unreachable": True, "msg": "the play's message, or another one"}
    path = site.sandbox.control / "second.html"

    def write(*, check: bool) -> dict[str, Any]:
        return site.sandbox.module("walg_report", {"path": str(path), "hosts": hosts}, check=check)

    foretold = write(check=True)
    assert not path.exists()
    made = write(check=False)
    assert (foretold["changed"], foretold["diff"], foretold["states"]) == (True, made["diff"], made["states"])
    first = path.read_text()
    into_next_second()
    assert not write(check=True)["changed"]
    assert path.read_text() == first
    assert not write(check=False)["changed"]
    assert path.read_text() != first
    hosts["hole"] = hosts["db"]
    assert (write(check=True)["changed"], write(check=False)["states"]) == (True, {"yes": 2, "no": 0, "unknown": 2})


def test_what_the_page_says_to_type_gives_the_rows_of_that_moment(site: Site, tmp_path: Path) -> None:
    script = f"""
      var card = [...document.querySelectorAll(".instance")].find(one => one.querySelector("h2").textContent == "db");
      var input = card.querySelector("input"); input.value = "{site.moment[:-1]}"; input.dispatchEvent(new Event("input"));
      document.body.dataset.typed = card.querySelector("pre").textContent;
      document.body.dataset.said = card.querySelector(".said").textContent;
    """
    told = Parsed(in_browser(tmp_path, site.page.read_text(), script)).body()
    assert site.moment in told["data-typed"], told
    main = site.clusters["db"]
    main.lose()
    inventory = sorted(site.sandbox.control.glob("inventory-*.json"))[-1]
    shutil.copy(inventory, site.sandbox.root / "inventory")
    environment = site.sandbox.environment(site.sandbox.control / "typed.jsonl")
    done = site.sandbox.run(["sh", "-c", told["data-typed"]], env=environment, timeout=300)
    assert done.returncode == 0, done.stdout
    assert main.rows("t") == site.rows


def test_the_restore_is_the_proof_that_module_and_job_tell(site: Site) -> None:
    """Root did it, in root's own directory; the job is the cluster's owner."""
    program = str(site.sandbox.host / "program" / "walg-job")
    argv = [program, "status", "--config-dir", str(site.sandbox.host / "config"), "--json"]
    done = site.sandbox.run(argv, user=site.sandbox.user)
    told = json.loads(done.stdout)
    answer = site.status("main")
    assert answer["verdict"]["proved"] == told["verdict"]["proved"]
    assert site.moment < answer["verdict"]["proved"] <= datetime.now(UTC).isoformat()
    assert answer["verdict"]["proved_to"] < site.moment
    (reason,) = [one["text"] for one in answer["verdict"]["reasons"] if one["code"] == "proved"]
    assert f"time {site.moment[:-1]}" in reason
    assert f"proved {answer['verdict']['proved'][:10]}" in answer["lines"][0]
