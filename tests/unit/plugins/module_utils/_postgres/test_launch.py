# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a server was started, by recorded command lines and environments."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _proc
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _data_dir, _launch
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster

ME = User.current()


def started(
    monkeypatch: pytest.MonkeyPatch, words: list[str], opts: list[str] | None = None, **environment: str
) -> None:
    """Let every process have been called so; ``opts``: what postmaster.opts says, by default nothing."""
    monkeypatch.setattr(_proc, "command_line", lambda _pid: [*words, ""])
    monkeypatch.setattr(_proc, "environment", lambda _pid: environment)
    monkeypatch.setattr(_proc, "link", lambda _pid, _name: "/dev/null")
    monkeypatch.setattr(_data_dir, "start_words", lambda _path: opts or [])


@pytest.mark.parametrize(
    ("words", "environment", "directory", "options"),
    [
        (["postgres", "-D", "/d"], {}, "/d", []),
        (["/usr/bin/postgres", "-D/etc/pg", "-p", "5433"], {}, "/etc/pg", ["-p", "5433"]),
        (["postgres", "-D", "/a", "-c", "x=a b", "-D", "/etc/pg"], {}, "/etc/pg", ["-c", "x=a b"]),
        (["postgres", "--port=5433"], {"PGDATA": "/etc/pg"}, "/etc/pg", ["--port=5433"]),
        (["postgres"], {}, "/d", []),
        (["/lib64/ld-linux-x86-64.so.2", "/usr/bin/postgres", "-D", "/d", "-i"], {}, "/d", ["-i"]),
        ([".postgres-wrapped", "-D", "/d", "-c", "work_mem=1MB"], {}, "/d", ["-c", "work_mem=1MB"]),
    ],
)
def test_directory_and_options(
    monkeypatch: pytest.MonkeyPatch, words: list[str], environment: dict[str, str], directory: str, options: list[str]
) -> None:
    started(monkeypatch, words, **environment)
    found = _launch.of(1, "/d", ME)
    assert (found.directory, list(found.options), found.log) == (directory, options, "")


def test_an_emulators_own_words_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch, ["qemu-x86_64", "-cpu", "max", "/pg/bin/pg", "-D", "/d", "-i"], ["-D", "/d", "-i"])
    assert list(_launch.of(1, "/d", ME).options) == ["-i"]


def test_relative_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the server's own word, else by where its shell was, else not at all."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "hba.conf").write_text("")
    words = ["postgres", "-D", "conf", "-c", "hba_file=hba.conf"]
    started(monkeypatch, words, PWD=str(tmp_path))
    found = _launch.of(1, "/d", ME)
    assert (found.directory, found.options[1]) == (f"{tmp_path}/conf", f"hba_file={tmp_path}/hba.conf")
    assert _launch.of(1, "/d", ME, "/etc/pg/postgresql.conf").directory == "/etc/pg"
    started(monkeypatch, words, PWD="/")
    with pytest.raises(WalgError, match=r"relative path 'conf', and its directory is not known"):
        _launch.of(1, "/d", ME)
    started(monkeypatch, ["postgres", "-D", "/etc/pg", "--config-file=x.conf"])
    assert list(_launch.of(1, "/d", ME, "/etc/pg/x.conf").options) == ["--config-file=/etc/pg/x.conf"]


def test_what_is_recorded_and_shown_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    started(
        monkeypatch,
        ["postgres", "-D", "/etc/pg", "-c", "x=a b"],
        PGPORT="5433",
        LC_ALL="",
        LANG="de_DE.UTF-8",
        PGPASSWORD="s3cret",
        AWS_SECRET_ACCESS_KEY="s3cret",
        PG_GRANDPARENT_PID="17",
        TZ="two\nlines",
        LD_PRELOAD="/a b.so",
    )
    launch = _launch.of(1, "/d", ME)
    assert launch.environment["PGPASSWORD"] == "s3cret"
    made = _launch.recorded(Cluster("/d", "/bin", "/run"), launch)
    assert made.start_environment == "LANG=de_DE.UTF-8 'LD_PRELOAD=/a b.so' PGPORT=5433"
    assert _launch.variables(made.start_environment) == {
        "LANG": "de_DE.UTF-8",
        "LD_PRELOAD": "/a b.so",
        "PGPORT": "5433",
    }
    assert (made.start_dir, made.start_options) == ("/etc/pg", "-c 'x=a b'")
    assert made.config_file == "/etc/pg/postgresql.conf"


def test_where_it_was_started_counts_for_relative_paths_of_its_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are found from there only, so that it is started there again; where that can't be told, it is not stopped."""
    conf, data = tmp_path / "conf", tmp_path / "data dir"
    conf.mkdir()
    data.mkdir()
    (conf / "hba").write_text("")
    (conf / "postgresql.conf").write_text("hba_file = 'conf/hba'\ndata_directory = 'data dir'\n")
    words = ["postgres", "-D", str(conf)]
    started(monkeypatch, words, PWD=str(tmp_path))
    launch = _launch.of(1, str(data), ME)
    assert launch.cwd == str(tmp_path)
    made = _launch.recorded(Cluster(str(data), "/bin", "/run"), launch)
    assert _launch.cwd_of(made.start_environment) == str(tmp_path)
    assert _launch.cwd_of("PGPORT=5433") == ""
    for wrong in ("/", str(conf), ""):
        started(monkeypatch, words, PWD=wrong)
        with pytest.raises(WalgError, match="counts from the directory in which that was done, which can't be told"):
            _launch.of(1, str(data), ME)
    absolute = ["-c", f"hba_file={conf}/hba", "-c", f"data_directory={data}"]
    started(monkeypatch, [*words, *absolute], PWD="/")
    assert _launch.of(1, str(data), ME).cwd == ""
