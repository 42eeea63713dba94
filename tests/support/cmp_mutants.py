"""The matrix of CMP requests: every body, every protection, every change of the header, and what may come.

A combination without a fault gets what it asks for. One with faults gets the failInfo of one of them: which
of several is told first is not fixed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509

from tests.support import cmp_bodies, cmp_wire, pki
from tests.support.answers import dns_names
from tests.support.cmp_lab import IMPLICIT, CmpLab, ir
from tests.support.cmp_wire import Broken, Header, Pbm, Pbmac1, Protection, Signed, Unprotected, info, infos
from tests.support.devices import device_name
from tests.support.pki import oid, tlv

BEGINNING = ("ir", "cr", "p10cr", "kur", "rr")
SERVED = (*BEGINNING, "genm", "error", "certConf", "pollReq")
PROTECTIONS = (
    *("none", "pbm", "pbm-wrong", "pbmac1", "pbmac1-wrong", "signature", "signature-broken"),
    *("foreign", "expired", "revoked"),
)
_SIGNED = frozenset({"signature", "signature-broken", "foreign", "expired", "revoked"})
_NO_FAULT: frozenset[str] = frozenset()
_PROTECTION_FAULTS = {
    "none": {"badMessageCheck"},
    "pbm-wrong": {"badMessageCheck"},
    "pbmac1-wrong": {"badMessageCheck"},
    "signature-broken": {"badMessageCheck"},
}
# Whether a signer is trusted is asked where something is granted.
_TRUST_FAULTS = {
    "foreign": {"signerNotTrusted"},
    "expired": {"signerNotTrusted"},
    "revoked": {"certRevoked"},
}
SUCCESS = {
    **dict.fromkeys(("ir", "cr", "p10cr", "kur", "rr"), "accepted"),
    "genm": "genp",
    "error": "pkiconf",
}


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the header: fields that are overruled, and the faults that it makes of a good message."""

    name: str
    fields: Callable[[], Header]
    faults: frozenset[str] = _NO_FAULT
    of_signed: frozenset[str] = _NO_FAULT  # as well, where the message is signed
    of_mac: frozenset[str] = _NO_FAULT


def _change(name: str, fields: Header, *faults: str, signed: str = "", mac: str = "") -> Change:
    of_signed, of_mac = (frozenset(filter(None, (one,))) for one in (signed, mac))
    return Change(name, lambda: fields, frozenset(faults), of_signed, of_mac)


