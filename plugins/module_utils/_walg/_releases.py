# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on WAL-G releases: what a binary says of itself, is it the wanted one, which build a host can run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The last field of ``wal-g --version`` for the build that serves PostgreSQL.
FLAVOUR = "PostgreSQL"

_VERSION = re.compile(r"v?([0-9]+)\.([0-9]+)(?:\.([0-9]+))?(?:[-+].*)?", re.ASCII)
# v2.0.0-rc1 is not v2.0.0. A bare "-rc" is part of WAL-G's naming of final releases (v1.1.3-rc, v1.1.3-rc-with-build).
_CANDIDATE = re.compile(r"-rc([0-9]+)", re.ASCII)

#: The published builds for PostgreSQL: since and before which version, machine, name, the glibc of the system that it was
#: built on (.github/workflows/release.yml at each tag). There are no builds for musl.
_BUILDS = (
    ((1, 0, 0), (3, 0, 5), "x86_64", "wal-g-pg-ubuntu-18.04-amd64", (2, 27)),
    ((1, 0, 0), (3, 0, 8), "x86_64", "wal-g-pg-ubuntu-20.04-amd64", (2, 31)),
    ((3, 0, 5), (3, 0, 8), "x86_64", "wal-g-pg-ubuntu-22.04-amd64", (2, 35)),
    ((3, 0, 5), (3, 0, 8), "x86_64", "wal-g-pg-ubuntu-24.04-amd64", (2, 39)),
    ((2, 0, 1), (3, 0, 5), "aarch64", "wal-g-pg-ubuntu20.04-aarch64", (2, 31)),
    ((3, 0, 5), (3, 0, 8), "aarch64", "wal-g-pg-ubuntu-20.04-aarch64", (2, 31)),
    ((3, 0, 6), (3, 0, 8), "aarch64", "wal-g-pg-ubuntu-22.04-aarch64", (2, 35)),
    ((3, 0, 8), None, "x86_64", "wal-g-pg-20.04-amd64", (2, 31)),
    ((3, 0, 8), None, "x86_64", "wal-g-pg-22.04-amd64", (2, 35)),
    ((3, 0, 8), None, "x86_64", "wal-g-pg-24.04-amd64", (2, 39)),
    ((3, 0, 8), None, "aarch64", "wal-g-pg-20.04-aarch64", (2, 31)),
    ((3, 0, 8), None, "aarch64", "wal-g-pg-22.04-aarch64", (2, 35)),
    ((3, 0, 8), None, "aarch64", "wal-g-pg-24.04-aarch64", (2, 39)),
)

#: Where WAL-G publishes: this, then /TAG/ASSET.
PUBLISHED = "https://github.com/wal-g/wal-g/releases/download"
# Tags that are not "v" and three numbers. v1.1.3-rc has no builds, the later tag of the same code has.
_TAGS = {
    (1, 0, 0): "v1.0",
    (1, 1, 0): "v1.1",
    (1, 1, 1): "v1.1.1-rc",
    (1, 1, 2): "v1.1.2-rc",
    (1, 1, 3): "v1.1.3-rc-with-build",
}
_WITHOUT_DIGESTS = ("v1.0", "v1.1")
_PLAIN = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z_+~-]|\.(?!\.)){0,63}", re.ASCII)
_DIGEST = re.compile(r"([0-9a-fA-F]{64})(?:[ \t]+\*?(\S+))?", re.ASCII)


@dataclass(frozen=True)
class BinaryVersion:
    """What ``wal-g --version`` says. ``version`` is None for a build without a release's number ("devel")."""

    raw: str
    tag: str
    version: tuple[int, int, int] | None
    flavour: str


