# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: projects of Compose on this machine. hosts.py runs these tests, beside molecule's scenarios, as root on a running engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.container_gcs import GoogleNetwork
from support.container_world import IMAGES, ContainerWorld, Image, Setup, images
from support.module_docs import require_documented
from support.sandbox import ANSWER_CHECKS, load_tools

ANSWER_CHECKS.append(require_documented)

LEFT_OUT = "" if os.environ.get(IMAGES) else "these tests are run by `make test-molecule SCENARIO=containers`"
OLDEST = min(images(), default=0)  # a PostgreSQL that every WAL-G can back up


@pytest.fixture(scope="session")
def tools() -> dict[str, Any]:
    """Where the toolchain put everything."""
    if LEFT_OUT:
        pytest.skip(LEFT_OUT)
    return load_tools()


@pytest.fixture(scope="session")
def image(tools: dict[str, Any]) -> Image:
    """The image that tests use unless they say another."""
    return images()[OLDEST]


@pytest.fixture(scope="module")
def google(tools: dict[str, Any]) -> Iterator[GoogleNetwork]:
    """A network in which a container is Google Cloud Storage, with a bucket; what uses it is a project of make_world."""
    network = GoogleNetwork(tools)
    yield network
    network.close()


@pytest.fixture(scope="module")
def make_world(tools: dict[str, Any], image: Image) -> Iterator[Callable[..., ContainerWorld]]:
    """A factory of projects; all of them removed at the end of the file."""
    made: list[ContainerWorld] = []

    def make(which: Image | None = None, **setup: Any) -> ContainerWorld:
        made.append(ContainerWorld(tools, which or image, Setup(**setup)))
        return made[-1]

    yield make
    for world in made:
        world.close()
