# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What molecule is told: a file of variables that it puts into .config/molecule/config.yml and each scenario's molecule.yml.

The checkout's is .env.yml, which molecule reads by itself, so that a bare `molecule test` works. It holds names and paths,
no secret. A run of its own has another, which differs in the run's name: the names of its containers end with that.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import images
from locations import ROOT, ToolError, digest_of, link_root, static_walg, tools_dir

CHECKOUT_FILE = ROOT / ".env.yml"
#: The name of runs by hand: two checkouts on one machine have hosts beside each other.
CHECKOUT_RUN = hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:6]
SCENARIOS = sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))


def recipes(scenarios: Sequence[str]) -> list[str]:
    """Return the recipes of hosts that these scenarios name, besides the one of the run."""
    texts = [(ROOT / "molecule" / name / "molecule.yml").read_text(encoding="utf-8") for name in scenarios]
    return sorted({found.lower() for text in texts for found in re.findall(r"\$\{WALG_IMAGE_([A-Z]+)\b", text)})


def variables(image: str, named: Mapping[str, str]) -> dict[str, str]:
    """Return what the checkout's file says: the hosts' image, other images by the names of their recipes, WAL-G, the tools."""
    link_root()
    walg_static = static_walg()
    return {
        "WALG_RUN": CHECKOUT_RUN,
        "WALG_TOOLS": str(tools_dir()),
        "WALG_BINARY_BUILT": str(walg_static),
        "WALG_SHA256": digest_of(walg_static),
        "WALG_VERSION": _version(walg_static),
        "WALG_IMAGE": image,
        "WALG_PG_MAJOR": str(images.major(image)),
        **{f"WALG_IMAGE_{name.upper()}": each for name, each in named.items()},
        **{f"WALG_PG_MAJOR_{name.upper()}": str(images.major(each)) for name, each in named.items()},
    }


def write(place: Path, values: Mapping[str, str]) -> None:
    """Write such a file, whole or not at all."""
    lines = ["---", "# What molecule's scenarios are told; make hosts writes it."]
    lines += [f"{name}: {json.dumps(value)}" for name, value in values.items()]
    part = place.with_name(f"{place.name}.{os.getpid()}")
    part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    part.replace(place)


def _version(binary: Path) -> str:
    """Return the version that a WAL-G binary says of itself, without its suffix."""
    answer = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v(\d+(?:\.\d+)*)", answer)
    if not found:
        raise ToolError(f"{binary} --version says {answer.strip()!r}: no version in it")
    return found.group(1)
