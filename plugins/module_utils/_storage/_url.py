# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on storages: one URL and the WAL-G settings it stands for.

Sources: internal/storage_adapter.go and pkg/storages/*/configure.go of WAL-G 1.1.3 and 3.0.9. WAL-G takes the host of a
URL as bucket, container or server and ignores user names, queries and fragments without a word; a port makes an
address that can't be reached. So what it would ignore is rejected here, or said by the setting that WAL-G does read.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from .._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: With several prefixes set, WAL-G silently takes the first in this order (OSS exists since 3.0.8).
PREFIX_SETTINGS = (
    "WALG_OSS_PREFIX",
    "WALG_S3_PREFIX",
    "WALG_FILE_PREFIX",
    "WALG_GS_PREFIX",
    "WALG_AZ_PREFIX",
    "WALG_SWIFT_PREFIX",
    "WALG_SSH_PREFIX",
)

#: URL scheme -> its setting. The scheme is also the kind.
SCHEMES = {
    "gs": "WALG_GS_PREFIX",
    "s3": "WALG_S3_PREFIX",
    "azure": "WALG_AZ_PREFIX",
    "ssh": "WALG_SSH_PREFIX",
    "swift": "WALG_SWIFT_PREFIX",
    "oss": "WALG_OSS_PREFIX",
    "file": "WALG_FILE_PREFIX",
}

_EXAMPLES = {
    "gs": "gs://bucket/path",
    "s3": "s3://bucket/path",
    "azure": "azure://container/path",
    "ssh": "ssh://user@host:22/absolute/path",
    "swift": "swift://container/path",
    "oss": "oss://bucket/path",
    "file": "file:///absolute/path",
}

# What other programs call the same storages.
_OTHER_NAMES = {
    "gcs": "gs",
    "google": "gs",
    "googlestorage": "gs",
    "s3a": "s3",
    "s3n": "s3",
    "aws": "s3",
    "minio": "s3",
    "az": "azure",
    "azblob": "azure",
    "abfs": "azure",
    "abfss": "azure",
    "wasb": "azure",
    "wasbs": "azure",
    "sftp": "ssh",
    "scp": "ssh",
    "rsync": "ssh",
    "openstack": "swift",
    "aliyun": "oss",
    "alicloud": "oss",
    "local": "file",
    "localhost": "file",
    "fs": "file",
    "posix": "file",
}

_WHERE_CREDENTIALS_GO = {
    "gs": "name the key file in GOOGLE_APPLICATION_CREDENTIALS",
    "s3": "put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY into walg_secrets",
    "azure": "put AZURE_STORAGE_ACCOUNT into walg_settings, AZURE_STORAGE_ACCESS_KEY or _SAS_TOKEN into walg_secrets",
    "ssh": "name the key file in SSH_PRIVATE_KEY_PATH (walg_settings) or put SSH_PASSWORD into walg_secrets",
    "swift": "put OS_USERNAME into walg_settings and OS_PASSWORD into walg_secrets",
    "oss": "put OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET into walg_secrets",
    "file": "the directory's owner and mode decide who may write",
}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(/*)(.*)", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def storage_settings(url: str) -> dict[str, str]:
    """Return the settings that one storage URL stands for: its prefix, and for ssh:// user and port.

    The prefix comes without a trailing slash. Raises WalgError for what is no storage URL; a password in the URL is
    not repeated in the message.
    """
    if not url:
        raise _refusal("", "it is empty")
    if any(char.isspace() or not char.isprintable() for char in url):
        raise _refusal(url, "it holds a space or a control character")
    scheme, rest = _split_scheme(url)
    if "?" in rest or "#" in rest:
        what = "a query" if "?" in rest else "a fragment"
        raise _refusal(url, f"it has {what}, which WAL-G ignores; {_WHERE_CREDENTIALS_GO[scheme]}", scheme)
    if scheme == "file":
        return {"WALG_FILE_PREFIX": _file_path(url, rest)}
    authority, slash, path = rest.partition("/")
    path = _object_path(url, scheme, slash + path)
    if scheme == "ssh":
        return _ssh_settings(url, authority, path)
    if "@" in authority:
        raise _refusal(url, f"it has credentials or a user in it; {_WHERE_CREDENTIALS_GO[scheme]}", scheme)
    if not authority:
        raise _refusal(url, "the bucket is missing", scheme)
    if not _BUCKET.fullmatch(authority):
        raise _refusal(url, "what is before the path can't be a bucket", scheme)
    return {SCHEMES[scheme]: f"{scheme}://{authority}{path}"}


def prefixes_of(settings: Mapping[str, object]) -> dict[str, str]:
    """Return the prefixes that are set, by the name they are set by (WAL-E's too), in WAL-G's order."""
    found = {}
    for name in PREFIX_SETTINGS:
        for alias in (name, "WALE_" + name[len("WALG_") :]):
            if settings.get(alias) not in (None, ""):
                found[alias] = str(settings[alias])
    return found


def kind(settings: Mapping[str, object]) -> str:
    """Return the kind of storage: gs, s3, azure, ssh, swift, oss or file. Raises WalgError unless one is set."""
    found = prefixes_of(settings)
    if not found:
        raise WalgError(
            "No storage is set: without one WAL-G does not start. Set walg_storage, for example to gs://bucket/path "
            "or file:///absolute/path.",
            wanted=list(PREFIX_SETTINGS),
        )
    if len(found) > 1:
        raise WalgError(
            f"Several storages are set: {', '.join(found)}. WAL-G would silently use the first of these; keep one.",
            found=list(found),
        )
    name = next(iter(found))
    canonical = "WALG_" + name[len("WALG_") :]
    return next(scheme for scheme, setting in SCHEMES.items() if setting == canonical)


def without_second(storage: str, given: Mapping[str, object], where: str = "walg_settings") -> dict[str, object]:
    """Return settings without a prefix that says what ``storage``, a URL, says. Raises WalgError where they lead elsewhere.

    WAL-E's names count, and so do the user and the port of ssh://. ``where``: who gives the settings.
    """
    meant = storage_settings(storage)
    told: dict[str, str] = {**prefixes_of(given)}
    told.update({name: str(given[name]) for name in ("SSH_USERNAME", "SSH_PORT") if name in meant and given.get(name)})
    for name, value in told.items():
        canonical, normal = _normal(name, value)
        if meant.get(canonical) != normal:
            raise WalgError(
                f"Two storages are set: walg_storage is {shown(storage)}, but {name} in {where} is {shown(value)}. "
                f"Remove one of them: each says where WAL goes.",
                found=shown(value),
                wanted=shown(storage),
            )
    return {name: value for name, value in given.items() if name not in prefixes_of(given)}


def _normal(name: str, value: str) -> tuple[str, str]:
    """Return WAL-G's own name of a setting, and its value without what makes no difference."""
    if name.startswith("SSH_"):
        return name, value
    canonical = "WALG_" + name[len("WALG_") :]
    try:
        return canonical, storage_settings(storage_of({canonical: value}))[canonical]
    except (WalgError, KeyError):
        return canonical, value


def storage_of(settings: Mapping[str, object]) -> str:
    """Return the storage's URL from settings, normalised. Raises WalgError for none, several, or one that is no URL."""
    scheme = kind(settings)
    value = next(iter(prefixes_of(settings).values()))
    if scheme == "file":
        # WAL-E wrote it so, and WAL-G still takes it.
        path = value[len("file://localhost") :] if value.startswith("file://localhost/") else value
        if not path.startswith("/"):
            raise _refusal(path, "a file prefix is an absolute directory, without a scheme", "file")
        return f"file://{storage_settings('file://' + path)['WALG_FILE_PREFIX']}"
    found = storage_settings(value)
    if SCHEMES[scheme] not in found:
        raise _refusal(value, f"it is in {SCHEMES[scheme]}, which is for {scheme}://", scheme)
    normal = found[SCHEMES[scheme]]
    if scheme != "ssh":
        return normal
    user = settings.get("SSH_USERNAME") or found.get("SSH_USERNAME")
    port = settings.get("SSH_PORT") or found.get("SSH_PORT")
    host, slash, path = normal[len("ssh://") :].partition("/")
    return f"ssh://{f'{user}@' if user else ''}{host}{f':{port}' if port else ''}{slash}{path}"


def shown(url: str) -> str:
    """Return a URL for messages: no user, no password, no query."""
    head, colon, rest = url.partition("://")
    if not colon:
        head, rest = "", url
    if "@" in rest:
        # Where a password holds ? or # (or a query an @), nobody can say where it ends.
        rest = "***" if "?" in rest or "#" in rest else "***@" + rest.rpartition("@")[2]
    return head + colon + re.split(r"[?#]", rest)[0]


def _refusal(url: str, reason: str, scheme: str | None = None) -> WalgError:
    wanted = [_EXAMPLES[scheme]] if scheme else list(_EXAMPLES.values())
    msg = f"The storage {shown(url)!r} is not allowed: {reason}. Expected: {' or '.join(wanted)}."
    return WalgError(msg, found=shown(url), wanted=wanted)


def _split_scheme(url: str) -> tuple[str, str]:
    match = _SCHEME.match(url)
    if match is None:
        hint = f" (did you mean file://{shown(url)}?)" if url.startswith("/") else ""
        raise _refusal(url, f"it has no scheme{hint}", "file" if hint else None)
    scheme, slashes, rest = match.groups()
    if scheme not in SCHEMES:
        close = difflib.get_close_matches(scheme.lower(), SCHEMES, 1)
        near = _OTHER_NAMES.get(scheme.lower()) or next(iter(close), None)
        hint = f" (did you mean {near}://?)" if near else ""
        raise _refusal(url, f"the scheme {scheme}:// is unknown{hint}", near)
    if len(slashes) < 2:
        raise _refusal(url, f"after {scheme}: there must be //", scheme)
    return scheme, slashes[2:] + rest


def _object_path(url: str, scheme: str, path: str) -> str:
    path = path[:-1] if path.endswith("/") else path
    if "%" in path:
        raise _refusal(url, "it has a percent sign, which WAL-G takes for an escape", scheme)
    if any(part in ("", ".", "..") for part in path.split("/")[1:]):
        raise _refusal(url, "its path has a double slash, '.' or '..'", scheme)
    return path


def _file_path(url: str, rest: str) -> str:
    if not rest.startswith("/"):
        raise _refusal(url, "the path is not absolute (three slashes after file:)", "file")
    path = rest[:-1] if rest.endswith("/") else rest
    if not path:
        raise _refusal(url, "the root directory can't be an archive", "file")
    if any(part in ("", ".", "..") for part in path.split("/")[1:]):
        raise _refusal(url, "its path has a double slash, '.' or '..'", "file")
    return path


def _ssh_settings(url: str, authority: str, path: str) -> dict[str, str]:
    user, at, server = authority.rpartition("@")
    if ":" in user:
        raise _refusal(url, f"it has a password in it; {_WHERE_CREDENTIALS_GO['ssh']}", "ssh")
    if at and not _USER.fullmatch(user):
        raise _refusal(url, "the user before @ has characters that a user name can't have", "ssh")
    match = re.fullmatch(r"(\[.*\]|[^:]*)(?::(.*))?", server)
    host, port = match.groups() if match else ("", None)
    if not _HOST.fullmatch(host):
        raise _refusal(url, "the host is missing or can't be one", "ssh")
    if port is not None and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
        raise _refusal(url, "the port is not a number from 1 to 65535", "ssh")
    if not path:
        raise _refusal(url, "the directory on the host is missing", "ssh")
    found = {"WALG_SSH_PREFIX": f"ssh://{host}{path}"}
    if user:
        found["SSH_USERNAME"] = user
    if port:
        found["SSH_PORT"] = str(int(port))
    return found
