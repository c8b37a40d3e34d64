# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""wal-push, run for real under every shell of this machine; WAL-G is a stand-in, since only its faults matter here."""

from __future__ import annotations

import signal
import struct
import time
from pathlib import Path

import pytest
from host_wrappers import SHELLS, STUBBORN, Bench, applets, prefers_applets

SEGMENT = "00000001000000A0000000FF"
SYSTEM = 18446744073709551557  # above 2**63: read unsigned
PREFIX = "mapswipe.walg wal-push[main]: "


@pytest.fixture(params=list(SHELLS))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """A bench below a directory with a blank and a quote in its name."""
    made = Bench("wal-push", request.param, tmp_path / "it's here")
    made.write_record()
    (made.data / "pg_wal").mkdir()
    return made


def push(bench: Bench, name: str = SEGMENT) -> tuple[int, str]:
    """Push a file by a path relative to PGDATA, as PostgreSQL does."""
    return bench.run(str(bench.record), f"pg_wal/{name}")


def write_segment(bench: Bench, name: str, system: int) -> None:
    """Write the start of a segment: XLogLongPageHeaderData in this machine's byte order and alignment."""
    header = struct.pack("@HHIQIxxxxQII", 0xD10D, 0x0002, 1, 0xA0FF000000, 0, system, 16 << 20, 8192)
    (bench.data / "pg_wal" / name).write_bytes(header.ljust(8192, b"\0"))


def test_success_is_silent_and_the_call_is_right(bench: Bench) -> None:
    """WAL-G gets the settings file and the path as given, and chatter of a successful call is not shown."""
    bench.stand_in("echo INFO: uploaded >&2; echo out; exit 0")
    assert push(bench) == (0, "")
    assert bench.calls() == [["--config", bench.keys["WALG_CONFIG"], "wal-push", f"pg_wal/{SEGMENT}"]]


def test_absolute_path_with_blanks_and_pattern_characters(bench: Bench) -> None:
    """A path is one argument, whatever is in it."""
    path = str(bench.root / "a b*" / SEGMENT)
    assert bench.run(str(bench.record), path)[0] == 0
    assert bench.calls()[0][-1] == path


def test_while_the_storage_changes_nothing_is_sent(bench: Bench) -> None:
    """WAL-G would say "done" of what it noted as sent to the old storage."""
    mark = bench.state / "storage-change"
    mark.touch()
    process = bench.start(str(bench.record), f"pg_wal/{SEGMENT}")
    err = process.communicate(timeout=30)[1]
    mark.unlink()
    assert process.returncode == 1
    assert f"{PREFIX}{SEGMENT} waits: the storage of this instance is being changed" in err
    assert "run it again" in err
    assert bench.calls() == []
    assert push(bench) == (0, "")


@pytest.mark.parametrize("code", [1, 2, 74, 123, 124, 125, 126, 127, 128, 141, 143, 200, 255])
def test_every_exit_code_becomes_1(bench: Bench, code: int) -> None:
    """Above 125 PostgreSQL's archiver would restart without counting the failure."""
    bench.stand_in(f"echo 'ERROR: no such bucket' >&2; printf 'and no newline' >&2; exit {code}")
    got, err = push(bench)
    assert got == 1
    assert SEGMENT in err
    assert err.splitlines()[1:] == [f"{PREFIX}wal-g: ERROR: no such bucket", f"{PREFIX}wal-g: and no newline"]
    assert all(line.startswith(PREFIX) for line in err.splitlines())


@pytest.mark.parametrize(
    "line",
    [
        f"WAL file 'pg_wal/{SEGMENT}' already archived, contents differ, unable to overwrite",
        "Couldn't check whether there is an overwrite attempt due to inner error: unexpected EOF",
    ],
    ids=["empty or another", "cut off"],
)
def test_an_object_in_the_way_names_the_way_out(bench: Bench, line: str) -> None:
    """WAL-G's words on an object that is cut off, empty or another one; it is never replaced by us."""
    bench.stand_in(f'echo "ERROR: {line}" >&2; exit 1')
    code, err = push(bench)
    assert code == 1
    assert line in err
    assert "move it away" in err.splitlines()[-1]
    bench.stand_in("echo 'ERROR: 403' >&2; exit 1")
    assert "move it away" not in push(bench)[1]


