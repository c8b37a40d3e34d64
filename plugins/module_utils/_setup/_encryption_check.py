# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: WAL-G can encrypt with the keys that are given, and decrypt what it encrypted. Tried on this host alone.

WAL-G itself looks at a key when it pushes the first segment; an archive made with a key that can't decrypt is found by a restore.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _scratch
from .._host._files import read_text
from .._storage import _answers, _url
from .._walg import _encryption
from .._walg._settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._host._process import Result, Runner

_TIMEOUT = 30.0
_TEXT = "mapswipe.walg tries the key\n"
_COMPRESSION = "WALG_COMPRESSION_METHOD"


def check(runner: Runner, settings: Settings, binary: str, environment: Mapping[str, str]) -> None:
    """Encrypt a text and decrypt it again, in a directory of our own. To be called as the user who runs WAL-G. Raises WalgError.

    Without an encryption or a compression of its own among the settings there is nothing to try.
    """
    given = settings.values
    names = _encryption.used(given) or [name for name in (_COMPRESSION,) if name in given]
    if not names:
        return
    own = {name: value for name, value in given.items() if name not in _url.prefixes_of(given)}
    with _scratch.opened() as scratch:
        storage, source, back = (os.path.join(scratch.directory, name) for name in ("storage", "text", "back"))
        os.mkdir(storage)
        with open(source, "w", encoding="utf-8") as stream:
            stream.write(_TEXT)
        config = scratch.linked("trial.json", Settings({**own, "WALG_FILE_PREFIX": storage}).rendered())

        def run(*arguments: str) -> None:
            argv = [binary, "--config", config, "st", *arguments]
            result = runner.run(argv, env=environment, timeout=_TIMEOUT, descriptors=scratch.descriptors)
            if result.rc != 0 or result.timed_out:
                raise _failure(result, names)

        run("put", source, "text")
        run("get", next(iter(os.listdir(storage)), "text"), back)
        if read_text(back) != _TEXT:
            raise WalgError(f"WAL-G decrypts something else than it encrypted with {' and '.join(names)}.")


def _failure(result: Result, names: list[str]) -> WalgError:
    output = result.stderr or result.stdout
    told = _encryption.meaning(output) or _said(output)
    act = "compress" if names == [_COMPRESSION] else "encrypt and decrypt"
    return WalgError(
        f"WAL-G can't {act} as {' and '.join(names)} says: {told}. Nothing was archived.",
        rc=result.rc,
        timed_out=result.timed_out,
    )


def _said(output: str) -> str:
    """Return WAL-G's own word: of a crash the line that tells its cause."""
    crash = [line for line in output.splitlines() if line.startswith("panic: ")]
    return (crash[0][len("panic: ") :] if crash else _answers.telling_line(output)).rstrip(".")
