# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is written twice must agree: role defaults and argument_specs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.parent.parent.name for path in ROOT.glob("roles/*/tasks/main.yml"))
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "dict": (dict,),
    "float": (float, int),
    "int": (int,),
    "list": (list,),
    "path": (str,),
    "str": (str,),
}


def same(left: object, right: object) -> bool:
    """Equal in value and type, all the way down: True is not 1, and 1 is not "1"."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def untyped(options: dict[str, Any], where: str = "") -> list[str]:
    """Complaints about options, nested ones too, that do not say what they are."""
    found = []
    for name, option in options.items():
        label = where + name
        # Validation prints a value that it rejects, a secret one too; `raw` is how it rejects none.
        if option.get("type") not in PYTHON_TYPES and not (option.get("type") == "raw" and option.get("no_log")):
            found.append(f"{label}: type is {option.get('type')!r}")
        if option.get("type") == "list" and "elements" not in option:
            found.append(f"{label}: a list without elements")
        if not option.get("description"):
            found.append(f"{label}: no description")
        found += untyped(option.get("options", {}), f"{label}.")
    return found


def wrong_type(option: dict[str, Any], value: object) -> bool:
    """Is the default of another type than its option? A template is decided only when the play runs."""
    if isinstance(value, str) and "{{" in value:
        return False
    allowed = PYTHON_TYPES.get(option.get("type", ""), (object,))
    return not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)


def drift(options: dict[str, Any], defaults: dict[str, Any]) -> list[str]:
    """Every way in which a role's defaults and its documented options disagree."""
    found = untyped(options)
    found += [f"{name}: in defaults, not documented" for name in defaults if name not in options]
    for name, option in options.items():
        documented = "default" in option
        if option.get("required") and (documented or name in defaults):
            found.append(f"{name}: required, yet it has a default")
        elif documented and name not in defaults:
            found.append(f"{name}: its documented default is not in defaults")
        elif name in defaults and not documented:
            found.append(f"{name}: its default is not documented")
        elif documented and not same(option["default"], defaults[name]):
            found.append(f"{name}: documented as {option['default']!r}, in defaults {defaults[name]!r}")
        elif documented and wrong_type(option, option["default"]):
            found.append(f"{name}: {option['default']!r} is no {option.get('type')}")
    return found


