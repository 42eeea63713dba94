"""Record what SCEP clients send: a server on loopback that answers GetCACaps and GetCACert, nothing else.

``python record.py DIRECTORY CA-CERTIFICATES.p7b PREFIX COMMAND...`` runs COMMAND with the address in place of
``{url}`` and writes the one PKIOperation that it sends to DIRECTORY/PREFIX.der. See PROVENANCE.md.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

CAPABILITIES = b"AES\nDES3\nPOSTPKIOperation\nRenewal\nSCEPStandard\nSHA-1\nSHA-256\nSHA-384\nSHA-512\n"


class Recorder(BaseHTTPRequestHandler):
    ca_certificates = b""
    found: ClassVar[list[bytes]] = []

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if query["operation"] == ["GetCACaps"]:
            self._answer("text/plain", CAPABILITIES)
        elif query["operation"] == ["GetCACert"]:
            self._answer("application/x-x509-ca-ra-cert", self.ca_certificates)
        else:
            self._record(base64.b64decode(query["message"][0]))

    def do_POST(self) -> None:
        self._record(self.rfile.read(int(self.headers["Content-Length"])))

    def _record(self, message: bytes) -> None:
        self.found.append(message)
        self.send_error(400)

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    directory, certificates, prefix, *command = sys.argv[1:]
    Recorder.ca_certificates = Path(certificates).read_bytes()
    with HTTPServer(("127.0.0.1", 0), Recorder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/scep"
        subprocess.run([part.replace("{url}", url) for part in command], check=False, timeout=60)
        server.shutdown()
    assert len(Recorder.found) == 1, f"{len(Recorder.found)} messages"
    (Path(directory) / f"{prefix}.der").write_bytes(Recorder.found[0])


if __name__ == "__main__":
    main()