def test_death_by_a_signal_becomes_1(bench: Bench) -> None:
    """Also when WAL-G is killed from outside, by a lack of memory for instance."""
    bench.stand_in("kill -KILL $$")
    got, err = push(bench)
    assert got == 1
    assert "was killed" in err


def test_no_line_but_ours_where_wal_g_dies_before_it_is_waited_for(bench: Bench) -> None:
    """A shell may tell of a child's death by itself, with a line that names neither file nor cause."""
    bench.slow_removal()
    bench.stand_in("kill -KILL $$")
    code, err = push(bench)
    assert code == 1
    assert [line for line in err.splitlines() if not line.startswith(PREFIX)] == []


def test_a_hanging_storage_is_cut_off(bench: Bench) -> None:
    """PUSH_TIMEOUT bounds the call, and the message says so."""
    bench.keys["PUSH_TIMEOUT"] = "1"
    bench.write_record()
    bench.stand_in("exec sleep 25")
    began = time.monotonic()
    got, err = push(bench)
    assert got == 1
    assert 0.9 < time.monotonic() - began < 4
    assert "1 s" in err


def test_a_wal_g_that_ignores_term_is_killed(bench: Bench) -> None:
    """TERM alone does not end every WAL-G: KILL follows after 3 seconds."""
    bench.keys["PUSH_TIMEOUT"] = "1"
    bench.write_record()
    bench.stand_in("trap '' TERM; while :; do sleep 1; done")
    began = time.monotonic()
    assert push(bench)[0] == 1
    assert time.monotonic() - began < 8


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT])
def test_a_signal_reaches_wal_g_and_ends_in_1(bench: Bench, number: signal.Signals) -> None:
    """Quickly, and WAL-G is gone by then."""
    bench.stand_in("echo $$ >$seen/ready; exec sleep 25")
    code, err, spent = bench.signalled(number, str(bench.record), f"pg_wal/{SEGMENT}")
    assert code == 1
    assert spent < 2
    assert err.startswith(f"{PREFIX}stopped by signal {number.name[3:]}")


def test_a_signal_with_a_stubborn_wal_g(bench: Bench) -> None:
    """One that ignores TERM is killed a little later."""
    bench.stand_in("trap '' TERM; echo $$ >$seen/ready; while :; do sleep 0.2; done")
    code, _err, spent = bench.signalled(signal.SIGTERM, str(bench.record), f"pg_wal/{SEGMENT}")
    assert code == 1
    assert spent < 7


@pytest.mark.parametrize("fate", STUBBORN)
def test_a_stubborn_wal_g_is_ended_without_the_help_of_timeout(bench: Bench, fate: str) -> None:
    """The pauses take no time here: what ends WAL-G does not come with them."""
    if bench.shell == "busybox":
        pytest.skip("busybox's timeout replaces itself by the program")
    bench.no_pauses()
    bench.stand_in(STUBBORN[fate])
    code, _err, spent = bench.signalled(signal.SIGTERM, str(bench.record), f"pg_wal/{SEGMENT}")
    assert code == 1
    assert spent < 2.8, "timeout's own KILL comes after 3 s"


def test_the_server_s_environment_does_not_reach_wal_g(bench: Bench) -> None:
    """For WAL-G a variable beats the settings file, so it sees what it needs and nothing else."""
    bench.environment.update(
        WALG_FILE_PREFIX="/elsewhere", PGHOST="other", AWS_REGION="x", HTTPS_PROXY="http://stray", TZ="Asia/Tokyo"
    )
    assert push(bench) == (0, "")
    seen = bench.seen_environment()
    assert seen.pop("PATH").startswith(bench.environment["PATH"])
    assert seen == {"HOME": str(bench.root), "LANG": "C", "TZ": "Asia/Tokyo", "PGDATA": str(bench.data)}