def parse_version_output(text: str) -> BinaryVersion:
    """Read the answer of ``wal-g --version``: one line, tab-separated: version, revision, date, flavour.

    Raises WalgError for another program, or for WAL-G built for another database.
    """
    line = next((one for one in text.splitlines() if one.startswith("wal-g version ")), None)
    if line is None:
        raise WalgError(
            f"Expected: an answer of `wal-g --version` that begins with 'wal-g version'. Found: {text.strip()[:200]!r}. "
            "This program is not WAL-G.",
            found=text[:200],
        )
    parts = [part.strip() for part in line.split("\t")]
    tag = parts[0][len("wal-g version ") :].strip()
    flavour = parts[-1] if len(parts) > 1 else ""
    if flavour != FLAVOUR:
        raise WalgError(
            f"This WAL-G ({tag}) is built for {flavour or 'an unnamed database'}, not for {FLAVOUR}. The releases hold "
            "one file for each database; the names of the right ones begin with wal-g-pg-.",
            found=flavour,
            wanted=FLAVOUR,
        )
    match = _VERSION.fullmatch(tag)
    return BinaryVersion(raw=line, tag=tag, version=_numbers(match) if match else None, flavour=flavour)


def refuse_odd(version: str) -> None:
    """Raise WalgError for a version that can't be part of a file's name: it names the binary, and a directory of the mirror."""
    if _PLAIN.fullmatch(version) is None:
        raise WalgError(
            f"walg_version is {version!r}, which is not a version of WAL-G. Give for example 3.0.8.", found=version
        )


def parse_version(text: str) -> tuple[int, int, int]:
    """Return the numbers of a version such as 3.0.8, v3.0.8 or v1.1.3-rc-with-build. Raises WalgError for others."""
    match = _VERSION.fullmatch(text)
    if match is None or _PLAIN.fullmatch(text) is None:
        raise WalgError(f"{text!r} is not a version of WAL-G. Expected: for example 3.0.8 or v1.1.3-rc.", found=text)
    return _numbers(match)


def same_version(wanted: str, found: BinaryVersion) -> bool:
    """Say whether a binary is of the wanted release. A build without a number is of none; mismatch says why."""
    return mismatch(wanted, found) is None


def mismatch(wanted: str, found: BinaryVersion) -> str | None:
    """Return why a binary is not of the wanted release, or None if it is. WalgError: ``wanted`` is no version."""
    numbers = parse_version(wanted)
    if found.version is None:
        return (
            f"Expected WAL-G {wanted}, but the binary calls itself {found.tag!r}: a build without a "
            "release number. Build it with its version stamped, or leave walg_version unset for it."
        )
    if numbers != found.version or _candidate(wanted) != _candidate(found.tag):
        return f"Expected WAL-G {wanted}, but the binary is {found.tag}."
    return None


def fitting_build(version: tuple[int, int, int], machine: str, glibc: Sequence[int]) -> str | None:
    """Return the published build of a version for a machine that needs the newest glibc not above the host's, if any."""
    fitting = [
        (needed, name)
        for since, until, built_for, name, needed in _BUILDS
        if since <= version and (until is None or version < until) and built_for == machine and needed <= tuple(glibc)
    ]
    return max(fitting)[1] if fitting else None


def tag(version: str) -> str:
    """Return the tag of a version's release. Raises WalgError for what is no version."""
    numbers = parse_version(version)
    candidate = _candidate(version)
    if numbers in _TAGS and not candidate:
        return _TAGS[numbers]
    return "v" + ".".join(map(str, numbers)) + (f"-rc{candidate}" if candidate else "")


def has_digests(version: str) -> bool:
    """Say whether a release holds files with the digests of its builds."""
    return tag(version) not in _WITHOUT_DIGESTS


def parse_digest(text: str, asset: str, origin: str) -> str:
    """Read a line of sha256sum on an asset; raises WalgError if it is none, or of another file."""
    lines = text.strip().splitlines()
    match = _DIGEST.fullmatch(lines[0].strip()) if len(lines) == 1 else None
    if match is None:
        raise WalgError(
            f"{origin}.sha256 is not the digest of one file. Give it in walg_binary_checksum.", found=text[:200]
        )
    name = (match.group(2) or asset).rpartition("/")[2]
    if name != asset:
        raise WalgError(f"{origin}.sha256 is the digest of {name}, expected that of {asset}.", found=name, wanted=asset)
    return match.group(1).lower()


def _numbers(match: re.Match[str]) -> tuple[int, int, int]:
    return int(match.group(1)), int(match.group(2)), int(match.group(3) or 0)


def _candidate(text: str) -> int:
    match = _CANDIDATE.search(text)
    return int(match.group(1)) if match else 0
