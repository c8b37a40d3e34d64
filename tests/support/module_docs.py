# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules document, as Ansible reads it, and what they do: their specs and what they return."""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path
from typing import Any

import yaml

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
MODULES = sorted(path.stem for path in (PLUGINS / "modules").glob("walg_*.py"))


class _SpecError(Exception):
    """Ends a module as soon as its spec is known."""


@cache
def _texts(path: Path) -> dict[str, str]:
    """Return the texts that a file assigns to names, those within a class too."""
    return {
        node.targets[0].id: node.value.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def _of_module(name: str, text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(_texts(PLUGINS / "modules" / f"{name}.py")[text])
    return found


def fragments(name: str) -> list[str]:
    """Return the fragments that a module extends, without the collection's name."""
    extended: list[str] = _of_module(name, "DOCUMENTATION")["extends_documentation_fragment"]
    return [one.removeprefix("mapswipe.walg.") for one in extended]


def fragment(name: str) -> dict[str, Any]:
    """Return a fragment by its name, such as _host or _host.found."""
    stem, _dot, part = name.partition(".")
    found: dict[str, Any] = yaml.safe_load(
        _texts(PLUGINS / "doc_fragments" / f"{stem}.py")[(part or "documentation").upper()]
    )
    return found


def documentation(name: str) -> dict[str, Any]:
    """Return a module's documentation with its fragments, put together as Ansible does: what the module says comes last."""
    doc = _of_module(name, "DOCUMENTATION")
    for extended in map(fragment, fragments(name)):
        for section in ("options", "attributes"):
            told = doc.setdefault(section, {})
            for key, entry in extended.get(section, {}).items():
                told[key] = {**entry, **told.get(key, {})}
    return doc


def examples(name: str) -> Any:
    """Return the tasks of a module's examples."""
    return _of_module(name, "EXAMPLES")


@cache
def returned(name: str) -> dict[str, Any]:
    """Return what a module documents of its answer."""
    return _of_module(name, "RETURN")


def spec(name: str) -> dict[str, Any]:
    """Return what a module tells AnsibleModule of its options: argument_spec, required_if, ..."""
    module = importlib.import_module(f"ansible_collections.mapswipe.walg.plugins.modules.{name}")
    told: dict[str, Any] = {}

    def take(**options: Any) -> None:
        told.update(options)
        raise _SpecError

    original, module.AnsibleModule = module.AnsibleModule, take
    try:
        module.main()
    except _SpecError:
        return told
    finally:
        module.AnsibleModule = original
    raise AssertionError(f"{name} made no AnsibleModule")


_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "dict": (dict,),
    "list": (list,),
    "raw": (object,),
}
#: What Ansible adds to an answer, or every module has.
_COMMON = {
    "changed",
    "diff",
    "exception",
    "failed",
    "invocation",
    "msg",
    "skipped",
    "warnings",
    # of a task that is polled, or tried again
    "attempts",
    "failed_when_result",
    "finished",
    "results_file",
    "started",
    "stderr",
    "stderr_lines",
    "stdout",
    "stdout_lines",
}
#: What it adds where a path is returned that exists.
_OF_A_PATH = {"gid", "group", "mode", "owner", "secontext", "size", "state", "uid"}


def complaints(name: str, answer: dict[str, Any]) -> list[str]:
    """Compare what a module returned with its RETURN, all the way down. An error may bring more fields."""
    documented, failed = returned(name), bool(answer.get("failed"))
    ansibles = _COMMON | (_OF_A_PATH if "path" in answer else set())
    told = {
        key: value for key, value in answer.items() if key not in ansibles and not key.startswith(("_", "ansible_"))
    }
    unknown = [] if failed else [f"{name}: {key} is not documented" for key in told if key not in documented]
    missing = [
        f"{name}: {key} is missing, though it is documented as returned: {entry['returned']}"
        for key, entry in documented.items()
        if key not in told and entry["returned"] in ("always", *([] if failed else ["success"]))
    ]
    wrong = [one for key in told if key in documented for one in _wrong(f"{name}: {key}", documented[key], told[key])]
    return unknown + missing + wrong


def _wrong(where: str, entry: dict[str, Any], value: Any) -> list[str]:
    """Return what is wrong with one value; null says that there is none."""
    if value is None:
        return []
    kind = entry["type"]
    if not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind in ("int", "float")):
        return [f"{where} is {value!r}, documented as {kind}"]
    if kind == "list":
        return [one for each in value for one in _wrong(f"{where}[]", {**entry, "type": entry["elements"]}, each)]
    if kind != "dict" or "contains" not in entry:
        return []
    inner = entry["contains"]
    unknown = [f"{where}.{key} is not documented" for key in value if key not in inner]
    missing = [
        f"{where}.{key} is missing"
        for key, one in inner.items()
        if key not in value and one.get("returned", "always") == "always"
    ]
    return [
        *unknown,
        *missing,
        *(one for key in value if key in inner for one in _wrong(f"{where}.{key}", inner[key], value[key])),
    ]


def require_documented(name: str, answer: dict[str, Any]) -> None:
    """Fail a test whose answer is not what its module documents."""
    found = complaints(name, answer)
    assert not found, "\n".join(found)