def test_proxy_and_certificates_come_from_the_record(bench: Bench) -> None:
    """They are passed as they are, not evaluated."""
    given = {
        "HTTPS_PROXY": "http://127.0.0.1:1/$(touch evil)",
        "HTTP_PROXY": "http://127.0.0.1:2",
        "NO_PROXY": "a b,*",
        "SSL_CERT_FILE": "/c a/`id`",
        "SSL_CERT_DIR": "/etc/it's",
    }
    bench.keys.update(given)
    bench.write_record()
    assert push(bench) == (0, "")
    seen = bench.seen_environment()
    assert {name: seen[name] for name in given} == given
    assert not (bench.data / "evil").exists()


def test_the_home_directory_is_the_record_s(bench: Bench) -> None:
    """A server that root has started may have root's, whose Google credentials this user can't read: WAL-G would give up."""
    bench.environment["HOME"] = "/home/of/root"
    bench.keys["HOME"] = "/var/lib/it's postgres"
    bench.write_record()
    for environment in (dict(bench.environment), {"PATH": bench.environment["PATH"]}):
        bench.environment = environment
        assert push(bench) == (0, "")
        assert bench.seen_environment()["HOME"] == "/var/lib/it's postgres"


def test_without_home_and_path(bench: Bench) -> None:
    """A server started with an empty environment archives, too."""
    del bench.environment["HOME"]
    if bench.shell != "busybox":  # its tools are found by PATH here
        del bench.environment["PATH"]
    assert push(bench) == (0, "")
    assert "HOME" not in bench.seen_environment()


@pytest.mark.parametrize("suffix", ["", ".partial"])
@pytest.mark.parametrize("system", [SYSTEM, 7000000000000000001, 1])
def test_own_segment_is_sent(bench: Bench, system: int, suffix: str) -> None:
    """The identifier in the segment's header is the recorded one."""
    bench.keys["SYSTEM_IDENTIFIER"] = str(system)
    bench.write_record()
    write_segment(bench, SEGMENT + suffix, system)
    assert push(bench, SEGMENT + suffix) == (0, "")
    assert len(bench.calls()) == 1


@pytest.mark.parametrize("suffix", ["", ".partial"])
@pytest.mark.parametrize("found", [SYSTEM - 1, 0, 5])
def test_a_foreign_segment_is_refused(bench: Bench, found: int, suffix: str) -> None:
    """WAL-G is not even started, and both identifiers are named."""
    bench.keys["SYSTEM_IDENTIFIER"] = str(SYSTEM)
    bench.write_record()
    write_segment(bench, SEGMENT + suffix, found)
    got, err = push(bench, SEGMENT + suffix)
    assert got == 1
    assert str(SYSTEM) in err
    assert f" {found}," in err
    assert len(err.splitlines()) == 1
    assert bench.calls() == []


def test_without_a_recorded_identifier_nothing_is_compared(bench: Bench) -> None:
    """SYSTEM_IDENTIFIER='' turns the comparison off."""
    write_segment(bench, SEGMENT, 5)
    assert push(bench) == (0, "")


@pytest.mark.parametrize("content", [None, b"", b"x" * 25])
def test_a_segment_without_a_header_is_refused(bench: Bench, content: bytes | None) -> None:
    """WAL-G checks no sizes, and would store a stump."""
    bench.keys["SYSTEM_IDENTIFIER"] = str(SYSTEM)
    bench.write_record()
    if content is not None:
        (bench.data / "pg_wal" / SEGMENT).write_bytes(content)
    got, err = push(bench)
    assert got == 1
    assert ("cannot read the system identifier" if not content else "refused to send") in err
    assert bench.calls() == []


