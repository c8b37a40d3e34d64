# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""wal-fetch, run for real under every shell of this machine; WAL-G is a stand-in, since only its faults matter here.

For PostgreSQL 1-125 is the end of the archive: it opens the database with what it has. So each test that expects 255
stands for committed rows that would be lost otherwise.
"""

from __future__ import annotations

import shlex
import signal
import time
from pathlib import Path

import pytest
from host_wrappers import SHELLS, STUBBORN, Bench, prefers_applets, wait_for

LAST = "000000010000000A000000FE"  # the last listed segment of timeline 1
ABOVE = "000000010000000A000000FF"
LAST_2 = "0000000200000001FFFFFFFF"
CONTROL = "basebackups_005/base_000000010000000A00000010_backup_stop_sentinel.json"
PREFIX = "mapswipe.walg wal-fetch[main]: "
MISSING_74 = "echo \"ERROR: 2026/01/02 03:04:05.000000 Archive '$4' does not exist.\" >&2; exit 74"
MISSING_1 = "echo \"ERROR: 2026/01/02 03:04:05.000000 Archive '$4' does not exist.\" >&2; exit 1"


@pytest.fixture(params=list(SHELLS))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """A bench below a directory with a blank and a quote in its name, with a plan."""
    made = Bench("wal-fetch", request.param, tmp_path / "it's here")
    made.write_record()
    write_plan(made)
    (made.data / "pg_wal").mkdir()
    return made


def write_plan(bench: Bench, last: str | None = f"{LAST} {LAST_2}", control: str | None = CONTROL) -> None:
    """Write PLANFILE; a key of None is left out."""
    keys = {"LAST_SEGMENTS": last, "CONTROL_OBJECT": control, "FIRST_SEGMENT": "000000010000000A00000010"}
    text = "".join(f"{key}={shlex.quote(value)}\n" for key, value in keys.items() if value is not None)
    (bench.root / "plan").write_text(text, encoding="utf-8")


def wal_g(bench: Bench, fetch: str = 'echo wal >"$5"', control: str = "echo '{}'") -> None:
    """Tell the stand-in what wal-fetch and st cat do. $4 is the name, $5 the destination."""
    bench.stand_in(f"case $3 in\nwal-fetch) {fetch} ;;\nst) {control} ;;\nesac")


def arguments(bench: Bench, name: str, mode: str = "recovery", dest: str = "pg_wal/RECOVERYXLOG") -> list[str]:
    """Return what PostgreSQL's restore_command gives."""
    return [mode, str(bench.record), str(bench.root / "plan") if mode == "recovery" else "-", name, dest]


def fetch(bench: Bench, name: str, mode: str = "recovery", dest: str = "pg_wal/RECOVERYXLOG") -> tuple[int, str]:
    """Fetch a file by a path relative to PGDATA, as PostgreSQL does."""
    return bench.run(*arguments(bench, name, mode, dest))


def kinds(bench: Bench) -> list[str]:
    """Return which calls of WAL-G there were."""
    return [call[2] for call in bench.calls()]


@pytest.mark.parametrize("mode", ["recovery", "standby"])
@pytest.mark.parametrize("name", [LAST, ABOVE, "00000002.history"])
def test_success_is_silent_and_the_call_is_right(bench: Bench, mode: str, name: str) -> None:
    """One call of WAL-G, and chatter of a successful one is not shown."""
    wal_g(bench, 'echo INFO: x >&2; echo out; echo wal >"$5"')
    assert fetch(bench, name, mode) == (0, "")
    assert bench.calls() == [["--config", bench.keys["WALG_CONFIG"], "wal-fetch", name, "pg_wal/RECOVERYXLOG"]]
    assert (bench.data / "pg_wal" / "RECOVERYXLOG").read_text(encoding="ascii") == "wal\n"


def test_absolute_path_with_blanks_and_pattern_characters(bench: Bench) -> None:
    """A path is one argument, whatever is in it."""
    dest = bench.root / "a *b"
    wal_g(bench)
    assert fetch(bench, LAST, dest=str(dest)) == (0, "")
    assert dest.exists()


