"""The raw floor: the least work that an enrolment over HTTP can be, in one bare server.

Parse the CSR, verify its signature, sign a spliced template with P-256, write two durable rows in batches
(SQLite, synchronous=FULL), answer a certs-only message: uvicorn, uvloop, httptools, no TLS, no policy, no
authentication, no framework. Run as ``python -m bench.floor DIRECTORY``; prints its port.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import socket
import sqlite3
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
_SIGNED_DATA_OID = bytes.fromhex("06092a864886f70d010702")
_DATA = bytes.fromhex("300b06092a864886f70d010701")


def _tlv(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


class Issuer:
    """Splices serial, subject and key into a template and signs."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Floor")])
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=90))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        )
        tbs = builder.sign(self._key, hashes.SHA256()).tbs_certificate_bytes
        spki = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        subject = name.public_bytes()
        # version and serial (020101) | algorithm, issuer, validity | subject | spki | extensions
        start = tbs.index(_ECDSA_SHA256)
        own_key = tbs.index(spki)
        self._middle = tbs[start : own_key - len(subject)]
        self._extensions = tbs[own_key + len(spki) :]

    def issue(self, csr: x509.CertificateSigningRequest, spki_der: bytes) -> tuple[bytes, bytes]:
        serial = b"\x01" + secrets.token_bytes(19)
        subject = csr.subject.public_bytes()
        tbs = _tlv(
            0x30, b"\xa0\x03\x02\x01\x02", _tlv(2, serial), self._middle, subject, spki_der, self._extensions
        )
        signature = self._key.sign(tbs, ec.ECDSA(hashes.SHA256()))
        return serial, _tlv(0x30, tbs, _ECDSA_SHA256, _tlv(3, b"\0", signature))


class Writer:
    """One thread, one transaction per batch, answers after COMMIT."""

    def __init__(self, path: Path) -> None:
        self._queue: SimpleQueue[tuple[bytes, bytes, asyncio.Future[None]]] = SimpleQueue()
        self._path = path
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._work, daemon=True).start()

    async def commit(self, serial: bytes, certificate_der: bytes) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((serial, certificate_der, future))
        await future

    def _work(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE certificate (id INTEGER PRIMARY KEY, serial BLOB UNIQUE, der BLOB)")
        connection.execute("CREATE TABLE audit (id INTEGER PRIMARY KEY, what TEXT)")
        while True:
            batch = [self._queue.get()]
            while len(batch) < 256:
                try:
                    batch.append(self._queue.get_nowait())
                except Empty:
                    break
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO certificate (serial, der) VALUES (?, ?)", [b[:2] for b in batch]
            )
            connection.executemany("INSERT INTO audit (what) VALUES (?)", [(b[0].hex(),) for b in batch])
            connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(_release, [future for _, _, future in batch])


def _release(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        future.set_result(None)


def application(directory: Path) -> Any:
    """The ASGI callable."""
    issuer = Issuer()
    parts: dict[str, Writer] = {}

    async def app(_scope: dict[str, Any], receive: Any, send: Any) -> None:
        if not parts:
            parts["writer"] = Writer(directory / "floor.sqlite3")
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        csr = x509.load_der_x509_csr(base64.b64decode(body))
        status, answer = 400, b""
        if csr.is_signature_valid:
            spki_der = csr.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            serial, certificate_der = issuer.issue(csr, spki_der)
            await parts["writer"].commit(serial, certificate_der)
            inner = _tlv(0x30, b"\x02\x01\x01\x31\x00", _DATA, _tlv(0xA0, certificate_der), b"\x31\x00")
            status, answer = 200, base64.encodebytes(_tlv(0x30, _SIGNED_DATA_OID, _tlv(0xA0, inner)))
        length = (b"content-length", str(len(answer)).encode())
        await send({"type": "http.response.start", "status": status, "headers": [length]})
        await send({"type": "http.response.body", "body": answer})

    return app


def main() -> None:
    directory = Path(sys.argv[1])
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application(directory),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="error",
        lifespan="off",
        timeout_keep_alive=75,
    )
    # Listening already: a client that connects now waits in the backlog until the loop runs.
    os.write(1, f"{listener.getsockname()[1]}\n".encode())
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
