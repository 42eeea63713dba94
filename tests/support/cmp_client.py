"""A CMP client that sends exactly what it is told to and reads answers with pyasn1 (RFC 9810, 9811).

Nothing of it is the gateway's: messages come from ``cmp_wire`` and ``cmp_bodies``, answers are read by
pyasn1-alt-modules, MACs and signatures of answers are checked here.
"""

from __future__ import annotations

import functools
import http.client
import os
import select
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from pyasn1.codec.der import decoder, encoder
from pyasn1_alt_modules import rfc9810

from tests.support import cmp_bodies, cmp_wire, pki
from tests.support.cmp_wire import Pbm, Pbmac1, Protection, octets

MEDIA_TYPE = "application/pkixcmp"
STATUSES = ("accepted", "grantedWithMods", "rejection", "waiting")
FAILURES = (
    *("badAlg", "badMessageCheck", "badRequest", "badTime", "badCertId", "badDataFormat", "wrongAuthority"),
    *("incorrectData", "missingTimeStamp", "badPOP", "certRevoked", "certConfirmed", "wrongIntegrity"),
    *("badRecipientNonce", "timeNotAvailable", "unacceptedPolicy", "unacceptedExtension"),
    *("addInfoNotAvailable", "badSenderNonce", "badCertTemplate", "signerNotTrusted", "transactionIdInUse"),
    *("unsupportedVersion", "notAuthorized", "systemUnavail", "systemFailure", "duplicateCertReq"),
)
_PBM, _PBMAC1 = "1.2.840.113533.7.66.13", "1.2.840.113549.1.5.14"


@dataclass(frozen=True, slots=True)
class Status:
    """A PKIStatusInfo in words; ``failures`` are the names of the set bits."""

    status: str
    failures: frozenset[str]
    text: str


@dataclass(frozen=True)
class Reply:
    """One HTTP answer, and the PKIMessage in it. Reading it raises where it is not DER or not of the type."""

    http_status: int
    headers: Mapping[str, str]
    der: bytes

    @functools.cached_property
    def message(self) -> Any:
        message, rest = decoder.decode(self.der, asn1Spec=rfc9810.PKIMessage())
        assert not rest
        return message

    @property
    def is_message(self) -> bool:
        return self.headers.get("content-type") == MEDIA_TYPE

    @functools.cached_property
    def parts(self) -> list[bytes]:
        """Header, body, protection and certificates as they stand there."""
        return elements(self.der)

    @property
    def body_name(self) -> str:
        name: str = self.message["body"].getName()
        return name

    @property
    def body(self) -> Any:
        return self.message["body"].getComponent()

    def field(self, name: str) -> Any:
        """A field of the header; None where it is absent."""
        value = self.message["header"][name]
        return value if value.isValue else None

    def octets(self, name: str) -> bytes | None:
        value = self.field(name)
        return None if value is None else bytes(value)

    @property
    def infos(self) -> dict[str, bytes]:
        """The generalInfo of the header: type to DER."""
        return _infos(self.field("generalInfo") or ())

    @property
    def general(self) -> dict[str, bytes]:
        """What a genp says: type to DER, empty where it has no value."""
        return _infos(self.body)

    @functools.cached_property
    def statuses(self) -> tuple[Status, ...]:
        """Every PKIStatusInfo of an error, a certificate answer or a revocation answer."""
        name = self.body_name
        if name == "error":
            return (_status(self.body["pKIStatusInfo"]),)
        if name in {"ip", "cp", "kup"}:
            return tuple(_status(one["status"]) for one in self.body["response"])
        if name == "rp":
            return tuple(_status(one) for one in self.body["status"])
        return ()

    @property
    def status(self) -> Status:
        (only,) = self.statuses
        return only

    @property
    def outcome(self) -> str:
        """In a word: the status of the one request, or the names of the failInfo bits, or the body's."""
        if len(self.statuses) != 1:
            return self.body_name
        if self.status.status != "rejection":
            return self.status.status
        return "+".join(sorted(self.status.failures))

    @functools.cached_property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """Every certificate that was issued in this answer."""
        if self.body_name not in {"ip", "cp", "kup"}:
            return ()
        pairs = (one["certifiedKeyPair"] for one in self.body["response"])
        return tuple(_certificate(one["certOrEncCert"]["certificate"]) for one in pairs if one.isValue)

    @property
    def certificate(self) -> x509.Certificate:
        (only,) = self.certificates
        return only

    @property
    def extra_certs(self) -> tuple[x509.Certificate, ...]:
        return tuple(_certificate(one) for one in self.message["extraCerts"])

    @property
    def protection_kind(self) -> str:
        algorithm = self.field("protectionAlg")
        if algorithm is None:
            return "none"
        return {_PBM: "pbm", _PBMAC1: "pbmac1"}.get(str(algorithm["algorithm"]), "signature")

    def mac_is_right(self, secret: bytes) -> bool:
        """Whether this secret made the MAC, with the parameters that the answer names."""
        header, body, protection = self.parts[:3]
        made = _mac(self, secret).protect(pki.tlv(0x30, header, body))
        return pki.tlv(0xA0, cmp_wire.bits(made)) == protection

    def signer(self) -> x509.Certificate:
        """The certificate whose key signed the answer: the first of extraCerts, or the test fails."""
        header, body, protection = self.parts[:3]
        signer = self.extra_certs[0]
        signature = elements(protection, inside=0xA0)[0]
        content = elements_content(signature)[1:]
        _verify(signer, content, pki.tlv(0x30, header, body))
        return signer


