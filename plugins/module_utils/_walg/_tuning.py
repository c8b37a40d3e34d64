# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on how many things WAL-G does at a time on a host, where nobody says it.

WAL-G's own values are the same on every host, and so is the compression, lz4, which stays: every binary of every version
has it, it is the quickest to restore, and WAL-G 3.0.9 finds WAL of another kind on Google's storage only by luck.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _settings

if TYPE_CHECKING:
    from collections.abc import Collection

#: WAL-G's own values, 1.1.3 to 3.0.9; what the rule leaves as it is, is not written.
_WALG = {"WALG_UPLOAD_DISK_CONCURRENCY": 1, "WALG_UPLOAD_CONCURRENCY": 16, "WALG_DOWNLOAD_CONCURRENCY": 10}
_MOST_READERS = 4  # a database is at work beside a base backup
#: MiB that an upload may take, by storage: the size of a part, which WAL-G keeps in memory. A wal-push that finds 16 segments waiting
#: took 800 MiB on Google's storage (measured: 3.0.8). A reader of a base backup takes twice as much.
_UPLOAD_MIB = {"gs": 50, "file": 10, "ssh": 10}
_OTHER_UPLOAD_MIB = 20  # S3's part
_SHARE = 10  # of the memory: a tenth


def defaults(cores: int, memory_mib: int, kind: str, given: Collection[str] = ()) -> dict[str, str]:
    """Return the settings that suit a host and are not WAL-G's own values; none that is ``given`` by any of its names.

    A base backup is read and compressed by half of the cores, by two where there are two, and by four at most. Neither that
    nor the uploads may take more than a tenth of the memory on a storage of this ``kind`` (its URL's scheme), but four uploads
    there are: fewer were slower. A restore fetches two files or segments at a time for each core, four at least.
    ``memory_mib`` 0: not known; what hangs on it is left to WAL-G.
    """
    most = _WALG["WALG_UPLOAD_CONCURRENCY"]
    uploads = memory_mib // (_SHARE * _UPLOAD_MIB.get(kind, _OTHER_UPLOAD_MIB))
    wanted = {
        "WALG_UPLOAD_DISK_CONCURRENCY": max(1, min(_MOST_READERS, max(cores // 2, min(cores, 2)), uploads // 2)),
        "WALG_UPLOAD_CONCURRENCY": max(4, min(most, uploads if memory_mib else most)),
        "WALG_DOWNLOAD_CONCURRENCY": max(4, min(_WALG["WALG_DOWNLOAD_CONCURRENCY"], 2 * cores)),
    }
    known = {_settings.canonical(name) for name in given}
    return {
        name: str(value)
        for name, value in wanted.items()
        if value != _WALG[name] and _settings.canonical(name) not in known
    }
