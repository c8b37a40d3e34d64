# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on ELF files: for which machine a program is, and what of the host's libraries it needs.

Layouts: System V ABI (elf.h); version needs: the Linux Standard Base, "Symbol Versioning". Only program headers are
followed, so a stripped file tells as much.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from .._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Iterator

    Version = tuple[int, ...]

MAGIC = b"\x7fELF"
#: e_machine by the names that uname gives the machine.
MACHINES = {"x86_64": 62, "aarch64": 183, "ppc64le": 21, "s390x": 22, "riscv64": 243, "armv7l": 40, "i686": 3}
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_VERNEED = 1, 5, 0x6FFFFFFE
_MOST = 4096  # entries of any table; more means a damaged file
_GLIBC = re.compile(r"GLIBC_([0-9]+(?:\.[0-9]+)+)\Z")


@dataclass(frozen=True)
class Elf:
    """What a program says of itself. ``interpreter``: its dynamic loader, empty for a static one; ``glibc``: at least this."""

    machine: int
    interpreter: str = ""
    libraries: tuple[str, ...] = ()
    glibc: Version = ()

    @property
    def machine_name(self) -> str:
        """The machine as uname names it, or its number."""
        return next((name for name, number in MACHINES.items() if number == self.machine), f"machine {self.machine}")


def read(stream: IO[bytes]) -> Elf | None:
    """Return what an open file tells; None if it is no ELF file. Raises WalgError for a damaged one."""
    try:
        if stream.read(4) != MAGIC:
            return None
        return _File(stream).elf()
    except (struct.error, IndexError, UnicodeDecodeError, OverflowError, ValueError) as exc:
        raise WalgError(f"The program is damaged: its ELF headers lead nowhere ({exc}).") from exc


class _File:
    """An ELF file of either word size and byte order."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        word, order = self._bytes(4, 2)
        if word not in (1, 2) or order not in (1, 2):
            raise ValueError("unknown class or byte order")
        self.wide, self.order = word == 2, "<" if order == 1 else ">"
        self.machine = self._unpack(18, "H")[0]
        self.segments = list(self._segments())

    def elf(self) -> Elf:
        interpreter = b"".join(
            self._bytes(offset, size) for kind, offset, _address, size in self.segments if kind == _PT_INTERP
        )
        dynamic = list(self._dynamic())
        strings = self._offset(next((value for tag, value in dynamic if tag == _DT_STRTAB), 0))
        libraries = tuple(self._string(strings + value) for tag, value in dynamic if tag == _DT_NEEDED)
        needs = next((value for tag, value in dynamic if tag == _DT_VERNEED), 0)
        versions = [_GLIBC.match(name) for name in self._versions(self._offset(needs), strings)] if needs else []
        numbers = [tuple(map(int, match.group(1).split("."))) for match in versions if match]
        return Elf(self.machine, interpreter.rstrip(b"\0").decode(), libraries, max(numbers, default=()))

    def _segments(self) -> Iterator[tuple[int, int, int, int]]:
        """Type, offset, address and size in the file of each program header."""
        table = self._unpack(32 if self.wide else 28, "Q" if self.wide else "I")[0]
        size, count = self._unpack(54 if self.wide else 42, "HH")
        for number in range(count):
            at = table + number * size
            if self.wide:
                kind, _flags, offset, address, _physical, length = self._unpack(at, "IIQQQQ")
            else:
                kind, offset, address, _physical, length = self._unpack(at, "IIIII")
            yield kind, offset, address, length

    def _dynamic(self) -> Iterator[tuple[int, int]]:
        step, layout = (16, "qQ") if self.wide else (8, "iI")
        for kind, offset, _address, size in self.segments:
            if kind == _PT_DYNAMIC:
                for number in range(min(size // step, _MOST)):
                    tag, value = self._unpack(offset + number * step, layout)
                    if tag == 0:
                        return
                    yield tag, value

    def _versions(self, at: int, strings: int) -> Iterator[str]:
        """Walk Verneed and its Vernaux: the names of the symbol versions that other libraries have to have."""
        for _turn in range(_MOST):
            _version, count, _file, first, following = self._unpack(at, "HHIII")
            entry = at + first
            for _number in range(count):
                _hash, _flags, _other, name, next_entry = self._unpack(entry, "IHHII")
                yield self._string(strings + name)
                entry += next_entry
            if not following:
                return
            at += following

    def _offset(self, address: int) -> int:
        """Translate an address in memory to an offset in the file."""
        for kind, offset, start, size in self.segments:
            if kind == _PT_LOAD and start <= address < start + size:
                return int(offset + address - start)
        return address

    def _string(self, at: int) -> str:
        text = self._bytes(at, 256)
        return text[: text.index(b"\0")].decode()

    def _unpack(self, at: int, layout: str) -> tuple[int, ...]:
        layout = self.order + layout
        return struct.unpack(layout, self._bytes(at, struct.calcsize(layout)))

    def _bytes(self, at: int, size: int) -> bytes:
        self.stream.seek(at)
        return self.stream.read(min(size, 65536))
