# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Examples, and what pages show of them: Ansible reads the inventories, and its own validator takes every variable of ours."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import options_table
import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from written import EXAMPLES, PAGES, PLAY_VARIABLES, ROLES, ROOT, blocks, text_of

INVENTORIES = [name for name in EXAMPLES if name.startswith("examples/inventory/")]
PROJECTS = sorted(path.parent for path in ROOT.glob("examples/compose/*/docker-compose.yml"))
OF_PROJECTS = [f"{path.relative_to(ROOT)}/inventory.yml" for path in PROJECTS]
INCLUDE = "ansible.builtin.include_role"


def complaints(values: dict[str, Any], complete: bool) -> list[str]:
    """What Ansible says of variables of ours, as the roles' argument_specs describe them. ``complete``: a role needs no more."""
    spec = {name: option for role in ROLES for name, option in options_table.specs(role).items()}
    spec = {name: {**option, "required": False} for name, option in spec.items()}
    named = "walg_env_file" in values or any(name.endswith("_PREFIX") for name in values.get("walg_settings", ()))
    if complete and not named:
        spec["walg_storage"] = {"type": "str", "required": True}
    ours = {name: value for name, value in values.items() if name.startswith("walg_") and name not in PLAY_VARIABLES}
    # A template is decided when the play runs: as a text it may only stand where one is wanted.
    given = {
        name: value
        for name, value in ours.items()
        if not (isinstance(value, str) and "{{" in value and spec.get(name, {}).get("type") not in (None, "str"))
    }
    found = ArgumentSpecValidator(spec).validate(given)
    taken = found.validated_parameters
    # Ansible would take "15" for a number; an example says it right.
    turned = [
        f"{name}: {value!r} is no {spec[name]['type']}"
        for name, value in given.items()
        if name in spec and spec[name]["type"] != "raw" and (type(taken[name]), taken[name]) != (type(value), value)
    ]
    return [*found.error_messages, *turned]