@pytest.mark.parametrize("name", ["00000002.history", f"{SEGMENT}.00000028.backup", SEGMENT.lower(), SEGMENT + "0"])
def test_other_files_carry_no_identifier(bench: Bench, name: str) -> None:
    """History and backup files are sent as they are."""
    bench.keys["SYSTEM_IDENTIFIER"] = str(SYSTEM)
    bench.write_record()
    (bench.data / "pg_wal" / name).write_text("1\t0/5000000\tno recovery target\n", encoding="ascii")
    assert push(bench, name) == (0, "")
    assert bench.calls()[0][-1] == f"pg_wal/{name}"


@pytest.mark.parametrize(
    "key",
    [
        "WALG_BINARY",
        "WALG_CONFIG",
        "WALG_INSTANCE",
        "SYSTEM_IDENTIFIER",
        "PUSH_TIMEOUT",
        "STATE_DIR",
        "DATA_DIR",
        "CONFIG_DIR",
        "PROGRAM_DIR",
    ],
)
def test_a_missing_key(bench: Bench, key: str) -> None:
    """The record has to set each, even where the server's environment has a variable of that name."""
    bench.environment[key] = str(bench.keys[key]) or "1"
    bench.keys[key] = None
    bench.write_record()
    got, err = push(bench)
    assert got == 1
    assert f"does not set {key}" in err
    assert len(err.splitlines()) == 1
    assert bench.calls() == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PUSH_TIMEOUT", "0"),
        ("PUSH_TIMEOUT", "00"),
        ("PUSH_TIMEOUT", "1m"),
        ("PUSH_TIMEOUT", "-1"),
        ("SYSTEM_IDENTIFIER", "12x"),
        ("WALG_BINARY", "wal-g"),
        ("WALG_BINARY", "/nonexistent/wal-g"),
        ("WALG_BINARY", "/usr"),
        ("WALG_CONFIG", "/nonexistent/main.json"),
        ("WALG_CONFIG", "/usr"),
    ],
)
def test_a_wrong_value(bench: Bench, key: str, value: str) -> None:
    """One plain line names it; WAL-G is not started."""
    bench.keys[key] = value
    bench.write_record()
    got, err = push(bench)
    assert got == 1
    assert value in err
    assert err.startswith(PREFIX)
    assert len(err.splitlines()) == 1
    assert bench.calls() == []


def test_no_record(bench: Bench) -> None:
    """Named in one line."""
    bench.record.unlink()
    got, err = push(bench)
    assert got == 1
    assert str(bench.record) in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("text", ["WALG_BINARY='x\n", "fi\n", "exit 0\n", "exit 200\n", ": ${nope}\n"])
def test_a_damaged_record(bench: Bench, text: str) -> None:
    """Whatever the shell makes of it, the exit code is 1 and WAL-G is not started."""
    with bench.record.open("a", encoding="ascii") as stream:
        stream.write(text)
    got, err = push(bench)
    assert got == 1
    assert "mapswipe.walg wal-push[" in err
    assert bench.calls() == []


@pytest.mark.parametrize("args", [[], ["one"], ["one", "two", "three"]])
def test_wrong_usage(bench: Bench, args: list[str]) -> None:
    """Says what is wanted."""
    got, err = bench.run(*args)
    assert got == 1
    assert "wal-push ENVFILE PATH" in err


def test_what_was_said_before_is_not_said_again(bench: Bench) -> None:
    """The file of the messages is one and the same."""
    bench.stand_in("echo 'ERROR: the first time' >&2; exit 1")
    assert "the first time" in push(bench)[1]
    bench.stand_in("exit 1")
    got, err = push(bench)
    assert got == 1
    assert "the first time" not in err
    assert (bench.state / "wal-push.log").read_text(encoding="utf-8") == ""


def test_a_lost_state_directory_does_not_stop_archiving(bench: Bench) -> None:
    """WAL-G's messages then come as they are."""
    bench.state.rmdir()
    bench.stand_in("echo 'INFO: done' >&2; exit 0")
    got, err = push(bench)
    assert got == 0
    assert "cannot write in the state directory" in err
    assert "INFO: done" in err
    bench.stand_in("exit 77")
    assert push(bench)[0] == 1


