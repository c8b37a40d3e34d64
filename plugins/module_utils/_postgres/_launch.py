# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a running server was started by hand: directory, options, environment, log; so that it can be started that way again."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Mapping, Sequence

from .._errors import WalgError
from .._host import _proc
from .._host._users import call_as
from . import _data_dir, _pg_files, _server_process

if TYPE_CHECKING:
    from .._host._users import User
    from ._cluster import Cluster

#: Variables that change what the server does, and hold no secret: these may be recorded and shown.
_TELLING = re.compile(
    r"(PGPORT|PGDATESTYLE|PGCLIENTENCODING|PGTZ|PG_OOM_\w+|TZ|LANG|LANGUAGE|LC_\w+|LD_LIBRARY_PATH|LD_PRELOAD|MALLOC_\w+|GLIBC_TUNABLES"
    r"|LOCALE_ARCHIVE|ICU_DATA|NIX_PGLIBDIR|PYTHONHOME|PYTHONPATH|PERL5LIB|KRB5_CONFIG|KRB5_KTNAME|OPENSSL_CONF|GDAL_DATA|PROJ_LIB)\Z"
)
_CWD = "PWD"
_FILE_OPTIONS = ("config_file", "hba_file", "ident_file", "data_directory")
_BY_START = (
    "data_directory",
    "hba_file",
    "ident_file",
)  # a relative one in a file counts from where the server was started


@dataclass(frozen=True)
class Launch:
    """``directory``: what -D or PGDATA named, absolute; ``options``: the other words; ``log``: empty if it can't be told.

    ``cwd``: where it was started, if something in its configuration depends on that.
    """

    directory: str
    options: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    log: str = ""
    cwd: str = ""


def words_of(environment: Mapping[str, str]) -> str:
    """Return those variables that may be recorded and shown, as words for a shell."""
    shown = {
        name: value
        for name, value in environment.items()
        if _TELLING.match(name) and value and not any(ord(char) < 32 for char in value)
    }
    return " ".join(shlex.quote(f"{name}={value}") for name, value in sorted(shown.items()))


def _cwd_word(cwd: str) -> str:
    return shlex.quote(f"{_CWD}={cwd}") if cwd else ""


def variables(words: str) -> dict[str, str]:
    """Read them back."""
    return dict(word.partition("=")[::2] for word in shlex.split(words))


def cwd_of(words: str) -> str:
    """Return the directory in which the server must be started; empty: any will do."""
    return variables(words).get(_CWD, "")


def recorded(cluster: Cluster, launch: Launch) -> Cluster:
    """Return the cluster as it is started by hand the next time."""
    elsewhere = os.path.realpath(launch.directory) != os.path.realpath(cluster.data_dir)
    settings = {_setting(word)[0]: _setting(word)[2] for word in launch.options}
    config_file = settings.get("config_file") or os.path.join(launch.directory, "postgresql.conf")
    return replace(
        cluster,
        config_file=cluster.config_file or (config_file if elsewhere else ""),
        start_dir=launch.directory if elsewhere else "",
        start_options=" ".join(shlex.quote(word) for word in launch.options),
        start_environment=" ".join(filter(None, [words_of(launch.environment), _cwd_word(launch.cwd)])),
    )


def of(pid: int, data_dir: str, owner: User, config_file: str = "") -> Launch:
    """Return how a server was started. ``config_file``: as the server says it, where it could be asked.

    Raises WalgError where a path was relative and its place can't be told any more.
    """
    words = _arguments(pid, data_dir, owner)
    environment = _proc.environment(pid)
    named, options = _split(words)
    directory = named or environment.get("PGDATA", "") or data_dir
    if not os.path.isabs(directory):
        directory = _found(directory, environment, owner, config_file if not _names(options, "config_file") else "")
    options = [_absolute(word, environment, owner, config_file) for word in options]
    main_file = config_file or next((_setting(word)[2] for word in options if _names([word], "config_file")), "")
    files = _pg_files.read(owner, main_file or os.path.join(directory, _pg_files.MAIN), data_dir).settings
    relative = {
        name: files[name].value
        for name in _BY_START
        if name in files and not _names(options, name) and not os.path.isabs(files[name].value or "/")
    }
    cwd = _cwd(relative, environment.get(_CWD, ""), owner, data_dir)
    return Launch(directory, options, environment, _log(pid, owner), cwd)


def _arguments(pid: int, data_dir: str, owner: User) -> list[str]:
    """Return the server's words after its program's; a loader or an emulator has words of its own before it."""
    words = _proc.command_line(pid)[:-1]
    told = list(call_as(owner, _data_dir.start_words, data_dir))
    if told and told == words[len(words) - len(told) :]:
        return told
    first = next((at for at, word in enumerate(words) if _server_process.is_name(os.path.basename(word))), 0)
    return words[first + 1 :] or told


def _split(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return what -D names, the last one counts, and the other words."""
    directory, options, expected = "", [], False
    for at, word in enumerate(words):
        if expected:
            directory, expected = word, False
        elif word == "-D" and (at == 0 or words[at - 1] not in ("-c", "-o")):
            expected = True
        elif word.startswith("-D"):
            directory = word[2:]
        else:
            options.append(word)
    return directory, options


def _names(options: Sequence[str], name: str) -> bool:
    return any(_setting(word)[0] == name for word in options)


def _setting(word: str) -> tuple[str, str, str]:
    """Return name, prefix and value of an option that sets something: name=value, --name=value, -cname=value."""
    match = re.match(r"(-c|--)?([A-Za-z_][\w-]*)=(.*)\Z", word, re.DOTALL)
    return (match.group(2).replace("-", "_"), word[: match.start(3)], match.group(3)) if match else ("", "", "")


def _absolute(word: str, environment: Mapping[str, str], owner: User, config_file: str) -> str:
    name, prefix, value = _setting(word)
    if name not in _FILE_OPTIONS or os.path.isabs(value):
        return word
    if name == "config_file" and config_file:
        return prefix + config_file
    return prefix + _found(value, environment, owner, "")


def _found(path: str, environment: Mapping[str, str], owner: User, config_file: str) -> str:
    """Return a relative path of the command line as an absolute one: by the server's word, else by where its shell was."""
    if config_file:
        return os.path.dirname(config_file)
    candidate = os.path.normpath(os.path.join(environment.get("PWD", ""), path))
    if os.path.isabs(candidate) and call_as(owner, os.path.exists, candidate):
        return candidate
    raise WalgError(
        f"The server was started by hand with the relative path {path!r}, and its directory is not known, so it could not be "
        "started that way again. Start it with an absolute path (pg_ctl -D /...), then run again."
    )


def _cwd(relative: Mapping[str, str], candidate: str, owner: User, data_dir: str) -> str:
    """Return where the server was started if these settings count from there. Raises WalgError where that can't be told."""
    for name, path in relative.items():
        there = os.path.join(candidate, path)
        fits = os.path.realpath(there) == os.path.realpath(data_dir) if name == "data_directory" else True
        if not os.path.isabs(candidate) or not fits or not call_as(owner, os.path.exists, there):
            raise WalgError(
                f"The server was started by hand, and {name} = {path!r} in its configuration counts from the directory in which that "
                "was done, which can't be told. Write its full path there, then run again."
            )
    return candidate if relative else ""


def _log(pid: int, owner: User) -> str:
    """Return the file that the server's output goes to, if its owner can open it again."""
    path = _proc.link(pid, "fd/1")
    fitting = os.path.isabs(path) and not path.startswith("/dev/") and not path.endswith(" (deleted)")
    return path if fitting and call_as(owner, _writable, path) else ""


def _writable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.W_OK)