@pytest.mark.parametrize("says", [MISSING_74, MISSING_1, "exit 74"], ids=["74", "text", "74-silent"])
@pytest.mark.parametrize(
    ("name", "believed"),
    [
        (ABOVE, True),
        ("000000010000000B00000000", True),
        ("0000000200000002000000A0", True),
        ("000000030000000100000001", True),
        ("00000002.history", True),
        (f"{LAST}.partial", True),
        (LAST, False),
        ("000000010000000A000000FD", False),
        ("0000000100000009000000FF", False),
        ("000000010000000000000001", False),
        (LAST_2, False),
    ],
)
def test_missing(bench: Bench, says: str, name: str, believed: bool) -> None:
    """What the plan listed can't be missing; of anything else the control object has to be readable."""
    bench.fast_pauses()
    wal_g(bench, says)
    code, err = fetch(bench, name)
    if believed:
        assert code == 1
        assert bench.calls()[1:] == [["--config", bench.keys["WALG_CONFIG"], "st", "cat", CONTROL]]
        assert len(err.splitlines()) == (0 if name.endswith((".history", ".partial")) else 1)
    else:
        assert code == 255
        assert kinds(bench) == ["wal-fetch"]
        assert "does not exist" in err
        assert name in err
    assert all(line.startswith(PREFIX) for line in err.splitlines())


def test_missing_with_nothing_listed(bench: Bench) -> None:
    """An empty list is a plan, too: the control object decides."""
    write_plan(bench, last="")
    wal_g(bench, MISSING_74)
    assert fetch(bench, "000000010000000000000001")[0] == 1


@pytest.mark.parametrize("name", [ABOVE, "00000002.history"])
@pytest.mark.parametrize("control", ["echo ERROR: 403 >&2; exit 1", "exit 74", "kill -KILL $$"])
def test_missing_on_a_storage_that_does_not_answer(bench: Bench, name: str, control: str) -> None:
    """A dead network or a wrong bucket says "missing" as well; it cannot show the control object."""
    wal_g(bench, MISSING_74, control)
    code, err = fetch(bench, name)
    assert code == 255
    assert CONTROL in err
    assert ("403" in err) == ("403" in control)


def test_missing_on_a_storage_that_hangs(bench: Bench) -> None:
    """Reading the control object is bounded, too."""
    bench.keys["FETCH_TIMEOUT"] = "1"
    bench.write_record()
    wal_g(bench, MISSING_74, "exec sleep 25")
    began = time.monotonic()
    assert fetch(bench, ABOVE)[0] == 255
    assert time.monotonic() - began < 5


def test_the_control_object_is_not_kept_in_a_file(bench: Bench) -> None:
    """It may be large, and nobody reads it."""
    wal_g(bench, MISSING_74, "[ /proc/$$/fd/1 -ef /dev/null ] || exit 1")
    assert fetch(bench, ABOVE)[0] == 1


def test_the_prefetching_child_s_missing_is_not_ours(bench: Bench) -> None:
    """It writes to the same place of a later segment, while this one failed for another reason."""
    bench.fast_pauses()
    wal_g(bench, f"echo \"ERROR: Archive '{ABOVE}' does not exist.\" >&2; echo 'ERROR: dial tcp: refused' >&2; exit 1")
    code, err = fetch(bench, "000000010000000B00000007")
    assert code == 255
    assert "refused" in err
    assert kinds(bench) == ["wal-fetch"] * 3


@pytest.mark.parametrize("code", [1, 2, 73, 75, 124, 125, 126, 127, 128, 137, 143, 200, 255])
def test_every_other_failure_ends_in_255_after_three_tries(bench: Bench, code: int) -> None:
    """Never 143: PostgreSQL would stop without a line."""
    bench.fast_pauses()
    wal_g(bench, f"echo 'ERROR: token expired' >&2; printf tail >&2; exit {code}")
    got, err = fetch(bench, ABOVE)
    assert got == 255
    assert kinds(bench) == ["wal-fetch"] * 3
    assert bench.lines("pauses") == ([] if prefers_applets(bench.shell) else ["1", "1"])
    assert f"{PREFIX}wal-g: ERROR: token expired" in err.splitlines()
    assert f"{PREFIX}wal-g: tail" in err.splitlines()
    assert all(line.startswith(PREFIX) for line in err.splitlines())


@pytest.mark.parametrize("name", ["TERM", "KILL"])
def test_death_by_a_signal_ends_in_255(bench: Bench, name: str) -> None:
    """WAL-G killed from outside is trouble like any other."""
    bench.fast_pauses()
    wal_g(bench, f"kill -{name} $$")
    assert fetch(bench, ABOVE)[0] == 255
    assert kinds(bench) == ["wal-fetch"] * 3


