# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is stated of modules in several places agrees: specs, documentation, fragments, attributes and action groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _specs
from support.module_docs import (
    MODULES,
    PLUGINS,
    complaints,
    documentation,
    examples,
    fragment,
    fragments,
    returned,
    spec,
)

Spec = dict[str, dict[str, Any]]
#: The families of shared options: fragment, spec, and the action group of the modules that have them ("": no group, since two
#: modules share them beside others, or a play would not give them).
FAMILIES: dict[str, tuple[Callable[[], Spec], str]] = {
    "_host": (_specs.host_options, "host"),
    "_host.found": (lambda: _specs.found_options(required=False), ""),
    "_instance": (_specs.instance_options, ""),
    "_instance.configured": (lambda: {"config_dir": _specs.configured_options()["config_dir"]}, "walg"),
    "_release": (_specs.release_options, "release"),
    "_storage": (_specs.storage_options, "storage"),
    "_storage.access": (_specs.access_options, ""),
    "_storage.limits": (_specs.limit_options, ""),
}
GROUPS = yaml.safe_load((PLUGINS.parent / "meta" / "runtime.yml").read_text(encoding="utf-8"))["action_groups"]
PREFIX = "mapswipe.walg."


def without_secrecy(options: Spec) -> Spec:
    """Return options as docs describe them: no_log is the spec's alone, descriptions are the docs'."""
    inner = {"options": "suboptions"}
    return {
        name: {
            inner.get(key, key): without_secrecy(value) if key in ("options", "suboptions") else value
            for key, value in option.items()
            if key not in ("no_log", "description")
        }
        for name, option in options.items()
    }


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_family_has_one_spec_and_one_fragment(name: str) -> None:
    assert without_secrecy(fragment(name)["options"]) == without_secrecy(FAMILIES[name][0]())


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_the_families_whose_fragments_it_extends(name: str) -> None:
    """An option with a family's name and another meaning is listed here."""
    own = {
        # without a host that they are for
        "walg_google_check": {"access", "google_credentials", "settings", "storage", "version"},
        "walg_install": {"config_dir", "instance"},  # only to know what is in use, so without a default place
        "walg_instance": {"binary"},  # where it will be, if not in its usual place
        "walg_restore": {"settings", "fetch_timeout"},  # PostgreSQL's; of a base backup
    }
    given, extended = spec(name)["argument_spec"], [one for one in fragments(name) if one in FAMILIES]
    shared = {option: entry for family in extended for option, entry in FAMILIES[family][0]().items()}
    assert {option: {key: given[option].get(key) for key in entry} for option, entry in shared.items()} == shared
    others = {
        option for family, (options, _group) in FAMILIES.items() if family not in extended for option in options()
    }
    assert (others - set(shared)) & set(given) == own.get(name, set())


@pytest.mark.parametrize("name", MODULES)
def test_spec_and_documentation_are_the_same_options(name: str) -> None:
    assert without_secrecy(documentation(name)["options"]) == without_secrecy(spec(name)["argument_spec"])


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_a_group_is_the_modules_of_its_family(group: str) -> None:
    families = [family for family, (_options, named) in FAMILIES.items() if named == group]
    assert len(families) == 1
    assert GROUPS[group] == [name for name in MODULES if families[0] in fragments(name)]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_documents_its_attributes(name: str) -> None:
    """All of them, with a reason where the support is not full; action groups as they are in meta/runtime.yml."""
    attributes = documentation(name)["attributes"]
    groups = [f"{PREFIX}{group}" for group, modules in GROUPS.items() if name in modules]
    assert set(attributes) == {
        "check_mode",
        "diff_mode",
        "idempotent",
        "platform",
        *(["action_group"] if groups else []),
    }
    for attribute, told in attributes.items():
        assert told["description"], attribute
        assert told["support"] == "full" or told["details"], attribute
    assert attributes.get("action_group", {}).get("membership", []) == groups
    assert spec(name)["supports_check_mode"] is True


def test_every_option_of_a_group_can_be_set_for_all_of_it() -> None:
    """A default that one module of a group does not know would end its task."""
    for family, (options, group) in FAMILIES.items():
        for name in GROUPS.get(group, []):
            assert set(options()) <= set(spec(name)["argument_spec"]), (family, name)


def test_three_modules_are_in_no_group() -> None:
    """One shares no option; the others run on the controller."""
    grouped = {name for modules in GROUPS.values() for name in modules}
    assert set(MODULES) - grouped == {"walg_google_check", "walg_programs", "walg_report"}


@pytest.mark.parametrize("path", sorted((PLUGINS / "doc_fragments").glob("*.py")), ids=lambda path: path.stem)
def test_fragments_are_private_and_used(path: Any) -> None:
    assert path.stem.startswith("_")
    assert "Private to this collection." in path.read_text(encoding="utf-8")
    used = {one.partition(".")[0] for name in MODULES for one in fragments(name)}
    assert path.stem in used


@pytest.mark.parametrize("name", MODULES)
def test_an_info_module_never_changes(name: str) -> None:
    attributes = documentation(name)["attributes"]
    assert name.endswith("_info") == ("_attributes.info" in fragments(name))
    if name.endswith("_info"):
        assert [attributes[one]["support"] for one in ("check_mode", "diff_mode", "idempotent")] == [
            "full",
            "N/A",
            "full",
        ]


#: Dictionaries whose keys are names of the host or of PostgreSQL, and not ours.
FREE = {
    "walg_backup: corrupt_blocks",
    "walg_restore: restore.differs",
    "walg_restore: restore.host_was.limits",
    "walg_restore: restore.links",
    "walg_restore: restore.made_again",
    "walg_restore: restore.seconds",
    "walg_restore: restore.settings",
}