def entry_points(role: str) -> dict[str, Any]:
    text = (ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    specs: dict[str, Any] = yaml.safe_load(text)["argument_specs"]
    return specs


def defaults_of(role: str) -> dict[str, Any]:
    place = ROOT / "roles" / role / "defaults" / "main.yml"
    return yaml.safe_load(place.read_text(encoding="utf-8")) or {} if place.exists() else {}


def taken_as_text(tasks: str, options: dict[str, Any]) -> list[str]:
    """Lines of tasks that use a bool or int as it comes: by ``-e name=value`` it is a text, of which "false" is true.

    Handing it to a module is fine, which knows the type.
    """
    found = []
    for line in tasks.splitlines():
        if line.lstrip().startswith("tags: "):  # a tag is a word of its own
            continue
        for name, option in options.items():
            if option.get("type") not in ("bool", "int") or line.endswith(f': "{{{{ {name} }}}}"'):
                continue
            if re.search(rf"\b{name}\b(?!\s*\|\s*{option['type']}\b|:)", line):
                found.append(line.strip())
    return found


@pytest.mark.parametrize(
    ("line", "good"),
    [
        ('  first: "{{ r_first }}"', True),
        ("  when: r_first | bool", True),
        ("  tags: [r_first]", True),
        ("  when: r_first", False),
        ('  async: "{{ r_seconds + 600 }}"', False),
        ('  async: "{{ r_seconds | int + 600 }}"', True),
        ("  state: \"{{ r_first | ternary('present', 'absent') }}\"", False),
        ("  fail_msg: Say r_first: false.", True),
    ],
)
def test_the_search_for_texts_itself(line: str, good: bool) -> None:
    options = {"r_first": {"type": "bool"}, "r_seconds": {"type": "int"}}
    assert taken_as_text(line, options) == ([] if good else [line.strip()])


@pytest.mark.parametrize("role", ROLES)
def test_options_from_the_command_line_are_not_taken_as_text(role: str) -> None:
    options = {name: option for each in ROLES for name, option in entry_points(each)["main"].get("options", {}).items()}
    for place in sorted((ROOT / "roles" / role).glob("[tv]a*/*.yml")):
        assert taken_as_text(place.read_text(encoding="utf-8"), options) == [], place


def test_there_are_roles() -> None:
    assert {"walg", "walg_backup", "walg_restore"} <= set(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_agree(role: str) -> None:
    options: dict[str, Any] = {}
    for entry in entry_points(role).values():
        options.update(entry.get("options", {}))
    assert drift(options, defaults_of(role)) == []


@pytest.mark.parametrize("role", ROLES)
def test_an_option_is_the_same_in_every_entry_point(role: str) -> None:
    main = entry_points(role)["main"].get("options", {})
    for name, entry in entry_points(role).items():
        for option, told in entry.get("options", {}).items():
            assert same(told, main.get(option, told)), (name, option)


def test_tasks_of_the_shipped_playbooks_are_entry_points() -> None:
    """Without a spec, wrong options would pass."""
    named = [
        (task["ansible.builtin.include_role"]["name"], task["ansible.builtin.include_role"].get("tasks_from", "main"))
        for path in (ROOT / "playbooks").glob("*.yml")
        for play in yaml.safe_load(path.read_text(encoding="utf-8"))
        for task in play["tasks"]
        if "ansible.builtin.include_role" in task
    ]
    assert ("mapswipe.walg.walg", "remove") in named
    for role, entry in named:
        assert entry in entry_points(role.rpartition(".")[2]), (role, entry)


def test_the_removal_has_the_options_that_it_uses() -> None:
    tasks = (ROOT / "roles/walg/tasks/remove.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"\{\{ (walg_\w+)", tasks)) == set(entry_points("walg")["remove"]["options"])


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_is_documented(role: str) -> None:
    # A leading underscore marks a file of tasks that others must not name in tasks_from.
    documented = entry_points(role)
    assert "main" in documented
    for name, entry in documented.items():
        assert entry.get("short_description"), name
        assert (ROOT / "roles" / role / "tasks" / f"{name}.yml").exists(), name


GOOD = {"type": "str", "description": "x", "default": "a"}


@pytest.mark.parametrize(
    ("option", "defaults", "complaint"),
    [
        (GOOD, {"r_x": "a"}, None),
        (GOOD, {"r_x": "b"}, "documented as 'a', in defaults 'b'"),
        (GOOD, {}, "not in defaults"),
        (GOOD, {"r_x": "a", "r_y": 1}, "r_y: in defaults, not documented"),
        ({**GOOD, "type": "int", "default": 1}, {"r_x": True}, "documented as 1, in defaults True"),
        ({**GOOD, "type": "int", "default": 1}, {"r_x": "1"}, "documented as 1, in defaults '1'"),
        ({**GOOD, "type": "int", "default": True}, {"r_x": True}, "True is no int"),
        ({**GOOD, "type": "list", "default": []}, {"r_x": []}, "a list without elements"),
        ({**GOOD, "default": "{{ r_z }}"}, {"r_x": "{{ r_z }}"}, None),
        ({"type": "str", "description": "x"}, {}, None),
        ({"type": "str", "description": "x"}, {"r_x": ""}, "its default is not documented"),
        ({"type": "str", "description": "x", "required": True}, {}, None),
        ({"type": "str", "description": "x", "required": True}, {"r_x": "a"}, "required, yet it has a default"),
        ({"description": "x"}, {}, "type is None"),
        ({"type": "str"}, {}, "no description"),
        ({"type": "raw", "description": "x"}, {}, "type is 'raw'"),
        ({"type": "raw", "description": "x", "no_log": True, "default": {}}, {"r_x": {}}, None),
        ({"type": "dict", "description": "x", "options": {"y": {"description": "x"}}}, {}, "r_x.y: type is None"),
    ],
)
def test_the_comparison_itself(option: dict[str, Any], defaults: dict[str, Any], complaint: str | None) -> None:
    found = drift({"r_x": option}, defaults)
    assert (complaint is None and found == []) or (complaint is not None and complaint in "; ".join(found))


def untagged(tasks: Any, inherited: bool = False) -> list[str]:
    """Names of the tasks, blocks looked into, that no tag chooses."""
    found = []
    for task in tasks or []:
        tagged = inherited or bool(task.get("tags"))
        inner = [one for key in ("block", "rescue", "always") for one in task.get(key, [])]
        found += untagged(inner, tagged) if inner else [] if tagged else [str(task.get("name"))]
    return found


@pytest.mark.parametrize(
    "place", sorted((ROOT / "roles").glob("*/tasks/*.yml")), ids=lambda one: f"{one.parts[-3]}-{one.stem}"
)
def test_every_task_has_a_tag(place: Path) -> None:
    assert untagged(yaml.safe_load(place.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("place", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda one: one.stem)
def test_playbooks_let_tags_through(place: Path) -> None:
    """What they include is chosen by its own tags, and what they refuse is refused whatever is chosen."""
    for play in yaml.safe_load(place.read_text(encoding="utf-8")):
        for task in play["tasks"]:
            assert "always" in task.get("tags", []), task["name"]


# What a task's name begins with, after the step it belongs to; another verb may join.
VERBS = {
    "Archive",
    "Ask",
    "Back",
    "Carry",
    "Check",
    "Copy",
    "Create",
    "Install",
    "Look",
    "Make",
    "Prepare",
    "Prove",
    "Record",
    "Remove",
    "Restore",
    "Resume",
    "Send",
    "Set",
    "Show",
    "Switch",
    "Take",
    "Warn",
    "Write",
}


def names(tasks: Any) -> list[str]:
    """Return the names of plays, blocks and tasks, those within too."""
    found = []
    for task in tasks or []:
        inner = [one for key in ("block", "rescue", "always", "tasks") for one in task.get(key, [])]
        found += [str(task.get("name")), *names(inner)]
    return found


@pytest.mark.parametrize(
    "place",
    [*sorted((ROOT / "roles").glob("*/tasks/*.yml")), *sorted((ROOT / "playbooks").glob("*.yml"))],
    ids=lambda one: f"{one.parts[-3]}-{one.stem}",
)
def test_a_task_is_named_by_what_it_does(place: Path) -> None:
    """Step | Do something: an imperative, as in the rest of Ansible's world."""
    found = names(yaml.safe_load(place.read_text(encoding="utf-8")))
    assert found
    assert [name for name in found if name.rpartition("| ")[2].partition(" ")[0] not in VERBS] == []


def test_a_task_without_a_tag_is_seen() -> None:
    inner = [{"name": "a", "block": [{"name": "b"}, {"name": "c", "tags": ["x"]}]}]
    assert untagged([*inner, {"name": "d", "tags": ["always"]}, {"name": "e"}]) == ["b", "e"]
