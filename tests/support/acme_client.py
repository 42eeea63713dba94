"""A scripted ACME client (RFC 8555) over keep-alive TLS, good or bad at every part of a message.

It follows no error, repairs nothing and never asks again by itself, but for ``wait``: what the gateway says
is what the test sees.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support import acme_signing, pki
from tests.support.acme_answer import AcmeAnswer
from tests.support.acme_responders import Http01Responder

JOSE = "application/jose+json"
FINAL = ("valid", "invalid", "deactivated")


@dataclass(slots=True)
class AcmeClient:
    """One connection and one account key. ``kid`` is its URL once there is an account."""

    directory_url: str
    root_pem: Path
    key: pki.PrivateKey = field(default_factory=pki.key)
    kid: str | None = None
    timeout_s: float = 60.0
    nonce: str | None = None  # the newest one that was not used
    user_agent: str | None = "acme-tests/1"
    listener: str | None = None  # https://host:port to connect to, where the URLs name something else
    _connection: http.client.HTTPConnection | None = None
    _directory: Mapping[str, Any] | None = None

    def another(self, **changes: Any) -> AcmeClient:
        """A client of the same directory with a connection of its own, and with another key if not told."""
        values: dict[str, Any] = {
            "directory_url": self.directory_url,
            "root_pem": self.root_pem,
            "listener": self.listener,
        }
        return AcmeClient(**(values | changes))

    def same_account(self) -> AcmeClient:
        """The same account on another connection."""
        return self.another(key=self.key, kid=self.kid)

    # -- transport --

    def send(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> AcmeAnswer:
        """Send exactly this and read the answer; a nonce in it is kept."""
        split = urlsplit(url)
        lines = {"Host": split.netloc} | ({"User-Agent": self.user_agent} if self.user_agent else {})
        lines |= dict(headers or {})
        target = split.path + (f"?{split.query}" if split.query else "")
        for last in (False, True):
            connection = self._opened()
            try:
                connection.request(method, target, body=body, headers=lines)
                response = connection.getresponse()
                answer = AcmeAnswer(response.status, tuple(response.getheaders()), response.read())
                break
            except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError):
                self.close()  # a kept connection that the server has given up meanwhile
                if last:
                    raise
        self.nonce = answer.header("Replay-Nonce") or self.nonce
        return answer

    def get(self, url: str, **headers: str) -> AcmeAnswer:
        return self.send("GET", url, headers=headers)

    def _opened(self) -> http.client.HTTPConnection:
        if self._connection is None:
            split = urlsplit(self.listener or self.directory_url)
            context = ssl.create_default_context(cafile=str(self.root_pem))
            self._connection = http.client.HTTPSConnection(
                split.hostname or "localhost", split.port, context=context, timeout=self.timeout_s
            )
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- signed requests --

    @property
    def directory(self) -> Mapping[str, Any]:
        if self._directory is None:
            self._directory = self.get(self.directory_url).ok()
        return self._directory

    def new_nonce(self) -> str:
        """A fresh nonce by HEAD newNonce."""
        self.send("HEAD", self.directory["newNonce"])
        return self.take_nonce()

    def take_nonce(self) -> str:
        """The kept nonce, used up by this; a fresh one where none is kept."""
        nonce, self.nonce = self.nonce, None
        return nonce if nonce is not None else self.new_nonce()

    def body(
        self,
        url: str,
        payload: object = None,
        *,
        by_key: bool | None = None,
        nonce: str | None = None,
        changes: Mapping[str, object] | None = None,
    ) -> bytes:
        """A signed body for this URL; with the account's kid unless ``by_key`` or there is no account."""
        with_key = self.kid is None if by_key is None else by_key
        return acme_signing.request_body(
            self.key,
            payload,
            url=url,
            nonce=self.take_nonce() if nonce is None else nonce,
            kid=None if with_key else self.kid,
            changes=changes or {},
        )

    def post(self, url: str, payload: object = None, **how: Any) -> AcmeAnswer:
        """POST ``payload`` (None: POST-as-GET), signed; ``how`` goes to ``body``."""
        return self.post_body(url, self.body(url, payload, **how))

    def post_body(
        self, url: str, body: bytes, *, content_type: str | None = JOSE, **headers: str
    ) -> AcmeAnswer:
        lines = {} if content_type is None else {"Content-Type": content_type}
        return self.send("POST", url, body, lines | headers)

    def call(self, resource: str, payload: object, **how: Any) -> AcmeAnswer:
        """POST to a resource of the directory: ``newOrder``."""
        return self.post(self.directory[resource], payload, **how)

    # -- accounts --

    def new_account(self, **members: object) -> AcmeAnswer:
        """newAccount by key, agreeing to the terms; a 200 or 201 gives the client its kid."""
        answer = self.call("newAccount", {"termsOfServiceAgreed": True} | members, by_key=True)
        if answer.status in (200, 201):
            self.kid = answer.location
        return answer

    def registered(self, **members: object) -> Self:
        """Itself, with an account."""
        answer = self.new_account(**members)
        assert answer.status in (200, 201), f"{answer.status}: {answer.text}"
        return self

    def binding(self, key_identifier: str, hmac_key: str, **how: Any) -> dict[str, str]:
        """An externalAccountBinding for this account key."""
        url = self.directory["newAccount"]
        return acme_signing.external_binding(key_identifier, hmac_key, self.key, url, **how)

    def change_key(self, new_key: pki.PrivateKey, **how: Any) -> AcmeAnswer:
        """keyChange; the client goes on with the new key if it was taken."""
        url = self.directory["keyChange"]
        assert self.kid is not None
        inner = acme_signing.key_change_payload(self.key, new_key, self.kid, url, **how)
        answer = self.post(url, inner)
        if answer.status == 200:
            self.key = new_key
        return answer

    # -- orders --

    def new_order(self, names: Sequence[str], **members: object) -> AcmeAnswer:
        return self.call("newOrder", {"identifiers": identifiers(names)} | members)

    def ordered(self, names: Sequence[str], **members: object) -> Order:
        """A new order that was accepted."""
        answer = self.new_order(names, **members)
        return Order(self, answer.location, answer.ok(201), tuple(names))

    def issue(self, names: Sequence[str], responder: Http01Responder, **members: object) -> Certificate:
        """The whole way with http-01: order, challenges, CSR, download."""
        order = self.ordered(names, **members)
        order.prove(responder)
        return order.certified()

    def wait(self, url: str, until: Sequence[str] = FINAL, *, seconds: float = 60.0) -> Any:
        """Read an order, authorization or challenge until its status is one of these."""
        deadline = time.monotonic() + seconds
        while (found := self.post(url).ok())["status"] not in until:
            assert time.monotonic() < deadline, f"still {found}"
            time.sleep(0.03)
        return found


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was downloaded: the whole chain as PEM, the key, and the order's and certificate's URLs."""

    pem: bytes
    key: pki.PrivateKey
    order_url: str
    url: str

    @property
    def chain(self) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates(self.pem)

    @property
    def leaf(self) -> x509.Certificate:
        return self.chain[0]

    @property
    def der(self) -> bytes:
        return self.leaf.public_bytes(Encoding.DER)

    @property
    def b64u(self) -> str:
        return acme_signing.b64u(self.der)

    @property
    def names(self) -> list[str]:
        return certificate_names(self.leaf)


@dataclass(slots=True)
class Order:
    """An order of one client. ``document`` is the newest one that was read."""

    client: AcmeClient
    url: str
    document: Any
    names: tuple[str, ...]

    def read(self) -> Any:
        self.document = self.client.post(self.url).ok()
        return self.document

    def authorization(self, place: int = 0) -> Any:
        """The authorization object, with its own URL as ``url``."""
        url = self.document["authorizations"][place]
        return self.client.post(url).ok() | {"url": url}

    def challenge(self, type_: str = "http-01", place: int = 0) -> Any:
        """The challenge of this type of one authorization."""
        return challenge(self.authorization(place), type_)

    def prove(self, responder: Http01Responder) -> None:
        """Answer http-01 of every authorization that waits, and see all become valid."""
        waiting = []
        for place, url in enumerate(self.document["authorizations"]):
            authorization = self.authorization(place)
            if authorization["status"] == "valid":
                continue
            offered = challenge(authorization, "http-01")
            responder.answer(offered["token"], self.client.key)
            self.client.post(offered["url"], {}).ok()
            waiting.append(url)
        for url in waiting:
            found = self.client.wait(url)
            assert found["status"] == "valid", found

    def ready(self, responder: Http01Responder) -> Order:
        """Itself, all names proven."""
        self.prove(responder)
        assert self.read()["status"] == "ready", self.document
        return self

    def csr(self, private_key: pki.PrivateKey, **more: Any) -> bytes:
        """The usual CSR: every name as SAN, no subject."""
        sans = [f"ip:{name}" if is_address(name) else name for name in self.names]
        return pki.csr(private_key, **({"cn": None, "sans": sans} | more))

    def finalize(self, csr_der: bytes) -> AcmeAnswer:
        return self.client.post(self.document["finalize"], {"csr": acme_signing.b64u(csr_der)})

    def certified(self, private_key: pki.PrivateKey = None, **more: Any) -> Certificate:
        """Finalize with a new key and download."""
        private_key = private_key or pki.key()
        self.finalize(self.csr(private_key, **more)).ok()
        found = self.client.wait(self.url)
        assert found["status"] == "valid", found
        answer = self.client.post(found["certificate"])
        assert answer.status == 200, answer.text
        return Certificate(answer.body, private_key, self.url, found["certificate"])


def is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()


def identifiers(names: Sequence[str]) -> list[dict[str, str]]:
    """As newOrder takes them."""
    return [{"type": "ip" if is_address(name) else "dns", "value": name} for name in names]


def challenge(authorization: Any, type_: str) -> Any:
    """The challenge of this type in an authorization object."""
    (found,) = (one for one in authorization["challenges"] if one["type"] == type_)
    return found


def certificate_names(certificate: x509.Certificate) -> list[str]:
    """All subject alternative names of the kinds that ACME knows here."""
    sans = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert len(sans) == len(sans.get_values_for_type(x509.DNSName)) + len(
        sans.get_values_for_type(x509.IPAddress)
    )
    addresses = [str(address) for address in sans.get_values_for_type(x509.IPAddress)]
    return [*sans.get_values_for_type(x509.DNSName), *addresses]


def certificate_id(certificate: x509.Certificate) -> str:
    """RFC 9773 section 4.1: key identifier and serial number with its sign octet."""
    aki = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert aki is not None
    serial = certificate.serial_number
    return (
        f"{acme_signing.b64u(aki)}.{acme_signing.b64u(serial.to_bytes(serial.bit_length() // 8 + 1, 'big'))}"
    )


@contextlib.contextmanager
def connected(directory_url: str, root_pem: Path, **more: Any) -> Iterator[AcmeClient]:
    """A client whose connection is closed at the end."""
    with AcmeClient(directory_url, root_pem, **more) as client:
        yield client
