# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In a container, which has no Python, wal-push asks the storage by itself whose archive it is; under every shell of this machine."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _owner
from host_wrappers import SHELLS, Bench, wait_for

SEGMENT = "00000002.history"
PREFIX = "mapswipe.walg wal-push[main]: "
CAT = "st|cat|mapswipe_walg_owner.json|"
NOBODY_SAYS = "its marker names another writer, or there is none"
MACHINE_ID = Path("/etc/machine-id")
HERE = MACHINE_ID.read_text(encoding="ascii").strip() if MACHINE_ID.exists() else ""
WRITER = _owner.Writer("db", HERE, "/var/lib/postgresql/data")
SYSTEM = "7311871870932439077"


def marker(**other: Any) -> str:
    """Return the marker's text as the library writes it."""
    owner = _owner.Owner(SYSTEM, WRITER.name, "db", WRITER.data_dir, 1, 1, "2026-01-01T00:00:00Z", WRITER.machine_name)
    return _owner.render(replace(owner, **other))


@pytest.fixture(params=list(SHELLS))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """A bench of a server in a container, below a directory with a blank and a quote in its name."""
    made = Bench("wal-push", request.param, tmp_path / "it's here")
    place = made.root / "main's archive.owner"
    made.keys.update(
        MACHINE=HERE, WRITER=WRITER.name, OWNER_PLACE=f"WALG_FILE_PREFIX={place}", SYSTEM_IDENTIFIER=SYSTEM
    )
    made.keys["PG_BIN_DIR"] = str(made.root / "bin")
    made.write_record()
    made.job_stand_in("exit 1")  # nothing in a container could start it
    return made


def storage(bench: Bench, beside: str | None, within: str | None = None, before: str = "") -> None:
    """Make the stand-in a WAL-G whose storage has these markers; ``before``: what it prints ahead of them."""
    for name, text in (("beside", beside), ("within", within)):
        path = bench.root / name
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(before + text, encoding="utf-8")
    root = shlex.quote(str(bench.root))
    bench.stand_in(f"""
case "$*" in
    *" st cat "*) ;;
    *) exit 0 ;;
esac
where=within
case "${{WALG_FILE_PREFIX-}}" in
    {root}"/main's archive.owner") where=beside ;;
    ?*) echo "ERROR: somewhere else: $WALG_FILE_PREFIX" >&2; exit 1 ;;
esac
[ -e {root}/$where ] || {{ echo "ERROR: object does not exist" >&2; exit 1; }}
cat {root}/$where
""")


def control_file(bench: Bench, identifier: str) -> None:
    """Make pg_controldata say whose the data directory is."""
    program = bench.root / "bin" / "pg_controldata"
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "pg_control version number:            1300" '
        f'"Database system identifier:           {identifier}"\n',
        encoding="ascii",
    )
    program.chmod(0o755)


def push(bench: Bench, name: str = SEGMENT) -> tuple[int, str]:
    return bench.run(str(bench.record), f"pg_wal/{name}")


def asked(bench: Bench) -> int:
    return sum(line.endswith(CAT) for line in bench.lines("calls"))


def sent(bench: Bench) -> int:
    return sum("|wal-push|" in line for line in bench.lines("calls"))


def refused(bench: Bench, why: str) -> str:
    """Push, which has to be rejected with this reason and the way on; nothing is sent and nothing noted."""
    code, err = push(bench)
    assert code == 1
    assert sent(bench) == 0
    assert not (bench.state / "push-owner").exists()
    assert why in err
    assert "run the playbook mapswipe.walg.site" in err
    assert all(line.startswith(PREFIX) and line.count(PREFIX) == 1 for line in err.splitlines())
    assert bench.asked() == []
    return err


