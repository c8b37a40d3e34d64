# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A container that is storage.googleapis.com for the hosts of its network: storage on 443 by TLS, tokens on 80.

gcs_files.py makes its certificate and the key files, whose token_uri is plain HTTP; all else is as Google has it, so that
a play is told a bucket and a key file and no more. Called with the directory of those files. Standard library only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support.fault_proxy import FaultProxy, read_only, token_for

HOSTS = ("storage.googleapis.com", "www.googleapis.com", "oauth2.googleapis.com")
BUCKET = "x4m-test-bucket"
READER = "reader@x4m-test.iam.gserviceaccount.com"  # may list and read, is refused all else
_PORT = 4443


class Token(BaseHTTPRequestHandler):
    """Answers every request for a token with one that names its account."""

    def do_POST(self) -> None:
        body = token_for(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(directory: Path) -> int:
    """Serve until the container is stopped. The bucket is a directory of the file system."""
    objects = Path("/srv/objects")
    (objects / BUCKET).mkdir(parents=True, exist_ok=True)
    tokens = ThreadingHTTPServer(("0.0.0.0", 80), Token)
    threading.Thread(target=tokens.serve_forever, daemon=True).start()
    certificate, key = directory / "server.crt", directory / "server.key"
    proxy = FaultProxy(("0.0.0.0", 443), _PORT, certificate, key)
    proxy.rules.append(read_only(READER))
    proxy.start()
    argv = [
        "/srv/fake-gcs-server",
        "-scheme",
        "https",
        "-host",
        "127.0.0.1",
        "-port",
        str(_PORT),
        "-backend",
        "filesystem",
    ]
    argv += ["-cert-location", str(certificate), "-private-key-location", str(key)]
    argv += ["-filesystem-root", str(objects), "-public-host", HOSTS[0]]
    return subprocess.run(argv, env={**os.environ, "TMPDIR": "/srv"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1])))
