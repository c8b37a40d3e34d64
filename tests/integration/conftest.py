# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: a sandbox for each test file, with clusters and storages of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from released import first_line
from support.gcs import BUCKET, Gcs
from support.job_host import Receiver, receiving
from support.module_docs import require_documented
from support.sandbox import ANSWER_CHECKS, Sandbox, load_tools

ANSWER_CHECKS.append(require_documented)

LEFT_OUT = (
    {}
    if os.geteuid() == 0
    else {
        **dict.fromkeys(("test_mount_point.py", "test_full_disk.py", "test_pg_wal_full.py"), "only root can mount"),
        "test_below_roots.py": "only root renames what lies in root's directories",
        "test_keyless.py": "only root can make a network of its own",
    }
)
if shutil.which("ip") is None:
    LEFT_OUT["test_keyless.py"] = "there is no ip to make a network with"
if shutil.which("gpg") is None:
    LEFT_OUT["test_encryption.py"] = "there is no gpg to make keys with"
collect_ignore = list(LEFT_OUT)
#: How many variants of each test are run, the first and, of several, the last among them (0: all). make test takes one, make
#: integration all.
VARIANTS = int(os.environ.get("VARIANTS") or 0)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out variants beyond VARIANTS, always the same ones, and what is marked as long. What can't run here stays, and says why."""
    of_test: dict[str, list[pytest.Item]] = {}
    left = set()
    for item in items if VARIANTS else []:
        if item.get_closest_marker("skip"):
            continue
        if item.get_closest_marker("long"):
            left.add(item.nodeid)
        of_test.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for variants in of_test.values():
        kept = {turn * (len(variants) - 1) // max(VARIANTS - 1, 1) for turn in range(VARIANTS)}
        left |= {item.nodeid for place, item in enumerate(variants) if place not in kept}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left])
    items[:] = [item for item in items if item.nodeid not in left]


def pytest_report_header() -> list[str]:
    """Say with which WAL-G, what is not run here, and why."""
    real = (
        []
        if os.environ.get("WALG_BINARY_NEWER")
        else ["an upgrade to another WAL-G's code, WALG_BINARY_NEWER names none"]
    )
    return [
        first_line(),
        *([f"run: {VARIANTS} of each test's variants; make integration runs all"] if VARIANTS else []),
        *(f"not run: {one}" for one in [*(f"{name}, {reason}" for name, reason in LEFT_OUT.items()), *real]),
    ]


@pytest.fixture(scope="session")
def tools() -> dict[str, Any]:
    """Where the toolchain put everything."""
    return load_tools()


@pytest.fixture(scope="module")
def make_sandbox(request: pytest.FixtureRequest, tools: dict[str, Any]) -> Iterator[Callable[..., Sandbox]]:
    """A factory of sandboxes, of the kind that the file says by SANDBOX; all of them closed at the end of the file."""
    made: list[Sandbox] = []
    kind = getattr(request.module, "SANDBOX", Sandbox)

    def make(**options: Any) -> Sandbox:
        made.append(kind(tools, **options))
        return made[-1]

    yield make
    for sandbox in made:
        sandbox.close()


@pytest.fixture(scope="module")
def sandbox(make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    """The file's own sandbox; plays run as whoever runs the tests."""
    return make_sandbox()


@pytest.fixture(scope="module")
def gcs(sandbox: Sandbox, tools: dict[str, Any]) -> Iterator[Gcs]:
    """Google Cloud Storage on loopback, with an empty bucket."""
    directory = sandbox.root / "gcs"
    directory.mkdir()
    with Gcs(tools["gcs_server"], directory, BUCKET) as storage:
        yield storage


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """A chat system's webhook and a monitor's ping, for the tests of a file."""
    with receiving() as made:
        yield made