def test_a_passing_trouble_is_survived(bench: Bench) -> None:
    """The third try may succeed; what the first two left is out of its way (WAL-G refuses an existing file)."""
    wal_g(
        bench,
        '[ ! -e "$5" ] || { echo file exists >&2; exit 1; }; echo x >>$seen/tries; echo par >"$5"; '
        "[ $(wc -l <$seen/tries) -eq 3 ] || exit 1",
    )
    began = time.monotonic()
    code, err = fetch(bench, ABOVE)
    assert code == 0
    assert 2 <= time.monotonic() - began < 6
    assert "file exists" not in err


@pytest.mark.parametrize("mode", ["recovery", "standby"])
def test_a_file_that_was_there_before_is_not_touched(bench: Bench, mode: str) -> None:
    """It is not ours, whatever happens."""
    bench.fast_pauses()
    dest = bench.data / "pg_wal" / "RECOVERYXLOG"
    dest.write_text("theirs", encoding="ascii")
    wal_g(bench, "exit 1")
    assert fetch(bench, ABOVE, mode)[0] == (255 if mode == "recovery" else 1)
    assert dest.read_text(encoding="ascii") == "theirs"


@pytest.mark.parametrize("mode", ["recovery", "standby"])
def test_nothing_of_ours_is_left_after_a_failure(bench: Bench, mode: str) -> None:
    """The part that the last try wrote goes, too."""
    bench.fast_pauses()
    wal_g(bench, 'echo part >"$5"; exit 1')
    assert fetch(bench, ABOVE, mode)[0] == (255 if mode == "recovery" else 1)
    assert list((bench.data / "pg_wal").iterdir()) == []


@pytest.mark.parametrize("says", ["exit 0", ': >"$5"'])
@pytest.mark.parametrize("name", [ABOVE, LAST, "00000002.history"])
def test_success_without_a_file_is_a_failure(bench: Bench, says: str, name: str) -> None:
    """A zero-byte object is fetched by WAL-G with success."""
    bench.fast_pauses()
    wal_g(bench, says)
    code, err = fetch(bench, name)
    assert code == 255
    assert "empty or not there" in err
    assert kinds(bench) == ["wal-fetch"] * 3


def test_a_hanging_storage_is_cut_off(bench: Bench) -> None:
    """Three bounded tries, then 255; coreutils' 124 must not get out."""
    bench.keys["FETCH_TIMEOUT"] = "1"
    bench.write_record()
    wal_g(bench, "exec /bin/sleep 25")
    began = time.monotonic()
    code, err = fetch(bench, ABOVE)
    assert code == 255
    assert "1 s" in err
    assert 4 < time.monotonic() - began < 12
    assert kinds(bench) == ["wal-fetch"] * 3


@pytest.mark.parametrize("mode", ["recovery", "standby"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT])
def test_a_signal_reaches_wal_g(bench: Bench, number: signal.Signals, mode: str) -> None:
    """Quickly; WAL-G is gone by then, and what it had written of the file."""
    wal_g(bench, 'echo part >"$5"; echo $$ >$seen/ready; exec sleep 25')
    code, err, spent = bench.signalled(number, *arguments(bench, ABOVE, mode))
    assert code == (255 if mode == "recovery" else 1)
    assert spent < 2
    assert err.startswith(f"{PREFIX}stopped by signal {number.name[3:]}")
    assert list((bench.data / "pg_wal").iterdir()) == []


@pytest.mark.parametrize("fate", STUBBORN)
def test_a_stubborn_wal_g_is_ended_without_the_help_of_timeout(bench: Bench, fate: str) -> None:
    """The pauses take no time here: what ends WAL-G does not come with them."""
    if bench.shell == "busybox":
        pytest.skip("busybox's timeout replaces itself by the program")
    bench.no_pauses()
    wal_g(bench, STUBBORN[fate])
    code, _err, spent = bench.signalled(signal.SIGTERM, *arguments(bench, ABOVE))
    assert code == 255
    assert spent < 2.8, "timeout's own KILL comes after 3 s"


def test_a_signal_in_a_pause(bench: Bench) -> None:
    """It ends the pause and everything else."""
    wal_g(bench, "exit 1")
    process = bench.start(*arguments(bench, ABOVE))
    wait_for(lambda: bench.lines("calls"))
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert bench.finish(process)[0] == 255
    assert time.monotonic() - began < 0.6
    assert len(bench.calls()) == 1


