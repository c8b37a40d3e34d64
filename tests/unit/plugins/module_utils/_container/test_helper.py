# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The helper container: whose it is, what it is made of, and the restart policy of the server's container meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._container import _helper
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from support.fake_engine import DOCKER, PODMAN
from support.helper_engine import HELPER, SERVER, Helpers, running
from support.scripted import Call, Scripted


def test_it_is_made_and_taken_again() -> None:
    engine = Helpers()
    server = replace(
        engine.of(),
        networks=("maps_default", "other"),
        extra_hosts=("a:10.0.0.1",),
        dns=("10.0.0.2",),
        shm_size=64,
        restart="always",
    )
    made = _helper.opened(engine, server)
    (run, join) = engine.done()
    assert run == [
        *("run", "--detach", f"--name={HELPER}", "--volumes-from", server.identifier),
        *(f"--label=mapswipe.walg.helper-of={server.identifier}", "--label=mapswipe.walg.restart=always", "--user=0:0"),
        *("--network=maps_default", "--add-host=a:10.0.0.1", "--dns=10.0.0.2", "--shm-size=64"),
        *("--entrypoint=sleep", server.image, "infinity"),
    ]
    assert join == ["network", "connect", "other", made.identifier]
    assert (made.name, made.status) == (HELPER, "running")
    assert _helper.find(engine, server) == made
    assert _helper.opened(engine, server) == made
    assert engine.verbs() == ["run", "network"]


def test_a_container_with_nothing_besides() -> None:
    engine = Helpers()
    _helper.opened(engine, replace(engine.of(), networks=(), extra_hosts=(), dns=(), shm_size=0))
    (run,) = engine.done()
    assert not [one for one in run if one.startswith(("--network", "--add-host", "--dns", "--shm-size"))]


@pytest.mark.parametrize("why", ["of an older container", "not running"])
def test_one_that_can_t_be_used_is_made_anew(why: str) -> None:
    engine = Helpers()
    old = _helper.opened(engine, engine.of())
    if why == "not running":
        engine.containers[1]["State"].update(Status="exited", Pid=0)
    else:
        engine.containers[0]["Id"] = "9" * 64
    made = _helper.opened(engine, engine.of())
    assert made.identifier != old.identifier
    assert engine.verbs() == ["run", "rm", "run"]
    assert engine.done()[1] == ["rm", "--force", old.identifier]
    assert [one["Name"] for one in engine.containers] == [f"/{SERVER}", f"/{HELPER}"]


def test_the_name_is_another_container_s() -> None:
    other = running()
    other.update(Name=f"/{HELPER}", Id="8" * 64)
    engine = Helpers(containers=[running(), other])
    for act in (_helper.find, _helper.opened):
        with pytest.raises(
            WalgError, match=f"The name {HELPER} is needed for the helper container of {SERVER}, but .* Rename"
        ):
            act(engine, engine.of())
    assert engine.done() == []


def test_a_longer_name_is_none() -> None:
    other = running()
    other.update(Name=f"/{HELPER}-2", Id="8" * 64)
    engine = Helpers(containers=[running(), other])
    assert _helper.find(engine, engine.of()) is None


def test_an_image_without_sleep() -> None:
    engine = Helpers(born="exited")
    with pytest.raises(
        WalgError, match=f"The helper container of {SERVER} ended at once: its image has no program `sleep`"
    ):
        _helper.opened(engine, engine.of())
    assert engine.verbs() == ["run", "rm"]
    assert len(engine.containers) == 1


@pytest.mark.parametrize(("policy", "updates"), [("always", 1), ("unless-stopped", 1), ("no", 0), ("", 0)])
@pytest.mark.parametrize("status", ["running", "exited", "created", "dead"])
def test_held_and_released(policy: str, updates: int, status: str) -> None:
    engine = Helpers()
    engine.containers[0]["HostConfig"]["RestartPolicy"]["Name"] = policy
    engine.containers[0]["State"]["Status"] = status
    helper = _helper.opened(engine, engine.of())
    engine.calls.clear()
    _helper.hold(engine, engine.of())
    stops = ["stop"] if status == "running" else []
    assert engine.verbs() == ["update"] * updates + stops
    held = engine.of()
    assert (held.restart, held.status == "running") == ("no", False)
    engine.calls.clear()
    _helper.hold(engine, held)
    assert engine.verbs() == []
    _helper.release(engine, held, helper)
    assert engine.verbs() == ["update"] * updates
    assert engine.of().restart == (policy or "no")
    engine.calls.clear()
    _helper.release(engine, engine.of(), helper)
    assert engine.verbs() == []


def test_podman_keeps_its_policy() -> None:
    engine = Helpers()
    server = replace(engine.of(), engine=PODMAN, restart="always", stop_timeout=None)
    stopped = Scripted(calls=[Call([PODMAN, "stop", server.identifier])])
    _helper.hold(stopped, server)
    assert stopped.timeouts == [70.0]
    helper = replace(server, labels={"mapswipe.walg.restart": "always"})
    _helper.release(Scripted(), replace(server, restart="no"), helper)


def test_time_to_stop() -> None:
    server = replace(Helpers().of(), stop_timeout=300, restart="no")
    runner = Scripted(calls=[Call([DOCKER, verb, server.identifier]) for verb in ("stop", "restart", "start")])
    _helper.hold(runner, server)
    _helper.restart(runner, server)
    _helper.start(runner, server)
    runner.finish()
    assert runner.timeouts == [360.0, 360.0, 120.0]


@pytest.mark.parametrize(
    ("verb", "what"),
    [
        ("ps", "look for the helper container"),
        ("run", f"make the helper container of {SERVER}"),
        ("network", "join its networks"),
        ("rm", "remove the helper container"),
        ("update", "hold the container"),
        ("stop", "stop the container"),
        ("start", "start the container"),
        ("restart", "restart the container"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_an_engine_that_fails(verb: str, what: str, late: bool) -> None:
    engine = Helpers(refusing=verb, late=late)
    server = replace(engine.of(), networks=("a", "b"), restart="always")
    acts = {"rm": _helper.close, "start": _helper.start, "restart": _helper.restart}
    acts.update({"update": _helper.hold, "stop": _helper.hold})
    act = acts.get(verb, _helper.opened)
    why = r"no answer after \d+ s" if late else "Error response from daemon: out of order"
    with pytest.raises(WalgError, match=f"^Cannot {what}: `{DOCKER} {verb} .* ...` said: {why}") as caught:
        act(engine, server)
    assert caught.value.fields["rc"] == 125
