# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is stated of modules in several places agrees: specs, documentation, fragments, attributes and action groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _specs
from support.module_docs import MODULES, PLUGINS, documentation, fragment, fragments, spec

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


def test_two_modules_are_in_no_group() -> None:
    """One shares nothing but the wrappers, which the role hands on; the other runs on the controller."""
    grouped = {name for modules in GROUPS.values() for name in modules}
    assert set(MODULES) - grouped == {"walg_google_check", "walg_programs"}


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