def test_the_writer_of_the_marker_sends_and_asks_once(bench: Bench) -> None:
    """The note saves the next question, as with the job."""
    storage(bench, marker())
    assert push(bench) == (0, "")
    assert (asked(bench), sent(bench)) == (1, 1)
    assert push(bench, "00000003.history") == (0, "")
    assert (asked(bench), sent(bench)) == (1, 2)
    (bench.root / "main.json").write_text("[]\n", encoding="ascii")
    assert push(bench) == (0, "")
    assert asked(bench) == 2
    assert bench.asked() == []


@pytest.mark.parametrize(
    "before",
    [
        "INFO: 2026/01/01 00:00:00.000000 Selecting the default storage\n",
        'DEBUG: 2026/01/01 00:00:00 HTTP GET\nWARNING: 2026/01/01 00:00:00 [  "writer": "w0"]\n\n',
    ],
    ids=["a line", "several"],
)
def test_lines_of_the_log_before_the_marker(bench: Bench, before: str) -> None:
    """Some versions of WAL-G write their log to stdout."""
    storage(bench, marker(), before=before)
    assert push(bench) == (0, "")
    storage(bench, marker(writer="w0"), before=before)
    (bench.state / "push-owner").unlink()
    assert push(bench)[0] == 1


def test_a_marker_without_its_last_newline_and_with_successors(bench: Bench) -> None:
    other = _owner.Successor("w0123456789abcdef", "other", "/other")
    storage(bench, marker(successors=(other,)).rstrip("\n"))
    assert push(bench) == (0, "")


def test_it_is_inside_the_prefix_where_there_is_no_beside(bench: Bench) -> None:
    """A bucket's root has no beside, so it is asked once only; credentials that end at the prefix see none."""
    storage(bench, None, marker())
    assert push(bench) == (0, "")
    assert asked(bench) == 2
    (bench.state / "push-owner").unlink()
    bench.keys["OWNER_PLACE"] = ""
    bench.write_record()
    assert push(bench) == (0, "")
    assert asked(bench) == 3
    storage(bench, None, None)
    (bench.state / "push-owner").unlink()
    assert push(bench)[0] == 1
    assert asked(bench) == 4


def test_the_marker_beside_decides_over_one_inside(bench: Bench) -> None:
    """One inside is older: it may name us, who wrote here before another took over."""
    storage(bench, marker(writer="w0123456789abcdef"), marker())
    refused(bench, NOBODY_SAYS)
    assert asked(bench) == 1


def test_cluster_and_writer_are_of_one_marker(bench: Bench) -> None:
    storage(bench, "{}\n", marker())
    refused(bench, NOBODY_SAYS)


@pytest.mark.parametrize(
    "other",
    [
        {"writer": "w0123456789abcdef"},
        {"system_identifier": "7311871870932439078"},
        {"writer": "w0123456789abcdef", "successors": (_owner.Successor(WRITER.name, "db", "/data"),)},
        {"host": f'"\n  "writer": "{WRITER.name}"', "writer": "w0"},
        {"writer": WRITER.name[:-1]},
        {"writer": f"{WRITER.name}0"},
    ],
    ids=["another writer", "another cluster", "a successor", "a name like a line", "a shorter name", "a longer name"],
)
def test_what_a_marker_says_of_others(bench: Bench, other: Mapping[str, object]) -> None:
    storage(bench, marker(**other))
    refused(bench, NOBODY_SAYS)


@pytest.mark.parametrize(
    "text", ["", "{}", "not found\n", json.dumps({"writer": WRITER.name, "system_identifier": SYSTEM})]
)
def test_what_is_no_marker_of_ours(bench: Bench, text: str) -> None:
    storage(bench, text)
    refused(bench, "")


def test_a_pattern_in_the_record_is_no_pattern(bench: Bench) -> None:
    """Every writer would match it."""
    bench.keys["WRITER"] = "w*"
    bench.write_record()
    storage(bench, marker())
    refused(bench, NOBODY_SAYS)


def test_without_any_marker_wal_g_s_words_are_shown(bench: Bench) -> None:
    storage(bench, None)
    assert "ERROR: object does not exist" in refused(bench, "WAL-G failed with exit code 1")


