# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: Google is asked about an instance's credentials, as the user that runs WAL-G and with nothing of our environment.

Private to this collection. Nothing here is needed to archive or to restore: what can't be asked is an answer, too.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host._files import read_text
from .._host._process import environment
from .._host._users import User, call_apart, dropper
from .._storage import _google, _google_check
from .._walg._releases import parse_version
from .._walg._setting_names import ENVIRONMENT
from .._walg._settings import environment_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._config import Candidate

#: Where gcloud puts a user's own, below the home directory.
GCLOUD = ".config/gcloud/application_default_credentials.json"
NEVER = "walg_google_check is never"
OPTION = "walg_google_credentials"
MACHINE = "metadata server"


def concerns(candidate: Candidate) -> bool:
    """Say whether this instance's storage is Google's."""
    return candidate.instance.storage_kind == "gs"


def ask(candidate: Candidate, reads: bool, timeout: float, version: tuple[int, int, int] | None) -> dict[str, Any]:
    """Return what Google says of an instance's credentials. ``reads``: the host only reads; ``version``: of WAL-G."""
    instance = candidate.instance
    values = candidate.settings.values
    network = {**{name: values[name] for name in ENVIRONMENT if name in values}, **instance.environment}
    given = (candidate.credentials, OPTION, "inventory") if candidate.credentials else None
    path = values.get(_google.SETTING, "")
    bucket = bucket_of(instance.storage)
    return {"bucket": bucket, **asked(instance.owner, given, path, bucket, reads, network, timeout, version)}


def bucket_of(storage: str) -> str:
    """Return the bucket's name in a URL of Google Cloud Storage."""
    return storage.partition("gs://")[2].partition("/")[0]


def asked(
    owner: User,
    given: tuple[str, str, str] | None,
    path: str,
    bucket: str,
    reads: bool,
    network: Mapping[str, str],
    timeout: float,
    version: tuple[int, int, int] | None,
) -> dict[str, Any]:
    """Ask in a child with the rights of ``owner``. ``given``: text, option and way of credentials that are in the play."""
    drop, variables = dropper(owner), environment(owner, network)

    def work() -> dict[str, Any]:
        os.environ.clear()
        os.environ.update(variables)
        found = _google_check.library()  # with the rights with which Python was started, whose files these are
        if drop is not None:
            drop()
        try:
            text, where, how = given or _found(path, owner.home)
            if how != MACHINE:
                _google.check(text, where, version)
        except WalgError as exc:
            return {"asked": False, "problem": exc.fields.get("problem", "not_readable"), "advice": exc.msg}
        return _google_check.check(
            _google_check.Question(text, where, how, bucket, reads, dict(network), timeout), found
        )

    try:
        answer: dict[str, Any] = call_apart(None, work, ())
    except WalgError as exc:  # whatever a library of the host does must not stop us
        return {"asked": False, "reason": f"the check failed: {exc.msg}"}
    return answer


def _found(path: str, home: str) -> tuple[str, str, str]:
    """Return text, place and way of the credentials that Google's libraries find by themselves; no text: the machine's own."""
    gcloud = os.path.join(home, GCLOUD)
    for one, how in ((path, _google.SETTING), (gcloud, "gcloud")):
        try:
            text = read_text(one) if one else None
        except (WalgError, OSError) as exc:
            raise WalgError(
                f"The Google credentials file {one} can't be read by the user that runs PostgreSQL: {exc}",
                problem="not_readable",
            ) from exc
        if text is not None:
            return text, one, how
    return "", gcloud, MACHINE


#: Of a failed result: what Ansible adds to it.
_ANSIBLES = ("changed", "failed", "failed_when_result", "invocation", "warnings", "deprecations", "msg", "exception")
_NOT_HERE = "the credentials take a token from the host, which only the host can do"


def from_elsewhere(params: Mapping[str, Any], exists: Callable[[str], bool]) -> dict[str, Any]:
    """Return what Google says here of credentials for another host. ``params``: the options of walg_google_check."""
    settings = params["settings"] if isinstance(params["settings"], dict) else {}
    network = environment_of(settings)
    network = {name: value for name, value in network.items() if not name.startswith("SSL_") or exists(value)}
    text = _google.text_of(params["google_credentials"], OPTION)
    bucket = bucket_of(params["storage"])
    if not bucket:
        raise WalgError("The option storage is not a URL of Google Cloud Storage, such as gs://bucket/path.")
    if _google_check.needs_host(text):
        return {"asked": False, "reason": _NOT_HERE}
    version = parse_version(params["version"]) if params["version"] else None
    given = (text, OPTION, "inventory")
    reads = params["access"] != "write"
    return asked(User.current(), given, "", bucket, reads, network, params["timeout"], version)


def failed_there(failure: Mapping[str, Any], google: Mapping[str, Any]) -> WalgError:
    """Return a host's failure with what Google says of its credentials here."""
    fields = {name: value for name, value in failure.items() if name not in _ANSIBLES and not name.startswith("_")}
    msg = str(failure.get("msg") or "")
    if google.get("problem") == "unreachable" or (not google["asked"] and not google.get("problem")):
        why = google.get("reason") or google.get("advice")
        msg = f"{msg} Google could not be asked from the controller: {why}"
    elif google.get("problem"):
        msg = advised(msg, google)
    else:
        who = google.get("account") or "the account"
        msg = f"{msg} From the controller these credentials work: {who} gets a token and may do all that is needed in the bucket."
    return WalgError(msg, **{**fields, "google": dict(google)})


def advised(msg: str, google: Mapping[str, Any]) -> str:
    """Return a message with what Google says to it."""
    return f"{msg} Google, asked about the credentials, explains: {google['advice']}" if google.get("advice") else msg