def elements_content(element: bytes) -> bytes:
    """The content octets of one DER element."""
    return element[_head(element) :]


def elements(octets_: bytes, inside: int = 0x30) -> list[bytes]:
    """The elements within one constructed DER element."""
    assert octets_[0] == inside
    found, rest = [], elements_content(octets_)
    while rest:
        size = _head(rest) + _length(rest)
        found.append(rest[:size])
        rest = rest[size:]
    return found


def _head(element: bytes) -> int:
    return 2 + (element[1] & 0x7F if element[1] & 0x80 else 0)


def _length(element: bytes) -> int:
    return int.from_bytes(element[2 : _head(element)], "big") if element[1] & 0x80 else element[1]


def _mac(reply: Reply, secret: bytes) -> Protection:
    """A protection with the parameters that the answer's header names."""
    algorithm, parameters = elements(elements_content(elements(reply.parts[0])[_algorithm_at(reply)]))
    if algorithm == pki.oid(_PBM):
        salt, owf, count, mac = elements(parameters)
        return Pbm(
            "",
            secret,
            int.from_bytes(elements_content(count), "big"),
            cmp_wire.HASHES[elements(owf)[0]],
            cmp_wire.HMACS[elements(mac)[0]],
            elements_content(salt),
        )
    derivation, mac = elements(parameters)
    salt, count, key_length, prf = elements(elements(derivation)[1])
    return Pbmac1(
        "",
        secret,
        int.from_bytes(elements_content(count), "big"),
        cmp_wire.HMACS[elements(prf)[0]],
        cmp_wire.HMACS[elements(mac)[0]],
        int.from_bytes(elements_content(key_length), "big"),
        elements_content(salt),
    )


def _algorithm_at(reply: Reply) -> int:
    tags = [part[0] for part in elements(reply.parts[0])]
    return tags.index(0xA1)


def _verify(signer: x509.Certificate, signature: bytes, message: bytes) -> None:
    public_key = signer.public_key()
    try:
        if isinstance(public_key, ec.EllipticCurvePublicKey):
            public_key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        else:
            assert isinstance(public_key, rsa.RSAPublicKey)
            public_key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise AssertionError("the signature is not by the first of extraCerts") from None


def _infos(values: Any) -> dict[str, bytes]:
    return {
        str(one["infoType"]): bytes(one["infoValue"]) if one["infoValue"].isValue else b"" for one in values
    }


def _status(value: Any) -> Status:
    texts, failure = value["statusString"], value["failInfo"]
    text = "; ".join(str(one) for one in texts) if texts.isValue else ""
    set_bits = (at for at, bit in enumerate(failure) if bit) if failure.isValue else ()
    names = frozenset(FAILURES[at] for at in set_bits)
    return Status(STATUSES[int(value["status"])], names, text)


def _certificate(value: Any) -> x509.Certificate:
    der = encoder.encode(value)
    # An alternative of CertOrEncCert keeps its explicit tag.
    return x509.load_der_x509_certificate(elements_content(der) if der[0] == 0xA0 else der)


