"""A lean ACME client for load (RFC 8555): one account key, kept connections, its own http-01 responder."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from bench.est_stream import EstStream, StreamAnswer

POLL_S = 0.02  # how long a client waits before it looks again, in more of a hurry than Retry-After asks
_BAD_NONCE = b"urn:ietf:params:acme:error:badNonce"
_ALGORITHM = ec.ECDSA(hashes.SHA256())


class AcmeRefused(Exception):
    """An answer that this client cannot go on with."""

    def __init__(self, where: str, answer: StreamAnswer) -> None:
        super().__init__(f"{where}: {answer.status} {answer.body[:500].decode('utf-8', 'replace')}")
        self.answer = answer

    @property
    def kind(self) -> str:
        """Status and problem type, the same for all answers of one sort."""
        try:
            problem = str(json.loads(self.answer.body).get("type", "")).rpartition(":")[2]
        except ValueError:
            problem = ""
        return f"HTTP {self.answer.status} {problem}".strip()


def base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def header(answer: StreamAnswer, name: bytes) -> str | None:
    """A header's value; ``name`` in lower case."""
    for line in answer.head.split(b"\r\n"):
        key, colon, value = line.partition(b":")
        if colon and key.lower() == name:
            return value.strip().decode()
    return None


class Responder:
    """Answers http-01 for everybody who put a token in (RFC 8555 section 8.3)."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        self.asked = 0
        self._server: asyncio.Server | None = None

    async def start(self, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, backlog=1024)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            token = head.split(b" ", 2)[1].rpartition(b"/")[2].decode()
            body = self.answers.get(token, "").encode()
            status = b"200 OK" if body else b"404 Not Found"
            writer.write(
                b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
                % (status, len(body))
                + body
            )
            await writer.drain()
        except (OSError, EOFError):
            pass  # a killed gateway hangs up in the middle
        finally:
            writer.close()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()


@dataclass(slots=True)
class AcmeAccount:
    """An ES256 account; ``kid`` is its URL once it exists. Nonces are shared by all its connections."""

    directory_url: str
    private_key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    kid: str = ""
    directory: Mapping[str, Any] = field(default_factory=dict)
    nonces: list[str] = field(default_factory=list)

    @property
    def jwk(self) -> dict[str, str]:
        numbers = self.private_key.public_key().public_numbers()
        x, y = (base64url(value.to_bytes(32, "big")) for value in (numbers.x, numbers.y))
        return {"crv": "P-256", "kty": "EC", "x": x, "y": y}

    def key_authorization(self, token: str) -> str:
        canonical = json.dumps(self.jwk, sort_keys=True, separators=(",", ":")).encode()
        return f"{token}.{base64url(hashlib.sha256(canonical).digest())}"

    def signed(self, url: str, payload: object, nonce: str) -> bytes:
        """The body of a POST; ``payload`` None for POST-as-GET."""
        who = {"kid": self.kid} if self.kid else {"jwk": self.jwk}
        protected = base64url(json.dumps({"alg": "ES256", "nonce": nonce, "url": url, **who}).encode())
        encoded = "" if payload is None else base64url(json.dumps(payload).encode())
        r, s = decode_dss_signature(self.private_key.sign(f"{protected}.{encoded}".encode(), _ALGORITHM))
        signature = base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        return json.dumps({"protected": protected, "payload": encoded, "signature": signature}).encode()


class AcmeStream:
    """One kept connection of an account. Raises OSError or EOFError where the connection breaks."""

    def __init__(self, account: AcmeAccount, context: ssl.SSLContext, responder: Responder) -> None:
        self._account = account
        self._responder = responder
        split = urlsplit(account.directory_url)
        self._host = split.netloc
        self._stream = EstStream("localhost", split.port or 443, context)
        self.requests = 0
        self.bad_nonces = 0

    @property
    def stream(self) -> EstStream:
        return self._stream

    async def open_account(self) -> None:
        """Fetch the directory and make the account, or find it again."""
        answer = await self._exchange("GET", self._account.directory_url)
        self._account.directory = json.loads(answer.body)
        made = await self.post("newAccount", {"termsOfServiceAgreed": True})
        if made.status not in (200, 201):
            raise AcmeRefused("newAccount", made)
        self._account.kid = header(made, b"location") or ""

    async def post(self, url: str, payload: object = None) -> StreamAnswer:
        """One signed request; repeated after badNonce, as RFC 8555 section 6.5 asks of clients."""
        url = self._account.directory.get(url, url)
        for _ in range(5):
            nonce = self._account.nonces.pop() if self._account.nonces else await self._new_nonce()
            answer = await self._exchange("POST", url, self._account.signed(url, payload, nonce))
            if (fresh := header(answer, b"replay-nonce")) is not None:
                self._account.nonces.append(fresh)
            if answer.status != 400 or _BAD_NONCE not in answer.body:
                return answer
            self.bad_nonces += 1
        return answer

    async def issue(self, names: list[str], csr_der: bytes) -> bytes:
        """The whole flow by http-01: newOrder to download. Gives the leaf as DER. Raises AcmeRefused."""
        made = await self._wanted(
            201, "newOrder", {"identifiers": [{"type": "dns", "value": name} for name in names]}
        )
        order_url = header(made, b"location") or ""
        order = json.loads(made.body)
        for authorization_url in order["authorizations"]:
            await self._authorize(authorization_url)
        answer = await self._wanted(200, order["finalize"], {"csr": base64url(csr_der)})
        while (order := json.loads(answer.body))["status"] == "processing":
            await asyncio.sleep(POLL_S)
            answer = await self._wanted(200, order_url)
        if order["status"] != "valid":
            raise AcmeRefused("finalize", answer)
        chain = await self._wanted(200, order["certificate"])
        return leaf_der(chain.body)

    async def _authorize(self, url: str) -> None:
        authorization = json.loads((await self._wanted(200, url)).body)
        if authorization["status"] == "valid":
            return
        challenge = next(one for one in authorization["challenges"] if one["type"] == "http-01")
        token = challenge["token"]
        self._responder.answers[token] = self._account.key_authorization(token)
        await self._wanted(200, challenge["url"], {})
        while True:
            answer = await self._wanted(200, url)
            status = json.loads(answer.body)["status"]
            if status == "valid":
                break
            if status != "pending":
                raise AcmeRefused("authorization", answer)
            await asyncio.sleep(POLL_S)
        del self._responder.answers[token]

    async def _wanted(self, status: int, url: str, payload: object = None) -> StreamAnswer:
        answer = await self.post(url, payload)
        if answer.status != status:
            raise AcmeRefused(url, answer)
        return answer

    async def _new_nonce(self) -> str:
        answer = await self._exchange("HEAD", self._account.directory["newNonce"])
        nonce = header(answer, b"replay-nonce")
        if nonce is None:
            raise AcmeRefused("newNonce", answer)
        return nonce

    async def _exchange(self, method: str, url: str, body: bytes = b"") -> StreamAnswer:
        if not self._stream.is_open:
            await self._stream.open()
        path = url.split(self._host, 1)[1]
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nUser-Agent: pkigate-load\r\n"
        if body:
            head += f"Content-Type: application/jose+json\r\nContent-Length: {len(body)}\r\n"
        self.requests += 1
        return await self._stream.exchange(head.encode() + b"\r\n" + body, head_only=method == "HEAD")

    def abort(self) -> None:
        self._stream.abort()

    async def close(self) -> None:
        await self._stream.close()


def leaf_der(chain_pem: bytes) -> bytes:
    """The first certificate of a PEM chain."""
    first = chain_pem.split(b"-----END CERTIFICATE-----", 1)[0] + b"-----END CERTIFICATE-----\n"
    body = b"".join(line for line in first.splitlines() if not line.startswith(b"-----"))
    der = base64.b64decode(body)
    x509.load_der_x509_certificate(der)
    return der
