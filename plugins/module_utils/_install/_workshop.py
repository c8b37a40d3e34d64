# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a binary is made ready: one copy, which is hashed, started and installed, and which nobody else can write.

The source may be anybody's: it is opened once, and whatever happens to it later happens to another file.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from .._errors import WalgError
from .._host import _files, _trust
from .._host._users import User
from .._walg import _client
from . import _elf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._host._process import Runner
    from .._walg._releases import BinaryVersion

#: WAL-G's builds have 45 to 70 MB.
MOST = 512 * 1024 * 1024
_UNPRIVILEGED = "nobody"
_OVERFLOW = 65534  # what the kernel calls it where there is no such user
#: Which package holds a library that published or own builds of WAL-G load.
_PACKAGES = {
    "liblzo2.so.2": "Debian and Ubuntu: liblzo2-2, Red Hat: lzo",
    "libsodium.so.23": "Debian and Ubuntu: libsodium23, Red Hat: libsodium",
    "libbrotlienc.so.1": "Debian and Ubuntu: libbrotli1, Red Hat: libbrotli",
    "libbrotlidec.so.1": "Debian and Ubuntu: libbrotli1, Red Hat: libbrotli",
}


@dataclass(frozen=True)
class Workshop:
    """``directory``: ours alone, gone with the run; ``user``: who starts a binary to try it, None for ourselves."""

    runner: Runner
    directory: str
    user: User | None

    def copy(self, source: str) -> tuple[str, str]:
        """Copy a file that may change under our hands; return the copy and its SHA-256."""
        path = self.place()
        try:
            with self.written(path) as stream:
                return path, _files.transfer(source, stream, MOST)
        except FileNotFoundError:
            raise WalgError(f"There is no file {source} on this host to install WAL-G from.") from None
        except OSError as exc:
            raise WalgError(f"Cannot copy {source} to {path}: {exc.strerror}.") from exc

    def place(self) -> str:
        """Return the path of the copy."""
        return os.path.join(self.directory, "wal-g")

    @contextlib.contextmanager
    def written(self, path: str) -> Iterator[IO[bytes]]:
        """Yield a new file to write; it can be started afterwards."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(path, flags, 0o700), "wb") as stream:
            yield stream
            os.fchmod(stream.fileno(), 0o755)


def starter(name: str | None) -> User | None:
    """Return who starts a binary to try it: not root, which nothing needs for that. ``name``: the cluster's owner, if known."""
    if os.geteuid() != 0:
        return None
    if name:
        user = User.by_name(name)
        if user.uid != 0:
            return user
    try:
        return User.by_name(_UNPRIVILEGED)
    except WalgError:
        return User.by_uid(_OVERFLOW)


@contextlib.contextmanager
def opened(runner: Runner, user: User | None, path: str | None) -> Iterator[Workshop]:
    """Open a workshop: beside ``path``, so that the copy can be renamed into its place, or among temporary files (None)."""
    if path is None:
        near, prefix = tempfile.gettempdir(), "mapswipe-walg-"
    else:
        near, prefix = _files.first_existing_parent(os.path.dirname(path)), _files.UNFINISHED
        _trust.refuse_loose(near, "The directory of walg_binary_path")
    try:
        directory = tempfile.mkdtemp(prefix=prefix, dir=near)
    except OSError as exc:
        raise WalgError(f"Cannot write into {near}: {exc.strerror}") from exc
    try:
        _trust.refuse_loose(directory, "The directory for temporary files")
        os.chmod(directory, 0o755)
        yield Workshop(runner, directory, user)
    finally:
        _clear(directory)


def _clear(directory: str) -> None:
    """Remove a workshop with all that is in it: files, and nothing else."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            os.unlink(os.path.join(directory, name))
        os.rmdir(directory)


def ask_version(runner: Runner, path: str, name: str, version: str, user: User | None) -> BinaryVersion:
    """Start the very file that is at ``path`` now, by a descriptor: whoever starts it need not be let through to it.

    ``name`` is what messages call the file, ``version`` what it should be.
    """
    handle = _files.open_regular(path)
    try:
        program = f"/proc/self/fd/{handle}"
        try:
            return _client.binary_version(runner, program, user, name=name, descriptors=[handle])
        except WalgError as exc:
            missing = _missing_libraries(runner, program, handle, user)
            if not missing:
                raise WalgError(exc.msg.replace(program, name), **exc.fields) from exc
            packages = ", ".join(f"{one} ({_PACKAGES.get(one, 'see your distribution')})" for one in missing)
            raise WalgError(
                f"WAL-G {version} does not start: this host lacks {packages}. Install that first.",
                missing=missing,
                **exc.fields,
            ) from exc
    finally:
        os.close(handle)


def _missing_libraries(runner: Runner, program: str, handle: int, user: User | None) -> list[str]:
    """Return the shared libraries that a program needs and its loader does not find."""
    with open(os.dup(handle), "rb") as stream:
        stream.seek(0)
        elf = _elf.read(stream)
    if elf is None or not os.access(elf.interpreter, os.X_OK):
        return []
    environment = {"LD_TRACE_LOADED_OBJECTS": "1"}  # as ldd does
    listed = runner.run([elf.interpreter, program], user=user, env=environment, timeout=30, descriptors=[handle])
    return re.findall(r"^\s*(\S+) => not found$", listed.stdout, re.MULTILINE)
