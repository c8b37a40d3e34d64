# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: a published WAL-G build comes to this host, and is proved before it replaces another."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from .._errors import WalgError
from .._host import _files
from .._walg import _releases
from . import _binary, _installed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._binary import InstallPlan
    from ._download import Web
    from ._workshop import Workshop


@dataclass(frozen=True)
class Release:
    """A published build for this host. ``checksum``: the digest that was given, "" if the published one counts."""

    version: str
    asset: str
    url: str
    checksum: str


def judged(mirror: str) -> SplitResult:
    """Return the parts of a mirror's URL. Raises WalgError for what can't be one, without showing it: it may hold credentials."""
    try:
        base = urlsplit(mirror)
        host = base.hostname if base.port != 0 else None
    except ValueError:
        base, host = urlsplit(""), None
    if base.scheme not in ("https", "http") or not host:
        raise WalgError("walg_binary_mirror is not a URL that begins with https:// and names a host.")
    if base.username is not None or base.password is not None:
        raise WalgError(
            "walg_binary_mirror holds credentials, and it is shown in results: put them into walg_binary_mirror_username and "
            "walg_binary_mirror_password."
        )
    if base.query or base.fragment:
        raise WalgError(
            "walg_binary_mirror has a query (?) or a fragment (#), after which no name of a release can follow. Give the URL before it."
        )
    return base


def choose(version: str, mirror: str, checksum: str, machine: str, glibc: Sequence[int]) -> Release:
    """Return the build of a version that such a host can run. Raises WalgError where there is none, or its digest can't be had."""
    numbers, tag = _releases.parse_version(version), _releases.tag(version)
    asset = _releases.fitting_build(numbers, machine, glibc)
    if asset is None:
        library = f"glibc {'.'.join(map(str, glibc))}" if glibc else "a C library that is not glibc (musl)"
        raise WalgError(
            f"WAL-G's releases hold no build of {version} for {machine} with {library}. Take another version (walg_version), or "
            "build it yourself and name the file in walg_binary_src."
        )
    base = judged(mirror)
    if not checksum and base.scheme == "http":
        raise WalgError(f"{mirror} is not encrypted, so its digest proves nothing: give it in walg_binary_checksum.")
    if not checksum and not _releases.has_digests(version):
        raise WalgError(f"The release {tag} has no file with its digest: give it in walg_binary_checksum.")
    return Release(version, asset, f"{mirror.rstrip('/')}/{tag}/{asset}", checksum)


def refuse_open(url: str) -> None:
    """Raise WalgError if credentials, be it a user name alone, would be sent without encryption."""
    if urlsplit(url).scheme != "https":
        raise WalgError(
            "walg_binary_mirror uses plain HTTP; user name and password are not sent over it. Use https://."
        )


def plan_offline(release: Release, path: str) -> InstallPlan:
    """Look at what is at ``path``, without the network. ``wanted`` is "" where only that knows the digest."""
    known, staged = _installed.load(os.path.dirname(path)).of(path), _installed.staged_path(path)
    made = _binary.plan_offline(staged, known.get("sha256", ""), path, release.version)
    ours = not os.path.islink(path) and made.installed == made.wanted
    if release.checksum:
        return replace(made, wanted=_binary.parse_checksum(release.checksum))
    if (known.get("version"), known.get("asset")) == (release.version, release.asset) and ours:
        return made
    return replace(made, wanted="")


def plan(shop: Workshop, web: Web, release: Release, path: str) -> InstallPlan:
    """Find out what must be done; at most the digest's small file is fetched."""
    made, staged = plan_offline(release, path), _installed.staged_path(path)
    wanted = made.wanted
    if not wanted:
        wanted = _releases.parse_digest(web.text(release.url + ".sha256"), release.asset, release.url)
    if os.path.isfile(staged) and _files.sha256(staged) == wanted:
        made = _binary.plan(shop, staged, f"sha256:{wanted}", path, release.version)
        return replace(made, asset=release.asset)
    made = replace(made, wanted=wanted, asset=release.asset)
    if made.installed != wanted:
        return replace(made, fetch=release.url)
    return _binary.with_mode(shop, replace(made, src=""))


def fetch(shop: Workshop, web: Web, made: InstallPlan) -> InstallPlan:
    """Bring the build to the workshop, check its digest, start it once. What is there now is not touched."""
    copy = shop.place()
    try:
        with shop.written(copy) as stream:
            found = web.save(made.fetch, stream)
    except OSError as exc:
        raise WalgError(f"Cannot write {copy}: {exc.strerror}") from exc
    return _binary.tried(shop, made, copy, found, made.fetch)