@dataclass(frozen=True)
class CmpClient:
    """A client of one endpoint over kept connections. ``url`` is the listener's (http).

    ``source`` is the loopback address that requests come from, since failures are counted by address; with
    ``checked`` the header of every answer is looked at.
    """

    url: str
    protection: Protection
    path: str = "/.well-known/cmp"
    recipient: bytes = cmp_wire.NULL_DN
    source: str = "127.0.0.1"
    checked: bool = True
    _kept: dict[str, http.client.HTTPConnection] = field(default_factory=dict, repr=False)

    def having(self, **changes: Any) -> Self:
        """The same client with other fields, over the same connection."""
        return replace(self, **changes)

    def post(self, body: bytes, *, path: str | None = None, **headers: str) -> Reply:
        """POST these octets as they are."""
        return self.request("POST", body, path=path, **{"Content-Type": MEDIA_TYPE, **headers})

    def request(
        self, method: str, body: bytes | None = None, *, path: str | None = None, **headers: str
    ) -> Reply:
        if self.source not in self._kept:
            split = urlsplit(self.url)
            self._kept[self.source] = http.client.HTTPConnection(
                split.hostname or "", split.port, timeout=90, source_address=(self.source, 0)
            )
        connection = self._kept[self.source]
        if connection.sock is not None and select.select([connection.sock], [], [], 0)[0]:
            connection.close()  # the server did so before: nobody has asked for a while
        connection.request(method, path or self.path, body, headers)
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, named, answer.read())

    def transaction(self) -> Transaction:
        return Transaction(self)

    def send(self, name: str, content: bytes, **changes: Any) -> Reply:
        """The first message of a transaction of its own."""
        return self.transaction().send(name, content, **changes)

    def close(self) -> None:
        while self._kept:
            self._kept.popitem()[1].close()


@dataclass
class Transaction:
    """Messages under one transactionID; nonces as a well-behaved client has them, unless told otherwise."""

    client: CmpClient
    transaction_id: bytes = field(default_factory=lambda: os.urandom(16))
    last: Reply | None = None
    sent: bytes = b""

    def send(
        self,
        name: str | int,
        content: bytes,
        *,
        protection: Protection | None = None,
        path: str | None = None,
        **changes: bytes | None,
    ) -> Reply:
        """Send one body; ``changes`` overrule header fields by the RFC's names."""
        message = self.message(name, content, protection=protection, **changes)
        return self.send_message(message, path=path)

    def message(
        self,
        name: str | int,
        content: bytes,
        *,
        protection: Protection | None = None,
        **changes: bytes | None,
    ) -> bytes:
        """The octets that ``send`` would send."""
        protection = protection or self.client.protection
        fields = cmp_wire.usual_header(self.client.recipient)
        fields["transactionID"] = octets(self.transaction_id)
        nonce = self.last.octets("senderNonce") if self.last is not None else None
        if nonce is not None:
            fields["recipNonce"] = octets(nonce)
        tag = cmp_bodies.TAGS[name] if isinstance(name, str) else name
        body = cmp_wire.body(tag, content)
        return cmp_wire.build({**fields, **protection.header, **changes}, body, protection)

    def send_message(self, message: bytes, *, path: str | None = None) -> Reply:
        """Send these octets; what comes is what the next message answers."""
        self.sent = message
        reply = self.client.post(message, path=path)
        if reply.is_message:
            self.last = reply
            if self.client.checked:
                check_header(message, reply)
        return reply

    def confirm(self, certificate: x509.Certificate, *, cert_req_id: int = 0, **changes: Any) -> Reply:
        """certConf for this certificate."""
        status = cmp_bodies.cert_status(cmp_bodies.cert_hash(certificate), cert_req_id=cert_req_id)
        return self.send("certConf", pki.tlv(0x30, status), **changes)


def check_header(sent: bytes, reply: Reply) -> None:
    """What every answer in CMP must be, accepted or not (cmp.md C3, C27, C32; RFC 9811 section 3.4)."""
    assert reply.headers["content-length"] == str(len(reply.der))
    assert "no-store" in reply.headers["cache-control"]
    asked = {part[0]: part for part in elements(elements(sent)[0])[3:]}
    assert reply.field("messageTime") is not None
    for tag, name in ((0xA4, "transactionID"), (0xA5, "recipNonce")):
        said = elements_content(elements_content(asked[tag])) if tag in asked else None
        assert said is None or reply.octets(name) == said, name
    nonce = reply.octets("senderNonce")
    assert nonce is not None
    assert len(nonce) == 16