def dictionaries(where: str, entry: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield where an answer has a dictionary or a list of them, and whether its keys are documented."""
    if "dict" in (entry["type"], entry.get("elements")):
        yield where, bool(entry.get("contains"))
    for key, inner in entry.get("contains", {}).items():
        assert inner["description"], f"{where}.{key}"
        yield from dictionaries(f"{where}.{key}", inner)


@pytest.mark.parametrize("name", MODULES)
def test_every_key_of_an_answer_is_documented(name: str) -> None:
    """Whether the documentation is right is seen in the integration tests, which compare every answer with it."""
    found = dict(one for key, entry in returned(name).items() for one in dictionaries(f"{name}: {key}", entry))
    assert {where for where, told in found.items() if not told} == {one for one in FREE if one.startswith(f"{name}:")}
    for key, entry in returned(name).items():
        assert entry["returned"], key


def test_modules_that_return_the_same_document_it_the_same() -> None:
    instance, info, archive = returned("walg_instance"), returned("walg_instance_info"), returned("walg_archive")
    for key in ("cluster", "directories"):
        assert (instance[key]["contains"], instance[key]["sample"]) == (info[key]["contains"], info[key]["sample"])
    assert archive["owner"]["contains"] == returned("walg_backup_info")["owner"]["contains"]
    backup, listed = returned("walg_backup")["backup"]["contains"], returned("walg_backup_info")["backups"]["contains"]
    plain = [{key: {**entry, "sample": ""} for key, entry in one.items()} for one in (backup, listed)]
    assert plain[0].items() <= plain[1].items()
    assert returned("walg_restore")["restore"]["contains"]["backup"]["contains"] == backup
    assert {key: {**entry, "returned": ""} for key, entry in instance["storage"]["contains"].items()} == {
        key: {**entry, "returned": ""} for key, entry in returned("walg_storage_check").items()
    }


ANSWER: dict[str, Any] = {
    "changed": True,
    "settings": {"archive_mode": "on", "archive_command": "x", "archive_timeout": "60"},
    "conf_file": "/c",
    "restart": False,
    "system_identifier": "1",
    "timeline": 1,
    "owner": None,
    "proved": False,
    "in_recovery": False,
}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({}, ""),
        ({"failed": True, "cmd": ["x"]}, ""),
        ({"more": 1}, "walg_archive: more is not documented"),
        ({"timeline": "1"}, "walg_archive: timeline is '1', documented as int"),
        ({"timeline": True}, "walg_archive: timeline is True, documented as int"),
        ({"settings": {}}, "walg_archive: settings.archive_mode is missing"),
        ({"settings": {**ANSWER["settings"], "x": 1}}, "walg_archive: settings.x is not documented"),
        ({"owner": {"successors": [{"writer": 1}]}}, "walg_archive: owner.successors[].writer is 1, documented as str"),
    ],
)
def test_the_comparison_of_answers_itself(changes: dict[str, Any], complaint: str) -> None:
    found = complaints("walg_archive", {**ANSWER, **changes})
    assert (complaint in found) if complaint else (found == [])


def test_a_key_that_is_missing_is_seen() -> None:
    answer = {key: value for key, value in ANSWER.items() if key != "proved"}
    assert complaints("walg_archive", answer) == [
        "walg_archive: proved is missing, though it is documented as returned: success"
    ]
    assert complaints("walg_archive", {**answer, "failed": True}) == []


def linked(name: str) -> set[str]:
    return {one["module"].removeprefix(PREFIX) for one in documentation(name)["seealso"] if "module" in one}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_leads_to_others_and_says_since_when_it_is_there(name: str) -> None:
    assert linked(name) <= set(MODULES) - {name}
    assert linked(name), "a reader comes to a dead end"
    assert documentation(name)["version_added"] == "0.1.0"


def test_every_module_can_be_reached_from_another_one() -> None:
    reached = {other for name in MODULES for other in linked(name)}
    assert set(MODULES) - reached == {"walg_install", "walg_programs"}, (
        "bricks of walg_instance, which its description names"
    )


def calls(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the calls of modules of this collection in a module's examples."""
    tasks: list[dict[str, Any]] = examples(name)
    return [(key.removeprefix(PREFIX), task[key] or {}) for task in tasks for key in task if key.startswith(PREFIX)]


def lacking(told: dict[str, Any], given: dict[str, Any]) -> set[str]:
    """Return the options that a call must give and does not."""
    options = told["argument_spec"]
    needed = {option for option, entry in options.items() if entry.get("required")}
    for option, value, others in told.get("required_if", []):
        needed |= set(others) if given.get(option, options[option].get("default")) == value else set()
    for option, others in told.get("required_by", {}).items():
        needed |= ({others} if isinstance(others, str) else set(others)) if option in given else set()
    return needed - set(given)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_the_options_that_there_are(name: str) -> None:
    assert name in dict(calls(name))
    for module, given in calls(name):
        told = spec(module)
        assert set(given) <= set(told["argument_spec"]), module
        assert lacking(told, given) == set(), module
        for option, value in given.items():
            choices = told["argument_spec"][option].get("choices")
            assert choices is None or value in choices, (module, option)
    for task in examples(name):
        assert [key for key in task if "." in key and key.count(".") >= 2], task["name"]


def test_the_search_for_lacking_options_itself() -> None:
    told = spec("walg_instance")
    assert lacking(told, {}) == {"version"}
    assert lacking(told, {"state": "absent"}) == set()
    assert lacking(told, {"state": "absent", "binary_src": "/x"}) == {"binary_checksum"}
    assert lacking(spec("walg_restore"), {}) == {"request"}
