# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped play: check mode on a virgin host, several instances, an unprivileged user, secrets."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.observe import ProcessWatch, Syslog, files
from support.sandbox import Cluster, Sandbox

PLAYBOOKS = Path(__file__).resolve().parent / "playbooks"
ROWS = (
    "CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 300) g"
)
MORE = "INSERT INTO t SELECT g, md5(g::text) FROM generate_series(301, 400) g"


def lose(cluster: Cluster) -> None:
    cluster.kill()
    shutil.rmtree(cluster.data_dir)


def test_check_mode_on_a_virgin_host_tells_the_truth(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    cluster = sandbox.cluster("main")
    sandbox.storage("main")
    before = (files(sandbox.host), files(sandbox.storage_dir), cluster.sql("SELECT * FROM pg_settings ORDER BY name"))
    data = {name: state for name, state in files(cluster.data_dir).items() if name.endswith(".conf")}
    predicted = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster), "--check", "--diff")
    assert predicted.rc == 0, predicted.stdout
    assert (
        files(sandbox.host),
        files(sandbox.storage_dir),
        cluster.sql("SELECT * FROM pg_settings ORDER BY name"),
    ) == before
    assert {name: state for name, state in files(cluster.data_dir).items() if name.endswith(".conf")} == data
    assert predicted.of("walg_archive")[0]["unknown"] == ["storage"]
    done = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster))
    assert done.rc == 0, done.stdout
    assert predicted.changed() == done.changed()
    assert len(done.changed()) == 7


def test_a_mistyped_variable_is_refused_first(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    cluster = sandbox.cluster("main")
    variables = sandbox.variables(cluster, walg_backup_shedule=False, walg_restore_request="known")
    play = sandbox.play("mapswipe.walg.site", variables)
    assert play.rc != 0
    assert "walg_backup_shedule (did you mean walg_backup_schedule?)" in play.failure()
    assert "walg_restore_request" not in play.failure()
    assert play.changed() == []


def test_a_restore_has_no_default_hosts(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    cluster = sandbox.cluster("main")
    play = sandbox.play("mapswipe.walg.restore", sandbox.variables(cluster, walg_restore_request="r"))
    assert play.rc != 0
    assert "say -e walg_hosts=HOST" in play.failure()
    assert {line["host"] for line in play.results} == {"localhost"}


def test_two_instances_in_one_loop(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    instances, clusters = [], []
    for name, timeout in (("orders", 31), ("stock", 47)):
        cluster = sandbox.cluster(name)
        storage = sandbox.storage(name)
        clusters.append(cluster)
        own = {
            **cluster.variables(),
            "walg_instance": name,
            "walg_storage": storage,
            "walg_backup_archive_timeout": timeout,
        }
        instances.append({**own, "walg_settings": {"WALG_UPLOAD_CONCURRENCY": timeout}})
    common = {key: value for key, value in sandbox.variables(clusters[0]).items() if key not in instances[0]}
    play = sandbox.play(str(PLAYBOOKS / "instances.yml"), {**common, "instances": instances})
    assert play.rc == 0, play.stdout
    again = sandbox.play(str(PLAYBOOKS / "instances.yml"), {**common, "instances": instances})
    assert (again.rc, again.changed()) == (0, []), again.stdout
    for cluster, timeout in zip(clusters, (31, 47), strict=True):
        assert cluster.sql("SHOW archive_timeout") == f"{timeout}s"
        settings = json.loads((sandbox.host / "config" / f"{cluster.name}.json").read_text())
        assert settings["WALG_UPLOAD_CONCURRENCY"] == str(timeout)
        cluster.sql(ROWS.replace("md5(g::text)", f"'{cluster.name}' || g"))
        cluster.ship()
    rows = [cluster.rows("t") for cluster in clusters]
    for cluster in clusters:
        lose(cluster)
    for own in instances:
        answer = sandbox.module("walg_restore", {**sandbox.instance(str(own["walg_instance"])), "request": "both"})
        assert answer.get("changed"), answer
    assert [cluster.rows("t") for cluster in clusters] == rows
    assert rows[0] != rows[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="everything runs as an unprivileged user already")
def test_the_whole_cycle_without_root(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(as_user=True)
    cluster = sandbox.cluster("main")
    sandbox.storage("main")
    play = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster))
    assert play.rc == 0, play.stdout
    again = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster))
    assert (again.rc, again.changed()) == (0, []), again.stdout
    cluster.sql(ROWS)
    cluster.sql(MORE)
    cluster.ship()
    rows = cluster.rows("t")
    lose(cluster)
    play = sandbox.play(
        "mapswipe.walg.restore", sandbox.variables(cluster, walg_restore_request="r"), "-e", "walg_hosts=db"
    )
    assert play.rc == 0, play.stdout
    assert cluster.rows("t") == rows
    owners = {path.owner() for path in sandbox.host.rglob("*")}
    assert owners == {sandbox.user}


def test_secrets_are_seen_nowhere(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    cluster = sandbox.cluster("main")
    sandbox.storage("main")
    first = {
        "AWS_SECRET_ACCESS_KEY": "PlantedOne7",
        "AWS_ACCESS_KEY_ID": "PlantedTwo7",
        "AZURE_STORAGE_ACCESS_KEY": "PlantedThree7",
    }
    second = {**first, "AWS_SECRET_ACCESS_KEY": "PlantedFour7", "SSH_PASSWORD": "PlantedFive7"}
    seen = ""
    with ProcessWatch() as watch, _system_log() as log:
        for number, (secrets, arguments) in enumerate(
            ((first, ("--diff", "-vvv")), (second, ("--check", "--diff", "-vvv")))
        ):
            key = json.dumps({"type": "service_account", "private_key": f"PlantedKey{number}7"})
            variables = sandbox.variables(cluster, walg_secrets=secrets, walg_google_credentials=key)
            play = sandbox.play("mapswipe.walg.site", variables, *arguments)
            assert play.rc == 0, play.stdout
            seen += play.stdout + json.dumps(play.results)
        wrong = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster, walg_secrets="PlantedString7"), "-vvv")
        misnamed = {"AWS_SECRET_ACCES_KEY": "PlantedTypo7"}
        typo = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster, walg_secrets=misnamed), "-vvv")
        misplaced = sandbox.play(
            "mapswipe.walg.site", sandbox.variables(cluster, walg_google_credentials="PlantedNoJson7"), "-vvv"
        )
    for play, hint in ((wrong, "dictionary"), (typo, "AWS_SECRET_ACCESS_KEY"), (misplaced, "not the JSON")):
        assert play.rc != 0
        assert hint in play.failure()
        seen += play.stdout + json.dumps(play.results)
    assert "(secret, changed)" in seen, "a changed secret shows as changed"
    assert "Planted" not in seen
    assert not [line for line in watch.seen if "Planted" in line]
    assert len(watch.seen) > 100
    if log is not None:
        assert "walg_config" in log.text
        assert "Planted" not in log.text
    holders = [path for path in sandbox.root.rglob("*") if path.is_file() and b"Planted" in path.read_bytes()]
    outside = [path for path in holders if sandbox.control not in path.parents]
    assert {path.name for path in outside} == {"main.json", "main.credentials.json"}
    assert {path.stat().st_mode & 0o777 for path in outside} == {0o600}
    assert "PlantedOne7" in (sandbox.host / "config" / "main.json").read_text()


class _Nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def _system_log() -> Any:
    """Listen where modules log to; not possible where a daemon does, or without the right to."""
    return Syslog() if os.geteuid() == 0 and not os.path.lexists("/dev/log") else _Nothing()