def test_a_closed_stderr(bench: Bench) -> None:
    """A log reader that went away does not turn a failure into a death by SIGPIPE."""
    bench.stand_in("echo $$ >$seen/ready; sleep 0.3; exit 3")
    process = bench.start(str(bench.record), f"pg_wal/{SEGMENT}")
    assert process.stderr is not None
    process.stderr.close()
    assert process.wait(timeout=20) == 1


def test_a_child_that_keeps_the_output_open(bench: Bench) -> None:
    """Nothing waits for it."""
    bench.stand_in("sleep 5 & exit 1")
    began = time.monotonic()
    assert push(bench)[0] == 1
    assert time.monotonic() - began < 3


# --- whose archive it is ----------------------------------------------------------------------------------------------


def test_without_a_checksum_of_the_settings_each_file_asks(bench: Bench) -> None:
    """Their change could not be seen."""
    if not prefers_applets(bench.shell) or "cksum" not in applets():
        tool = bench.root / "bin" / "cksum"
        tool.unlink(missing_ok=True)
        tool.write_text("#!/bin/sh\nexit 127\n", encoding="ascii")
        tool.chmod(0o755)
        assert push(bench) == (0, "")
        assert push(bench) == (0, "")
        assert len(bench.asked()) == 2


def test_the_first_file_asks_and_the_next_does_not(bench: Bench) -> None:
    """The question names where the wrapper was called, not what the record says."""
    assert push(bench) == (0, "")
    asked = [
        "confirm",
        "--instance",
        "main",
        "--config-dir",
        str(bench.root),
        "--data-dir",
        str(bench.data),
        "--file",
        SEGMENT,
    ]
    assert bench.asked() == [asked]
    assert push(bench) == (0, "")
    assert push(bench, "00000002.history") == (0, "")
    assert bench.asked() == [asked]
    assert len(bench.calls()) == 3


def test_a_marker_that_is_gone_is_asked_about_and_one_that_is_there_is_not(bench: Bench) -> None:
    """A share that is not mounted: nothing is sent to the disk below."""
    marker = bench.root / "share" / "mapswipe_walg_owner.json"
    marker.parent.mkdir()
    marker.write_text("{}", encoding="ascii")
    (bench.state / "owner-seen").write_text(f"{marker}\nfile:///share\n7\n", encoding="utf-8")
    assert push(bench) == (0, "")
    before = len(bench.asked())
    assert push(bench) == (0, "")
    assert len(bench.asked()) == before
    marker.unlink()
    bench.job_stand_in("echo 'walg-job[main]: Is the share mounted?' >&2; exit 1")
    sent = len(bench.calls())
    assert push(bench)[0] == 1
    assert len(bench.calls()) == sent


@pytest.mark.parametrize("what", ["settings", "server start", "identifier", "note", "garbled note", "machine"])
def test_what_changed_is_asked_about_again(bench: Bench, what: str) -> None:
    """Each of them by itself; afterwards all is quiet again."""
    pid_file = bench.data / "postmaster.pid"
    pid_file.write_text("123\n/data\n1700000000\n5432\n", encoding="ascii")
    assert push(bench) == (0, "")
    note = bench.state / "push-owner"
    if what == "settings":
        (bench.root / "main.json").write_text("[]\n", encoding="ascii")
    elif what == "server start":
        pid_file.write_text("123\n/data\n1700000001\n5432\n", encoding="ascii")
    elif what == "identifier":
        bench.keys["SYSTEM_IDENTIFIER"] = "7"
        bench.write_record()
        write_segment(bench, SEGMENT, 7)
    elif what == "note":
        note.unlink()
    elif what == "garbled note":
        note.write_text("", encoding="ascii")
    else:
        fields = note.read_text(encoding="utf-8").split(" ")
        machine = Path("/etc/machine-id")
        assert fields[3] == (machine.read_text(encoding="ascii").strip() if machine.exists() else "")
        note.write_text(" ".join([*fields[:3], "f" * 32, *fields[4:]]), encoding="utf-8")
    bench.job_stand_in("echo 'walg-job[main]: foreign' >&2; exit 1")
    assert push(bench)[0] == 1
    assert len(bench.calls()) == 1
    bench.job_stand_in("exit 0")
    assert push(bench) == (0, "")
    assert push(bench) == (0, "")
    assert (len(bench.asked()), len(bench.calls())) == (3, 3)