@pytest.mark.parametrize("says", [MISSING_74, MISSING_1, "exit 74"], ids=["74", "text", "74-silent"])
@pytest.mark.parametrize("name", [LAST, ABOVE, "00000002.history"])
def test_standby_missing(bench: Bench, says: str, name: str) -> None:
    """A standby asks again and again: 1, no proof, no line."""
    wal_g(bench, says)
    assert fetch(bench, name, "standby") == (1, "")
    assert kinds(bench) == ["wal-fetch"]


@pytest.mark.parametrize("says", ["exit 1", "exit 143", "exit 200", "exit 255", "kill -KILL $$", "exit 0"])
def test_standby_trouble(bench: Bench, says: str) -> None:
    """A code above 125 would stop a running replica: 1 after one try, with one line that holds WAL-G's last."""
    wal_g(bench, f"printf 'INFO: x\\nERROR: 403\\n' >&2; {says}")
    code, err = fetch(bench, LAST, "standby")
    assert code == 1
    assert kinds(bench) == ["wal-fetch"]
    assert len(err.splitlines()) == 1
    assert err.startswith(f"{PREFIX}could not fetch {LAST}")
    assert ("ERROR: 403" in err) == (says != "exit 0")


def test_standby_hanging(bench: Bench) -> None:
    """One bounded try."""
    bench.keys["FETCH_TIMEOUT"] = "1"
    bench.write_record()
    wal_g(bench, "exec sleep 25")
    began = time.monotonic()
    code, err = fetch(bench, LAST, "standby")
    assert code == 1
    assert time.monotonic() - began < 4
    assert len(err.splitlines()) == 1


def test_the_prefetching_child_is_not_waited_for(bench: Bench) -> None:
    """It keeps WAL-G's output open, on success and on failure."""
    wal_g(bench, 'sleep 5 & echo wal >"$5"')
    began = time.monotonic()
    assert fetch(bench, LAST) == (0, "")
    assert time.monotonic() - began < 2
    wal_g(bench, "sleep 5 & exit 1")
    began = time.monotonic()
    assert fetch(bench, LAST, "standby")[0] == 1
    assert time.monotonic() - began < 2


def test_the_server_s_environment_does_not_reach_wal_g(bench: Bench) -> None:
    """For WAL-G a variable beats the settings file; the control object is read in the same environment."""
    bench.environment.update(
        WALG_FILE_PREFIX="/elsewhere", PGDATA="/other", AWS_REGION="x", NO_PROXY="stray", TZ="Asia/Tokyo"
    )
    wanted = {"HOME": str(bench.root), "LANG": "C", "TZ": "Asia/Tokyo"}
    wal_g(bench)
    assert fetch(bench, LAST) == (0, "")
    seen = bench.seen_environment()
    assert seen.pop("PATH").startswith(bench.environment["PATH"])
    assert seen == wanted
    bench.keys.update(HTTPS_PROXY="http://127.0.0.1:1", SSL_CERT_FILE="/c a/`id`")
    bench.write_record()
    wal_g(bench, MISSING_74)
    assert fetch(bench, ABOVE)[0] == 1
    assert kinds(bench)[-1] == "st"
    seen = bench.seen_environment()
    del seen["PATH"]
    assert seen == {**wanted, "HTTPS_PROXY": "http://127.0.0.1:1", "SSL_CERT_FILE": "/c a/`id`"}


@pytest.mark.parametrize("mode", ["recovery", "standby"])
@pytest.mark.parametrize("key", ["WALG_BINARY", "WALG_CONFIG", "WALG_INSTANCE", "FETCH_TIMEOUT", "STATE_DIR"])
def test_a_missing_key(bench: Bench, key: str, mode: str) -> None:
    """The record has to set each, even where the server's environment has a variable of that name."""
    bench.environment[key] = str(bench.keys[key])
    bench.keys[key] = None
    bench.write_record()
    code, err = fetch(bench, LAST, mode)
    assert code == (255 if mode == "recovery" else 1)
    assert f"does not set {key}" in err
    assert len(err.splitlines()) == 1
    assert bench.calls() == []


