# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on libpq's addresses of a server, in both of its forms: words such as host=db1, and postgresql://db1.

Read as libpq reads them (fe-connect.c: conninfo_parse, conninfo_uri_parse_options). No message shows a value.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from .._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCHEMES = ("postgresql://", "postgres://")
_SECRET = frozenset(["password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"])
_NAMES = """
    host hostaddr port dbname user password passfile require_auth channel_binding connect_timeout client_encoding options
    application_name fallback_application_name keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout
    replication gssencmode sslmode requiressl sslnegotiation sslcompression sslcert sslkey sslkeylogfile sslpassword sslcertmode
    sslrootcert sslcrl sslcrldir sslsni requirepeer ssl_min_protocol_version ssl_max_protocol_version min_protocol_version
    max_protocol_version krbsrvname gsslib gssdelegation scram_client_key scram_server_key service servicefile
    target_session_attrs load_balance_hosts oauth_issuer oauth_client_id oauth_client_secret oauth_scope
"""
_KNOWN = frozenset(_NAMES.split())
_SPACE = " \t\n\r\f\v"
_HOW = "such as host=db1 user=replicator, or postgresql://replicator@db1"


def judge(text: str, name: str) -> None:
    """Raise WalgError for an address that libpq could not read, and for one that holds a password. ``name``: of the option."""
    for word, value in pairs(text, name):
        if word in _SECRET or (word == "dbname" and _nested_secret(value, name)):
            raise WalgError(
                f"{name} holds a password ({word}): it would be readable in files and logs. Leave it out, and put it into a password file "
                "of the user who owns the data directory, on the host: ~/.pgpass, or another file that the address names with "
                "passfile=/path."
            )
        if word not in _KNOWN:
            near = next(iter(difflib.get_close_matches(word.lower(), sorted(_KNOWN), 1)), "")
            hint = f" Did you mean {near}?" if near else ""
            raise WalgError(
                f"{name} holds a word that libpq does not know.{hint} Expected: an address {_HOW}.", wanted=near
            )


def pairs(text: str, name: str) -> list[tuple[str, str]]:
    """Return an address's names and values. Raises WalgError for what is no address."""
    if text.startswith(_SCHEMES):
        return list(_of_uri(text.partition("://")[2], name))
    return list(_of_words(text, name))


def _nested_secret(value: str, name: str) -> bool:
    """libpq takes a database's name with = in it for an address."""
    if "=" not in value and not value.startswith(_SCHEMES):
        return False
    return any(word in _SECRET for word, _value in pairs(value, name))


def _broken(name: str, why: str) -> WalgError:
    return WalgError(f"{name} is not an address that libpq can read: {why}. Expected: an address {_HOW}.")


def _of_words(text: str, name: str) -> Iterator[tuple[str, str]]:
    rest = text.lstrip(_SPACE)
    while rest:
        word = re.split(rf"[={_SPACE}]", rest, maxsplit=1)[0]
        after = rest[len(word) :].lstrip(_SPACE)
        if not word or not after.startswith("="):
            raise _broken(name, "after a word there is no =")
        value, rest = _value(after[1:].lstrip(_SPACE), name)
        yield word, value
        rest = rest.lstrip(_SPACE)


def _value(text: str, name: str) -> tuple[str, str]:
    """Return a value, and what follows it."""
    quoted = text.startswith("'")
    found, place = "", 1 if quoted else 0
    while place < len(text):
        char = text[place]
        if char == "\\":
            place += 1
            found += text[place : place + 1]
        elif quoted and char == "'":
            return found, text[place + 1 :]
        elif not quoted and char in _SPACE:
            break
        else:
            found += char
        place += 1
    if quoted:
        raise _broken(name, "a quote is not closed")
    return found, text[place:]


def _of_uri(rest: str, name: str) -> Iterator[tuple[str, str]]:
    server, _mark, query = rest.partition("?")
    before = re.match(r"([^@/]*)@", server)
    if before:
        user, colon, password = before.group(1).partition(":")
        yield "user", _decoded(user, name)
        if colon and password:
            yield "password", _decoded(password, name)
        server = server[before.end() :]
    elif "@" in server:
        raise _broken(name, "before an @ there is a / that must be written as %2F")
    hosts, _slash, database = server.partition("/")
    yield "host", _decoded(hosts, name)
    yield "dbname", _decoded(database, name)
    for part in filter(None, query.split("&")):
        word, equals, value = part.partition("=")
        if not equals:
            raise _broken(name, "a word after the ? has no =")
        word, value = _decoded(word, name), _decoded(value, name)
        yield ("sslmode", value) if word == "ssl" else (word, value)


def _decoded(text: str, name: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00", text):
        raise _broken(name, "it has a percent sign that begins no character (%25 is the sign itself)")
    return unquote(text)
