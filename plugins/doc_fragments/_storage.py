# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options for a storage and WAL-G's settings. Private to this collection."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as mapswipe.walg._storage."""

    DOCUMENTATION = r"""
options:
  storage:
    description:
      - Where WAL-G writes, as one URL such as C(gs://bucket/path), C(s3://bucket/path) or C(file:///dir).
      - If empty, it is the storage prefix in O(settings) or O(env_file), such as C(WALG_GS_PREFIX).
    type: str
  env_file:
    description:
      - Path of a file on the managed host with lines such as C(WALG_GS_PREFIX=gs://bucket/path), for example the C(.env) beside a
        compose file. WAL-G's settings are taken from it, by Docker Compose's rules for quotes and comments; all other names are left
        alone, and so are those that begin with C(PG).
      - O(settings) and O(secrets) take precedence, but two different storages are rejected. So is a file that somebody other than
        root can change.
    type: str
  settings:
    description: WAL-G settings under their own names, as a dictionary. Secret ones are rejected here.
    type: raw
    default: {}
  secrets:
    description: Secret WAL-G settings under their own names, as a dictionary. They appear in no output.
    type: raw
  google_credentials:
    description:
      - Content of a Google service account key (JSON), as text or as a dictionary.
      - Use either this, or the path of a file that is already on the host in O(settings), not both.
    type: raw
  tune:
    description:
      - Whether to choose WAL-G's concurrency by the host's cores and memory. A value in O(settings) takes precedence.
      - C(WALG_UPLOAD_DISK_CONCURRENCY) is half of the cores (2 on two cores), at most 4. C(WALG_UPLOAD_CONCURRENCY) is as many
        as fit into a tenth of the memory, 4 to 16. The budget on Google's storage is 50 MiB per upload, and twice that per reader of a
        base backup. C(WALG_DOWNLOAD_CONCURRENCY) is two per core, 4 to 10.
    type: bool
    default: true
"""

    ACCESS = r"""
options:
  access:
    description:
      - What this host must be able to do in the storage. V(write) is everything; V(read) is listing and reading, and nothing is written.
      - V(read_only) is for the key of a host that only restores. The module tries to write, and warns if that works.
    type: str
    choices: [write, read, read_only]
    default: write
  google_check:
    description:
      - Whether to ask Google about the credentials of a C(gs://) storage, after WAL-G was tried with them.
      - V(auto) asks for a token and for what it may do in the bucket, over the proxy and with the certificates in O(settings). Credentials
        in a file need the Python package C(google-auth) 2.24 or newer on the host; a machine's own service account needs nothing.
        What can't be asked is no error; the answer says why.
      - V(never) leaves it out.
    type: str
    choices: [auto, never]
    default: auto
"""

    LIMITS = r"""
options:
  push_timeout:
    description:
      - Seconds after which a wal-push is ended and counts as failed.
      - When PostgreSQL stops, it waits for up to three tries in a row.
      - For segments above 64 MiB the limit grows with the size (for 1 GiB it is 16 times longer).
    type: int
    default: 15
  fetch_timeout:
    description: Seconds after which a wal-fetch is ended. For segments above 64 MiB it grows like O(push_timeout).
    type: int
    default: 60
  backup_timeout:
    description: Seconds after which a base backup is ended.
    type: int
    default: 86400
"""
