# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A container that is storage.googleapis.com for the hosts of its network: storage on 443 by TLS, tokens on 80.

gcs_files.py makes its certificate and the key file, whose token_uri is plain HTTP; all else is as Google has it, so that
a play is told a bucket and a key file and no more. Called with the directory of those files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOSTS = ("storage.googleapis.com", "www.googleapis.com", "oauth2.googleapis.com")
BUCKET = "x4m-test-bucket"


class Token(BaseHTTPRequestHandler):
    """Answers every request for a token with one."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = json.dumps({"access_token": "test", "token_type": "Bearer", "expires_in": 3600}).encode()
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
    argv = ["/srv/fake-gcs-server", "-scheme", "https", "-host", "0.0.0.0", "-port", "443", "-backend", "filesystem"]
    argv += ["-cert-location", str(directory / "server.crt"), "-private-key-location", str(directory / "server.key")]
    argv += ["-filesystem-root", str(objects), "-public-host", HOSTS[0]]
    return subprocess.run(argv, env={**os.environ, "TMPDIR": "/srv"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1])))
