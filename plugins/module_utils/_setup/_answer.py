# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module answers: with every text fit to be shown, and with facts for later tasks as they are.

Ansible itself hides a secret's text wherever it occurs in an answer. A later task that is handed such an answer would work on
``********``: a password that equals a part of a path would make it a directory. So its hiding is replaced by ours.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from .._errors import WalgError, failure_fields
from .._host import _inside, _shown
from .._host._files import read_text
from .._instance import _record
from .._storage import _google
from .._walg import _settings
from . import _schedule_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: Parts of answers that later tasks use. They say what the play and the host say, and hold no text of a server or a program.
FACTS = (
    "cluster",
    "directories",
    "binary",
    "upload",
    "path",
    "src",
    "settings_file",
    "record_file",
    "kit",
    "compose_file",
    "_planned",
)


#: Options that are kept out of the system's log as a whole, since a secret may stand in them by mistake; what is right in them may
#: be shown.
_ADDRESSES = ("storage", "mirror")
_SECRET = ("secrets", "url_password", "mirror_password", "primary_conninfo")


class Module(Protocol):
    """What we use of AnsibleModule."""

    params: dict[str, Any]
    check_mode: bool
    argument_spec: dict[str, Any]
    no_log_values: set[str]
    _tmpdir: str | None

    def exit_json(self, **answer: Any) -> NoReturn: ...

    def fail_json(self, msg: str, **answer: Any) -> NoReturn: ...

    def warn(self, warning: str) -> None: ...


def begin(module: Module) -> None:
    """Remove the file that Ansible has sent with the options in it: a run that is killed would leave it in a temporary directory."""
    if not module._tmpdir or getattr(module, "_keep_remote_files", False):
        return
    with contextlib.suppress(OSError):
        for name in os.listdir(module._tmpdir):
            if name.startswith("AnsiballZ_walg_"):
                os.unlink(os.path.join(module._tmpdir, name))


def succeed(module: Module, **answer: Any) -> NoReturn:
    """End the module well."""
    shown = _shown_answer(module, answer)
    facts = {name: value for name, value in answer.items() if name in FACTS}
    _end("end", module.exit_json, {**shown, **facts})


def fail(module: Module, exc: WalgError | OSError) -> NoReturn:
    """End the module with an error in sentences."""
    _end("fail", module.fail_json, _shown_answer(module, failure_fields(exc)))


def pass_on(module: Module, answer: Mapping[str, Any], *, failed: bool) -> NoReturn:
    """End the module with the answer of its part in a container, which masked it there; the options are shown as they were given."""
    told = {**answer, "invocation": _shown_answer(module, {})["invocation"]}
    if failed:
        module.fail_json(**told)
    module.exit_json(**told)


def warn(module: Module, text: str) -> None:
    """Have Ansible show a warning."""
    shown, inside = _mask(module).text(text), _inside.current()
    if inside:
        inside.ask("warn", text=shown)
    else:
        module.warn(shown)


def _end(how: str, leave: Callable[..., NoReturn], answer: dict[str, Any]) -> NoReturn:
    """Give the answer to Ansible; from inside a container to the process outside, since Ansible could not be imported in there."""
    inside = _inside.current()
    if inside is None:
        leave(**answer)
    inside.line.send({how: answer})
    os._exit(0)


def _shown_answer(module: Module, answer: Mapping[str, Any]) -> dict[str, Any]:
    mask = _mask(module)
    module.no_log_values.clear()
    closed = [name for name in _closed(module) if name not in _ADDRESSES]
    options = _shown.shown_options(module.params, closed, mask)
    return {**mask.value(dict(answer)), "invocation": {"module_args": options}}


def _closed(module: Module) -> list[str]:
    return [name for name, entry in module.argument_spec.items() if entry.get("no_log")]


def _mask(module: Module) -> _shown.Mask:
    closed = _closed(module)
    secrets = [text for name in closed for text in _secrets(name, module.params.get(name))]
    secrets += _on_host(module.params)
    plain = [text for name, value in module.params.items() if name not in closed for text in _shown.texts(value)]
    return _shown.Mask(secrets, plain)


def _on_host(params: Mapping[str, Any]) -> list[str]:
    """Return the secrets among the settings with which WAL-G runs for a configured instance: it may repeat them."""
    if not params.get("config_dir") or not params.get("instance"):
        return []
    with contextlib.suppress(WalgError):
        return _settings.Settings.read(
            read_text(_record.settings_path(params["config_dir"], params["instance"]))
        ).secrets()
    return []


def _secrets(name: str, value: Any) -> Iterator[str]:
    """Yield what of an option is secret; of settings only those values that are, or that may be."""
    if name in _SECRET:
        yield from _shown.texts(value)
    elif name == "google_credentials":
        yield from _google.secrets_of(value)
    elif name == "hooks":
        yield from _schedule_options.secrets_of({name: value})
    elif name == "schedule":
        yield from _schedule_options.secrets_of(value)
    elif name == "settings" and isinstance(value, dict):
        yield from _shown.texts({key: one for key, one in value.items() if not _settings.may_show(str(key), str(one))})
    elif name == "settings":
        yield from _shown.texts(value)
