# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules of this house that no ready-made linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Written by tools, or of a kind that has no comments.
NO_HEADER = {
    "CHANGELOG.md",
    "LICENSE",
    "changelogs/changelog.yaml",
    "tests/toolchain/gcs/go.sum",
    "tests/toolchain/walg/go.sum",
}
NO_COMMENTS = {".json", ".lz4", ".gz", ".out"}
# One letter of each is in brackets, so that this file does not complain of itself.
WAIVERS = [
    r"# *no[q]a",
    r"type: *ignor[e]",
    r"pylint: *disabl[e]",
    r"shellcheck disabl[e]",
    r"yamllint disabl[e]",
    r"# *nose[c]",
    r"pragma: no cove[r]",
    r"# *fmt: *(off|skip)",
    r"skip_ansible_lin[t]",
]
PLACES = [
    r"(?<![\w.}/-])/(?:wor[k]|roo[t])/[\w.]",
    r"proxy\.golan[g]",
    r"registry\.npmj[s]",
    r"pypi\.or[g]",
    r"pythonhoste[d]",
]


def files() -> list[str]:
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(name for name in listing.split("\0") if name and (ROOT / name).is_file())


def text_of(name: str) -> str:
    content = (ROOT / name).read_bytes()
    return "" if b"\0" in content else content.decode()


FILES = files()


def matches(patterns: list[str], names: list[str]) -> list[str]:
    expression = re.compile("|".join(patterns))
    return [
        f"{name}:{number}: {line.strip()}"
        for name in names
        for number, line in enumerate(text_of(name).splitlines(), 1)
        if expression.search(line)
    ]


def test_every_file_names_its_licence() -> None:
    commented = [name for name in FILES if name not in NO_HEADER and Path(name).suffix not in NO_COMMENTS]
    wanted = [name for name in commented if text_of(name)]
    assert len(wanted) > 20
    lines = ("Copyright: the mapswipe.walg contributors", "SPDX-License-Identifier: GPL-3.0-or-later")
    assert [name for name in wanted if not all(line in text_of(name)[:600] for line in lines)] == []


def test_no_linter_is_told_to_look_away() -> None:
    assert matches(WAIVERS, FILES) == []
    assert [name for name in FILES if re.search(r"(^|/)(ignore-[\d.]+\.txt|\.ansible-lint-ignore)$", name)] == []


def test_nothing_names_a_developers_machine_or_a_registry_host() -> None:
    assert matches(PLACES, [name for name in FILES if name not in NO_HEADER]) == []


@pytest.mark.parametrize(
    ("patterns", "line", "caught"),
    [
        (WAIVERS, "x = 1  # NOQA".lower(), True),
        (WAIVERS, "x = 1  # TYPE: IGNORE".lower(), True),
        (WAIVERS, "some people ignore this", False),
        (PLACES, "see /ROOT/notes".lower(), True),
        (PLACES, "roles/walg/root/x", False),
        (PLACES, "{{ base }}/work/x", False),
    ],
)
def test_the_patterns_themselves(patterns: list[str], line: str, caught: bool) -> None:
    assert bool(re.search("|".join(patterns), line)) is caught


def imports(name: str) -> list[tuple[str, int]]:
    """The imported modules of a file, each with the number of dots before it."""
    found = []
    for node in ast.walk(ast.parse(text_of(name))):
        if isinstance(node, ast.Import):
            found += [(alias.name, 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.module or "", node.level))
    return found


LIBRARY = [name for name in FILES if name.startswith("plugins/module_utils/") and name.endswith(".py")]


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_is_private_and_rests_on_python_alone(name: str) -> None:
    # The same files run on the host as walg-job, without Ansible.
    assert Path(name).name.startswith("_")
    absolute = [module for module, dots in imports(name) if not dots]
    assert [module for module in absolute if module.split(".")[0] not in sys.stdlib_module_names] == []
    assert all(dots <= 2 for _module, dots in imports(name))


#: An import goes to a lower floor or stays inside its folder.
FLOORS = {
    "_errors": 1,
    "_host": 2,
    "_storage": 3,
    "_postgres": 3,
    "_instance": 4,
    "_walg": 5,
    "_container": 5,
    "_archive": 6,
    "_install": 6,
    "_backup": 7,
    "_restore": 7,
    "_report": 7,
    "_setup": 9,
    "_job": 8,
}


def folder(name: str) -> str:
    """Return the folder of a library's file, or the file that stands beside the folders."""
    parts = Path(name).relative_to("plugins/module_utils").parts
    return parts[0].removesuffix(".py")


def within(name: str) -> list[str]:
    """Return the library's files that a file of it imports, as paths."""
    own, found = Path(name).parent, set()
    for node in ast.walk(ast.parse(text_of(name))):
        if isinstance(node, ast.ImportFrom) and node.level:
            place = (own if node.level == 1 else own.parent).joinpath(*(node.module or "").split("."))
            found |= {place.with_suffix(".py"), *((place / alias.name).with_suffix(".py") for alias in node.names)}
    return sorted(path.as_posix() for path in found if path.as_posix() in LIBRARY)


def upwards(name: str) -> list[str]:
    """Return the imports of a file that go to a floor that is not below its own."""
    here = folder(name)
    return [one for one in within(name) if folder(one) != here and FLOORS[folder(one)] >= FLOORS[here]]


def test_each_folder_of_the_library_has_a_floor() -> None:
    assert {folder(name) for name in LIBRARY} == set(FLOORS)


@pytest.mark.parametrize("name", LIBRARY)
def test_imports_go_down_the_floors(name: str) -> None:
    assert upwards(name) == []


def test_no_circle_of_imports() -> None:
    rests_on = {name: within(name) for name in LIBRARY}
    assert sum(map(len, rests_on.values())) > len(LIBRARY)
    while ready := [name for name, others in rests_on.items() if not set(others) & set(rests_on)]:
        for name in ready:
            del rests_on[name]
    assert sorted(rests_on) == []


def test_an_import_that_goes_up_is_seen() -> None:
    assert (
        FLOORS[folder("plugins/module_utils/_host/_files.py")] < FLOORS[folder("plugins/module_utils/_restore/_run.py")]
    )
    assert "plugins/module_utils/_host/_files.py" in within("plugins/module_utils/_restore/_run.py")
