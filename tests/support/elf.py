# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small ELF files made by hand: headers of a program without its code."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

_BASE = 0x400000


def make(
    machine: int = 62,
    *,
    interpreter: str = "",
    libraries: Sequence[str] = (),
    versions: Mapping[str, Sequence[str]] | None = None,
    wide: bool = True,
    order: str = "<",
) -> bytes:
    """Return an ELF file. ``versions``: the symbol versions that it needs of each library."""
    header, entry = (64, 56) if wide else (52, 32)
    needs = versions or {}
    names = [*libraries, *needs, *(name for listed in needs.values() for name in listed)]
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in names)

    def string(name: str) -> int:
        return strings.index(b"\0" + name.encode() + b"\0") + 1

    verneed = b""
    for number, (library, listed) in enumerate(needs.items()):
        following = 0 if number == len(needs) - 1 else 16 + 16 * len(listed)
        verneed += struct.pack(order + "HHIII", 1, len(listed), string(library), 16, following)
        for place, name in enumerate(listed):
            verneed += struct.pack(order + "IHHII", 0, 0, 2, string(name), 0 if place == len(listed) - 1 else 16)
    loader = interpreter.encode() + b"\0" if interpreter else b""
    at_loader = header + 3 * entry
    at_strings = at_loader + len(loader)
    at_verneed = at_strings + len(strings)
    at_dynamic = at_verneed + len(verneed)
    pairs = [(1, string(name)) for name in libraries]
    pairs += [(5, _BASE + at_strings), (10, len(strings))]
    if needs:
        pairs += [(0x6FFFFFFE, _BASE + at_verneed), (0x6FFFFFFF, len(needs))]
    dynamic = b"".join(struct.pack(order + ("qQ" if wide else "iI"), *pair) for pair in [*pairs, (0, 0)])
    total = at_dynamic + len(dynamic)

    def segment(kind: int, offset: int, size: int) -> bytes:
        if wide:
            return struct.pack(order + "IIQQQQQQ", kind, 5, offset, _BASE + offset, _BASE + offset, size, size, 8)
        return struct.pack(order + "IIIIIIII", kind, offset, _BASE + offset, _BASE + offset, size, size, 5, 8)

    identity = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + b"\0" * 9
    sizes = (header, entry, 3, 0, 0, 0)
    layout = "HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"
    head = identity + struct.pack(order + layout, 2, machine, 1, 0, header, 0, 0, *sizes)
    # A static program has no loader and no dynamic table: its segments are of no kind (PT_NULL).
    kinds = (1, 3 if loader else 0, 2 if libraries or needs else 0)
    table = segment(kinds[0], 0, total) + segment(kinds[1], at_loader, len(loader))
    table += segment(kinds[2], at_dynamic, len(dynamic))
    return head + table + loader + strings + verneed + dynamic
