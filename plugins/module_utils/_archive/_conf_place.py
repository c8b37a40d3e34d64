# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on where our settings stand among a server's configuration files, and on what PostgreSQL reads after them.

Of two lines the later one counts, so a line after ours would win: it is rejected before anything is written.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._postgres import _conf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_INCLUDES = ("include", "include_if_exists", "include_dir")
_AUTO_CONF = "postgresql.auto.conf"
_WORDS = {"true": "on", "yes": "on", "1": "on", "false": "off", "no": "off", "0": "off"}


@dataclass(frozen=True)
class ConfPlace:
    """``conf_file``: ours; ``line``: the one of the main file that includes it, 0 where it is yet to be added at the end."""

    conf_file: str
    main_file: str
    main_after: str
    line: int
    below: Sequence[str]  # what the main file includes after that line


def choose(main_file: str, text: str, data_dir: str) -> ConfPlace:
    """Return where our settings go: into a file that is included already, else into conf.d, else beside the main file."""
    directory = os.path.dirname(main_file)
    lines = [line for line in _conf.parse(text) if line.name in _INCLUDES]
    targets = [(line, os.path.normpath(os.path.join(directory, line.value))) for line in lines]
    beside = os.path.join(directory, _conf.FILE_NAME)
    for path in (beside, in_data_dir(data_dir)):
        included = [line.number for line, target in targets if target == path and line.name != "include_dir"]
        if included:
            return _place(path, main_file, text, included[-1], targets)
    conf_d = os.path.join(directory, "conf.d")
    included = [line.number for line, target in targets if target == conf_d and line.name == "include_dir"]
    if included:
        return _place(os.path.join(conf_d, _conf.FILE_NAME), main_file, text, included[-1], targets)
    return ConfPlace(beside, main_file, _conf.with_include(text), 0, ())


def in_data_dir(data_dir: str) -> str:
    """Return our file's path where the main configuration file is not ours to change, and whose it is includes this one."""
    return os.path.join(data_dir, _conf.FILE_NAME)


def _place(
    conf_file: str, main_file: str, text: str, number: int, targets: Sequence[tuple[_conf.Line, str]]
) -> ConfPlace:
    below = [target for line, target in targets if line.number > number]
    return ConfPlace(conf_file, main_file, text, number, below)


def later(files: Sequence[Mapping[str, Any]], place: ConfPlace) -> Sequence[Mapping[str, Any]]:
    """Return the rows of pg_file_settings, which are in its order, that PostgreSQL reads after our file."""
    ours = [number for number, row in enumerate(files) if row["sourcefile"] == place.conf_file]
    if ours:
        return files[ours[-1] + 1 :]
    first = next((number for number, row in enumerate(files) if _follows(row, place)), len(files))
    return files[first:]


def _follows(row: Mapping[str, Any], place: ConfPlace) -> bool:
    source = str(row["sourcefile"])
    folder, name = os.path.split(source)
    if name == _AUTO_CONF:
        return True
    if not place.line:
        return False
    if source == place.main_file:
        return int(row["sourceline"]) > place.line
    if folder == os.path.dirname(place.conf_file) != os.path.dirname(place.main_file):
        return name > os.path.basename(place.conf_file)  # a directory's files in the order of their bytes
    return any(path in (source, folder) for path in place.below)


def refuse_later(files: Sequence[Mapping[str, Any]], wanted: Mapping[str, str], place: ConfPlace) -> None:
    """Raise WalgError where a line that comes after our file says something else than ours would."""
    last = {str(row["name"]).lower(): row for row in later(files, place) if row["name"]}
    for name, value in wanted.items():
        row = last.get(name)
        if row is None or _same(name, str(row["setting"]), value):
            continue
        where = f"{row['sourcefile']} line {row['sourceline']}"
        if os.path.basename(str(row["sourcefile"])) == _AUTO_CONF:
            advice = f"It was set by ALTER SYSTEM. Run: ALTER SYSTEM RESET {name};"
        else:
            advice = f"Remove that line, or move it above the line that includes {place.conf_file}."
        raise WalgError(
            f"{name} = {row['setting']!r} in {where} comes after the collection's file {place.conf_file}, and PostgreSQL uses the "
            f"later one. {advice}",
            found=str(row["setting"]),
            wanted=value,
        )


def _same(name: str, found: str, wanted: str) -> bool:
    if name == "archive_timeout":
        return _conf.seconds(found, "s") == _conf.seconds(wanted, "s")
    if name == "archive_mode":
        return _WORDS.get(found.lower(), found.lower()) == wanted
    return found == wanted