def test_a_copied_directory_is_asked_about(bench: Bench) -> None:
    """The record, the note and all are production's; the server's directory is not. Seen through symbolic links, too."""
    assert push(bench) == (0, "")
    link = bench.root / "link"
    link.symlink_to(bench.data)
    bench.environment["PWD"] = str(link)
    process = bench.start(str(bench.record), f"pg_wal/{SEGMENT}", cwd=link)
    assert bench.finish(process) == (0, "")
    assert len(bench.asked()) == 1
    copy = bench.root / "copy"
    copy.mkdir()
    bench.environment["PWD"] = str(bench.data)
    bench.job_stand_in("echo 'walg-job[main]: a copy' >&2; exit 1")
    code, err = bench.finish(bench.start(str(bench.record), f"pg_wal/{SEGMENT}", cwd=copy))
    assert code == 1
    assert "a copy" in err
    assert bench.asked()[-1][6] == str(copy)
    assert len(bench.calls()) == 2


@pytest.mark.parametrize("code", [1, 2, 75, 126, 137, 255])
def test_what_is_not_confirmed_is_not_sent(bench: Bench, code: int) -> None:
    """Its reason is shown, nothing is noted, and the next file is asked about again."""
    bench.job_stand_in(f"echo 'walg-job[main]: it is the archive of db1' >&2; exit {code}")
    for _turn in range(2):
        got, err = push(bench)
        assert got == 1
        assert f"{PREFIX}refused to send {SEGMENT}" in err
        assert f"{PREFIX}walg-job[main]: it is the archive of db1" in err
    assert (len(bench.asked()), bench.calls()) == (2, [])
    assert [path.name for path in bench.state.glob("*")] == ["wal-push.log"]


def test_a_missing_job_is_not_taken_for_a_yes(bench: Bench) -> None:
    """Nor one that can't be run."""
    (bench.root / "bin" / "walg-job").unlink()
    got, err = push(bench)
    assert got == 1
    assert "walg-job ended with exit code 12" in err
    assert bench.calls() == []


def test_a_question_that_hangs_is_cut_off(bench: Bench) -> None:
    """By the limit of a push."""
    bench.keys["PUSH_TIMEOUT"] = "1"
    bench.write_record()
    bench.job_stand_in("exec sleep 25")
    began = time.monotonic()
    got, err = push(bench)
    assert got == 1
    assert "within 1 s" in err
    assert time.monotonic() - began < 4
    assert bench.calls() == []


def test_a_signal_ends_the_question(bench: Bench) -> None:
    """As it ends WAL-G."""
    bench.job_stand_in("echo $$ >$seen/ready; exec sleep 25")
    code, err, spent = bench.signalled(signal.SIGTERM, str(bench.record), f"pg_wal/{SEGMENT}")
    assert code == 1
    assert spent < 2
    assert "stopped by signal TERM" in err


def test_the_answer_of_a_foreign_directory_is_not_kept_for_ours(bench: Bench) -> None:
    """A note is about one directory at a time."""
    copy = bench.root / "copy"
    copy.mkdir()
    for directory in (bench.data, copy, bench.data):
        assert bench.finish(bench.start(str(bench.record), f"pg_wal/{SEGMENT}", cwd=directory)) == (0, "")
    assert [call[6] for call in bench.asked()] == [str(bench.data), str(copy), str(bench.data)]