def mappings(node: Any) -> Iterator[dict[str, Any]]:
    """Walk YAML data and return every mapping in it."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
        yield from mappings(child)


def wrong_variables(data: Any) -> list[str]:
    """Complaints about the variables of ours anywhere in YAML data; one that is given to a role has to be complete."""
    found = []
    for mapping in mappings(data):
        found += complaints(mapping, complete=False)
        if INCLUDE in mapping:
            found += complaints(mapping.get("vars", {}), complete=True)
    return found


def bare(text: str) -> list[str]:
    """Return the lines of YAML without comments."""
    lines = [line.rstrip() for line in text.splitlines()]
    return [line for line in lines if line and line != "---" and not line.lstrip().startswith("#")]


def inventory(path: Path) -> dict[str, dict[str, Any]]:
    """Return the hosts of an inventory with their variables, as Ansible reads them."""
    argv = [sys.executable, "-m", "ansible", "inventory", "-i", str(path), "--list"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    listed = json.loads(shown.stdout)
    assert set(listed["walg"]["hosts"]) == set(listed["_meta"]["hostvars"])
    hosts: dict[str, dict[str, Any]] = listed["_meta"]["hostvars"]
    return hosts


def test_there_is_something_to_check() -> None:
    assert len(INVENTORIES) >= 5
    assert {*INVENTORIES, *OF_PROJECTS} < set(EXAMPLES)
    assert len(PROJECTS) == 2


@pytest.mark.parametrize("name", [*INVENTORIES, *OF_PROJECTS])
def test_ansible_reads_the_inventories(name: str) -> None:
    hosts = inventory(ROOT / name)
    assert hosts
    complete = "own-image" not in name  # there the container's environment names the storage
    assert [(host, complaints(values, complete)) for host, values in hosts.items()] == [(host, []) for host in hosts]
    # Two instances of one machine, or two machines of one cluster: never the same writer twice.
    writers = {(values.get("ansible_host", host), values.get("walg_instance")) for host, values in hosts.items()}
    assert len(writers) == len(hosts)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_right(name: str) -> None:
    assert wrong_variables(yaml.safe_load(text_of(name))) == []


@pytest.mark.parametrize("name", PAGES)
def test_yaml_in_pages_is_right(name: str) -> None:
    for block in blocks(text_of(name), "yaml"):
        assert wrong_variables(yaml.safe_load(block)) == []


@pytest.mark.parametrize("name", [page for page in PAGES if not page.startswith("roles/")])
def test_what_a_page_shows_of_an_example_stands_in_it(name: str) -> None:
    """Inventories and plays are shown whole, comments aside; a page links the file."""
    beginnings = {bare(text_of(example))[0] for example in EXAMPLES}
    linked = [example for example in EXAMPLES if f"{example})" in text_of(name)]
    for block in blocks(text_of(name), "yaml"):
        if bare(block)[0] in beginnings:
            assert bare(block) in [bare(text_of(example)) for example in linked], block


def test_every_example_is_linked() -> None:
    shown = text_of("README.md") + "".join(text_of(page) for page in PAGES if page.startswith("docs/"))
    assert [example for example in EXAMPLES if f"{example})" not in shown] == []
    assert [example for example in INVENTORIES if f"({example})" not in text_of("README.md")] == []


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_a_project_of_compose_has_all_that_its_files_name(project: Path) -> None:
    """Variables are in .env.example, files beside; the line for .env is what the collection's role says by default."""
    written = (project / "docker-compose.yml").read_text(encoding="utf-8")
    env = (project / ".env.example").read_text(encoding="utf-8")
    given = dict(re.findall(r"^(\w+)=(.+)$", env, re.MULTILINE))
    services = yaml.safe_load(written)["services"]
    (host,) = inventory(project / "inventory.yml").values()
    assert set(re.findall(r"\$\{(\w+)\}", written)) == set(given)
    assert host["walg_compose"]["service"] in services
    assert all((project / "Dockerfile").exists() for service in services.values() if "build" in service)
    kit = options_table.specs("walg")["walg_kit_dir"]["default"]
    assert f"\n#COMPOSE_FILE=docker-compose.yml:{kit}/main.compose.yml\n" in env
    linked = text_of("docs/containers.md")
    assert all(f"examples/compose/{project.name}/{path.name})" in linked for path in project.iterdir())


def test_what_differs_in_an_example_is_told_right() -> None:
    """A row of the README's table names variables of the file; where it says `name: value`, that is a line of it."""
    rows = re.findall(r"^\| \[[^]]*\]\((examples/\S+)\) \| (.*) \|$", text_of("README.md"), re.MULTILINE)
    assert {name for name, _told in rows} == set(INVENTORIES) - {"examples/inventory/gcs-with-key.yml"}
    for name, told in rows:
        lines = [line.strip() for line in bare(text_of(name))]
        without = re.findall(r"no `([a-z_]+)`", told)
        for code in re.findall(r"`([^`]+)`", told):
            stands = code in lines if ": " in code else any(line.startswith(f"{code}:") for line in lines)
            assert stands == (code not in without), (name, code)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"walg": {"vars": {"walg_storage": "gs://x"}}}, None),
        ({"walg_storge": "gs://x"}, "walg_storge. Supported parameters include"),
        ([{"vars": {"walg_push_timeout": "15"}}], "walg_push_timeout: '15' is no int"),
        ({"walg_backup_hour": 3}, "walg_backup_hour: 3 is no str"),
        ({"walg_push_timeout": "soon"}, "'walg_push_timeout' is of type str and we were unable to convert to int"),
        ({"walg_backup_restart": "always"}, "must be one of: never, allowed, got: always"),
        ({"walg_hosts": "db1"}, None),
        ({"walg_push_timeout": "{{ seconds }}"}, None),
        ({INCLUDE: {"name": "mapswipe.walg.walg"}, "vars": {"walg_instance": "a"}}, "walg_storage"),
    ],
)
def test_the_check_of_variables_itself(data: object, complaint: str | None) -> None:
    found = "; ".join(wrong_variables(data))
    assert (found == "") if complaint is None else (complaint in found)