@pytest.mark.parametrize("mode", ["recovery", "standby"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("FETCH_TIMEOUT", "0"),
        ("FETCH_TIMEOUT", "1m"),
        ("WALG_BINARY", "wal-g"),
        ("WALG_BINARY", "/nonexistent/wal-g"),
        ("WALG_CONFIG", "/nonexistent/main.json"),
        ("STATE_DIR", "/nonexistent"),
    ],
)
def test_a_wrong_value(bench: Bench, key: str, value: str, mode: str) -> None:
    """One plain line names it; WAL-G is not started."""
    bench.keys[key] = value
    bench.write_record()
    code, err = fetch(bench, LAST, mode)
    assert code == (255 if mode == "recovery" else 1)
    assert value in err
    assert err.startswith(PREFIX)
    assert len(err.splitlines()) == 1
    assert bench.calls() == []


@pytest.mark.parametrize("mode", ["recovery", "standby"])
@pytest.mark.parametrize("text", [None, "WALG_BINARY='x\n", "fi\n", "exit 0\n", "exit 1\n", ": ${nope}\n"])
def test_a_damaged_record(bench: Bench, text: str | None, mode: str) -> None:
    """Whatever the shell makes of it: it gives up with 2 by itself, which would be the end of the archive."""
    if text is None:
        bench.record.unlink()
    else:
        with bench.record.open("a", encoding="ascii") as stream:
            stream.write(text)
    code, err = fetch(bench, LAST, mode)
    assert code == (255 if mode == "recovery" else 1)
    assert "mapswipe.walg wal-fetch[" in err
    assert bench.calls() == []


@pytest.mark.parametrize(
    "plan",
    [
        None,
        "",
        f"LAST_SEGMENTS='{LAST}'\n",
        f"CONTROL_OBJECT='{CONTROL}'\n",
        f"LAST_SEGMENTS='{LAST}'\nCONTROL_OBJECT=''\n",
        f"LAST_SEGMENTS='{LAST} 12'\nCONTROL_OBJECT='{CONTROL}'\n",
        f"LAST_SEGMENTS='{LAST[:-1]}z'\nCONTROL_OBJECT='{CONTROL}'\n",
        f"LAST_SEGMENTS='{LAST}\nCONTROL_OBJECT='{CONTROL}'\n",
        "fi\n",
        "exit 1\n",
    ],
)
def test_a_damaged_plan(bench: Bench, plan: str | None) -> None:
    """Without a sound plan nothing can be told missing, so nothing is started. The environment is no substitute."""
    bench.environment.update(LAST_SEGMENTS="", CONTROL_OBJECT="x")
    wal_g(bench, MISSING_74)
    path = bench.root / "plan"
    path.unlink()
    if plan is not None:
        path.write_text(plan, encoding="ascii")
    code, err = fetch(bench, ABOVE)
    assert code == 255
    assert PREFIX in err
    assert bench.calls() == []


def test_recovery_without_a_plan(bench: Bench) -> None:
    """PLANFILE may be "-" in mode standby only."""
    args = arguments(bench, ABOVE)
    args[2] = "-"
    assert bench.run(*args)[0] == 255


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        ([], 255),
        (["recovery"], 255),
        (["recovery", "a", "b", "c"], 255),
        (["standby"], 1),
        (["standby", "a", "b", "c", "d", "e"], 1),
        (["replica", "a", "b", "c", "d"], 255),
        (["", "a", "b", "c", "d"], 255),
    ],
)
def test_wrong_usage(bench: Bench, args: list[str], wanted: int) -> None:
    """255 unless it is clearly a standby."""
    code, err = bench.run(*args)
    assert code == wanted
    assert "expected: " in err


def test_a_closed_stderr(bench: Bench) -> None:
    """A log reader that went away does not turn a failure into a death by SIGPIPE."""
    bench.fast_pauses()
    wal_g(bench, "/bin/sleep 0.3; exit 3")
    process = bench.start(*arguments(bench, ABOVE))
    assert process.stderr is not None
    process.stderr.close()
    assert process.wait(timeout=20) == 255


@pytest.mark.parametrize("mode", ["standby", "recovery"])
def test_one_line_also_where_wal_g_dies_before_it_is_waited_for(bench: Bench, mode: str) -> None:
    """A shell may tell of a child's death by itself, with a line that names neither file nor cause."""
    bench.slow_removal()
    wal_g(bench, "kill -KILL $$")
    _code, err = fetch(bench, LAST, mode)
    assert [line for line in err.splitlines() if not line.startswith(PREFIX)] == []
