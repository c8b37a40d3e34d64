# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL-G as a reader of one object: fetched, decrypted and decompressed as it streams by, and judged without keeping it.

WAL-G up to 2.0.1 does not decompress in ``st cat`` (the flags were added to another command by mistake); ``st get`` writes a file then.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .._errors import StorageError, WalgError
from .._host import _files
from .._host._process import Result
from .._storage import _answers

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from ._client import Walg

    Judge = Callable[[BinaryIO], str]

_SLOWEST = 100_000  # bytes a second that a storage delivers at least
_MARGIN = 64 * 1024**2  # bytes of room that a file leaves
#: The program can't open what others could have written: another key, or a compression that it was not built with.
_LOCKED_OUT = re.compile(
    r"decompressor for extension '\.|openpgp: incorrect key|could not (?:find|decrypt|get).{0,40} key|private key|libsodium|"
    r"crypter",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Look:
    """What came of reading one object: ``trouble`` ("" if it is well), and what the program ended with."""

    trouble: str
    result: Result

    @property
    def locked_out(self) -> bool:
        """Whether it is this WAL-G, or its key, that can't open the object."""
        return bool(self.trouble) and bool(_LOCKED_OUT.search(self.result.stderr))


@dataclass(frozen=True)
class Reader:
    """Reads objects of a storage. ``directory``: where a file may be, for a WAL-G that can't stream; the user's own."""

    walg: Walg
    streams: bool
    directory: str

    @classmethod
    def of(cls, walg: Walg, directory: str) -> Reader:
        """Ask WAL-G what it can do."""
        result = walg.runner.run(
            [walg.binary, "--config", walg.config, "st", "cat", "--help"], user=walg.user, timeout=30
        )
        return cls(walg, "--decompress" in result.stdout + result.stderr, directory)

    def look(self, path: str, size: int, judge: Judge, pace: float = 0.0, expected: int = 0) -> Look:
        """Read an object to its end. ``size``: as it is stored; ``expected``: about how many bytes it becomes, ``pace``: of them a second.

        Raises WalgError if there is no room for a file.
        """
        if self.streams:
            return self._streamed(["cat", "--decrypt", "--decompress", path], judge, pace)
        return self._fetched(path, size, judge, expected)

    def look_as_stored(self, path: str, judge: Judge, pace: float = 0.0) -> Look:
        """Read an object that is neither encrypted nor compressed."""
        return self._streamed(["cat", path], judge, pace)

    def transferred(self, path: str, pace: float = 0.0) -> tuple[int, Result]:
        """Return how many bytes of an object come through as they are stored."""
        count = [0]

        def read(stream: BinaryIO) -> str:
            for block in iter(lambda: stream.read(1 << 20), b""):
                count[0] += len(block)
            return ""

        result = self._streamed(["cat", path], read, pace).result
        return count[0], result

    def refuse_silent(self) -> None:
        """Raise StorageError unless the storage answers a small question."""
        self.walg.may_hold_backups()

    def failure(self, path: str, result: Result) -> StorageError:
        """Return the error for an object that the storage does not deliver: that tells nothing about the object."""
        kind = self.walg.storage.partition("://")[0]
        told = replace(result, stderr=_answers.telling_line(result.stderr or result.stdout), stdout="").last_line()
        said = "it fell silent" if result.timed_out else told
        advice = _answers.advice(result.stderr, kind, "read", result.timed_out)
        return StorageError(
            f"The storage {self.walg.storage} does not deliver {path}: {said} {advice}".strip(), **result.fields()
        )

    def _streamed(self, words: list[str], judge: Judge, pace: float) -> Look:
        found = [""]

        def read(stream: BinaryIO) -> None:
            found[0] = judge(stream)

        walg = self.walg
        argv = [walg.binary, "--config", walg.config, "st", *words]
        result = walg.runner.pipe(
            argv,
            read,
            user=walg.user,
            env=walg.environment,
            silence=walg.ask_timeout,
            pace=pace,
            descriptors=walg.descriptors,
        )
        return Look(_trouble(result, found[0]), result)

    def _fetched(self, path: str, size: int, judge: Judge, expected: int) -> Look:
        """For WAL-G up to 2.0.1: by a file, which is gone afterwards."""
        os.makedirs(self.directory, 0o700, exist_ok=True)
        free = _files.free_bytes(self.directory)
        if free < expected + _MARGIN:
            raise WalgError(
                f"{self.directory} has room for {free} bytes; reading {path} needs about {expected}. Make room there, or install WAL-G "
                "3.0.0 or newer, which needs none.",
                found=free,
                wanted=expected,
            )
        target = os.path.join(self.directory, "object")
        _files.remove_files(self.directory, ("object",))
        try:
            limit = self.walg.ask_timeout + max(size, expected) / _SLOWEST
            walg = self.walg
            argv = [walg.binary, "--config", walg.config, "st", "get", path, target]
            result = walg.runner.run(
                argv, user=walg.user, env=walg.environment, timeout=limit, descriptors=walg.descriptors
            )
            found = ""
            if result.rc == 0:
                with open(target, "rb", opener=_files.regular_opener) as stream:
                    found = judge(stream)
            return Look(_trouble(result, found), result)
        finally:
            _files.remove_files(self.directory, ("object",))


def _trouble(result: Result, found: str) -> str:
    if result.timed_out:
        return "the storage fell silent while it was read"
    if result.rc != 0:
        said = replace(result, stderr=_answers.telling_line(result.stderr), stdout="").last_line()
        return f"WAL-G can't read it: {said}"
    if "decompressor for extension '." in result.stderr:
        return "this WAL-G was built without the compression of this object"
    return found