_OTHER = cmp_wire.directory_name("somebody-else")
_THEN = cmp_wire.generalized_time(datetime(2001, 1, 1, tzinfo=UTC))
CHANGES = (
    _change("plain", {}),
    _change("implicit", {"generalInfo": IMPLICIT}),
    _change("unknown-info", {"generalInfo": infos(info("1.3.6.1.4.1.55555.9"))}),
    _change("free-text", {"freeText": tlv(0x30, cmp_wire.utf8("hello"))}),
    _change("no-time", {"messageTime": None}),
    _change("other-recipient", {"recipient": _OTHER}),
    _change("version-3", {"pvno": cmp_wire.integer(3)}),
    _change("version-1", {"pvno": cmp_wire.integer(1)}, "unsupportedVersion"),
    _change("no-transaction", {"transactionID": None}, "badDataFormat"),
    Change(
        "short-transaction",
        lambda: {"transactionID": cmp_wire.octets(os.urandom(8))},
        frozenset({"badDataFormat"}),
    ),
    _change("no-nonce", {"senderNonce": None}, "badSenderNonce"),
    Change(
        "short-nonce", lambda: {"senderNonce": cmp_wire.octets(os.urandom(8))}, frozenset({"badSenderNonce"})
    ),
    Change(
        "recipient-nonce",
        lambda: {"recipNonce": cmp_wire.octets(os.urandom(16))},
        frozenset({"badRecipientNonce"}),
    ),
    _change("old", {"messageTime": _THEN}, "badTime"),
    _change("null-sender", {"sender": cmp_wire.NULL_DN}, signed="badMessageCheck"),
    _change("other-sender", {"sender": _OTHER}, signed="badMessageCheck"),
    _change("no-key-id", {"senderKID": None}),
    _change(
        "other-key-id",
        {"senderKID": cmp_wire.octets(b"nobody")},
        signed="badMessageCheck",
        mac="badMessageCheck",
    ),
    _change("no-algorithm", {"protectionAlg": None}, "badMessageCheck"),
    _change("unknown-algorithm", {"protectionAlg": tlv(0x30, oid("2.999.1"))}, "badAlg"),
    _change(
        "implicit-value",
        {"generalInfo": infos(info(cmp_wire.IMPLICIT_CONFIRM, b"\x02\x01\x00"))},
        "badRequest",
    ),
    _change(
        "profile-form", {"generalInfo": infos(info(cmp_wire.CERT_PROFILE, b"\x05\x00"))}, "badDataFormat"
    ),
)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends a message: the protection, and the identity behind a signature."""

    protection: Protection
    identity: pki.Identity | None


def sender(lab: CmpLab, kind: str) -> Sender:
    """One who protects messages so; what the CA knows of him is made now."""
    match kind:
        case "none":
            return Sender(Unprotected(), None)
        case "pbm":
            return Sender(lab.mac, None)
        case "pbmac1":
            return Sender(lab.mac1, None)
        case "pbm-wrong":
            return Sender(Pbm(lab.reference, b"not this one"), None)
        case "pbmac1-wrong":
            return Sender(Pbmac1(lab.reference, b"not this one"), None)
        case "foreign":
            identity = pki.Authority("Stranger").issue()
        case "expired":
            identity = lab.expired().identity
        case _:
            identity = lab.device(endpoint="matrix")
    if kind == "revoked":
        lab.revoke(identity.certificate)
    signed = Signed(identity)
    return Sender(Broken(signed) if kind == "signature-broken" else signed, identity)


def content(name: str, who: Sender) -> bytes:
    """A good content of this body, as this sender would write it."""
    host = device_name("matrix")
    certificate = who.identity.certificate if who.identity is not None else None
    match name:
        case "ir" | "cr" | "krr" | "ccr":
            return ir(pki.key(), host)
        case "p10cr":
            return pki.device_csr(pki.key(), host)
        case "kur":
            if certificate is None:
                return ir(pki.key(), host)
            sans = _dns_names(certificate)
            controls = [cmp_bodies.old_cert_id(certificate)]
            return cmp_bodies.requests(
                cmp_bodies.request(pki.key(), None, subject=certificate.subject, sans=sans, controls=controls)
            )
        case "rr":
            named = certificate or pki.Authority("Nobody").certificate
            template = cmp_bodies.template(issuer=named.issuer, serial=named.serial_number)
            return cmp_bodies.revocations(cmp_bodies.revocation(template))
        case "genm":
            return infos(info("1.3.6.1.5.5.7.4.17"))
        case "error":
            return cmp_bodies.error()
        case "certConf":
            return tlv(0x30, cmp_bodies.cert_status(bytes(32)))
        case "pollReq":
            return cmp_bodies.poll_request(0)
        case "nested":
            return tlv(0x30)
        case _:
            return cmp_bodies.announcement(cmp_bodies.TAGS[name])


def _dns_names(certificate: x509.Certificate) -> list[str]:
    """Its alternative names; a certificate of a foreign CA may have none."""
    try:
        return dns_names(certificate)
    except x509.ExtensionNotFound:
        return []


def faults(name: str, protection: str, change: Change) -> frozenset[str]:
    """The failInfo bits of everything that is wrong with such a message; none: it gets what it asks for."""
    found = set(_PROTECTION_FAULTS.get(protection, ()))
    found |= _body_faults(name, protection)
    found |= change.faults
    found |= change.of_signed if protection in _SIGNED else _NO_FAULT
    found |= change.of_mac if protection not in _SIGNED and protection != "none" else _NO_FAULT
    if change.name == "no-transaction" and name in ("genm", "rr"):
        found.discard("badDataFormat")  # one request, one answer: no transaction is needed
    if change.name == "recipient-nonce" and name == "error":
        found.discard("badRecipientNonce")  # whoever gives up is let go
    if change.name == "other-key-id" and protection in ("foreign", "expired"):
        found.discard("badMessageCheck")  # their certificates have no identifier that it could contradict
    return frozenset(found)


def _body_faults(name: str, protection: str) -> set[str]:
    if name not in SERVED:
        return {"badRequest"}
    if name in ("certConf", "pollReq"):
        return {"badRecipientNonce", "badRequest"}  # there is no such transaction
    if name not in BEGINNING:
        return set()
    found = set(_TRUST_FAULTS.get(protection, ()))
    if name in ("kur", "rr") and protection not in _SIGNED:
        found.add("wrongIntegrity")
    if name in ("kur", "rr") and protection in _TRUST_FAULTS:
        found.add("badCertId")  # it is none of this CA, which may be seen first
    return found