def test_another_machine(bench: Bench) -> None:
    """The volume and the kit were copied, or the machine-id is not mounted any more. The storage is not even asked."""
    storage(bench, marker())
    bench.keys["MACHINE"] = "f" * 32
    bench.write_record()
    refused(bench, "this is not the machine for which the instance was installed, or /etc/machine-id is not mounted")
    assert asked(bench) == 0


def test_another_directory(bench: Bench) -> None:
    """A second cluster in the same container, with a copy of the settings."""
    storage(bench, marker())
    copy = bench.root / "copy"
    copy.mkdir()
    process = bench.start(str(bench.record), f"pg_wal/{SEGMENT}", cwd=copy)
    code, err = bench.finish(process)
    assert code == 1
    assert f"PostgreSQL called in {copy}, but the instance is of {bench.data}" in err
    assert (asked(bench), sent(bench)) == (0, 0)


@pytest.mark.parametrize("gone", ["directory", "link"])
def test_a_data_directory_that_leads_elsewhere(bench: Bench, gone: str) -> None:
    storage(bench, marker())
    bench.keys["DATA_DIR"] = str(bench.root / "none")
    if gone == "link":
        (bench.root / "none").symlink_to(bench.root)
    bench.write_record()
    refused(bench, "PostgreSQL called in ")


def test_a_linked_data_directory_is_the_same(bench: Bench) -> None:
    storage(bench, marker())
    (bench.root / "a link").symlink_to(bench.data)
    bench.keys["DATA_DIR"] = str(bench.root / "a link")
    bench.write_record()
    assert push(bench) == (0, "")


def test_another_cluster_in_the_directory(bench: Bench) -> None:
    """A fresh volume: the image has made a new cluster, whose files without a system identifier would be taken."""
    storage(bench, marker())
    control_file(bench, "7311871870932439078")
    refused(bench, f"has system identifier 7311871870932439078, but the instance is of {SYSTEM}")
    assert asked(bench) == 0


def test_a_record_without_a_cluster_goes_by_the_control_file(bench: Bench) -> None:
    """So it is while a lost cluster is restored."""
    storage(bench, marker())
    bench.keys["SYSTEM_IDENTIFIER"] = ""
    bench.write_record()
    refused(bench, NOBODY_SAYS)
    control_file(bench, SYSTEM)
    assert push(bench) == (0, "")


def test_a_storage_that_hangs(bench: Bench) -> None:
    """It has not said that no marker stands beside, so none inside is believed."""
    storage(bench, marker(writer="w0"), marker())
    bench.keys["PUSH_TIMEOUT"] = "1"
    bench.write_record()
    bench.stand_in('case "${WALG_FILE_PREFIX-}" in ?*) exec sleep 25 ;; esac; cat "$seen/../within"')
    refused(bench, "WAL-G was not done after 1 s (PUSH_TIMEOUT)")
    assert asked(bench) == 1


@pytest.mark.parametrize("code", [1, 126, 137, 255])
def test_every_failure_is_a_refusal(bench: Bench, code: int) -> None:
    bench.stand_in(f"echo 'ERROR: 403' >&2; exit {code}")
    assert "ERROR: 403" in refused(bench, f"exit code {code}")


def test_a_signal_leaves_no_marker_behind(bench: Bench) -> None:
    bench.stand_in("echo $$ >$seen/ready; exec sleep 25")
    code, err, _spent = bench.signalled(signal.SIGTERM, str(bench.record), f"pg_wal/{SEGMENT}")
    assert code == 1
    assert "stopped by signal TERM" in err
    wait_for(lambda: not (bench.state / "push-marker").exists())


def test_a_state_directory_that_can_t_be_written(bench: Bench) -> None:
    """Nothing is believed that could not be read."""
    storage(bench, marker())
    bench.keys["STATE_DIR"] = str(bench.root / "none")
    bench.write_record()
    assert push(bench)[0] == 1
    assert sent(bench) == 0
