# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: which cluster an instance means, and where its files go on this host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._instance import _directories, _record
from .._postgres import _discovery
from .._postgres._cluster import cluster_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._host._process import Runner
    from .._postgres._cluster import Cluster


@dataclass(frozen=True)
class Found:
    """What an instance's name and the options mean on this host."""

    cluster: Cluster
    directories: dict[str, str]

    def answer(self) -> dict[str, Any]:
        """Return it as modules do."""
        return {"cluster": cluster_dict(self.cluster), "directories": self.directories}


def find(runner: Runner, params: Mapping[str, Any]) -> Found:
    """Find the cluster by the options ``instance``, ``cluster`` and ``directories``. Raises WalgError where it is not clear."""
    directories = _directories.of_instance(params["instance"], params["directories"])
    _directories.refuse_loose(directories)
    recorded = _record.load(directories["config_dir"], params["instance"])
    return Found(_discovery.find(runner, params["cluster"], recorded.cluster if recorded else None), directories)
