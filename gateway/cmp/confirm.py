"""certConf (RFC 9810 section 5.3.18): the requester accepts or declines what it got."""

from __future__ import annotations

import hashlib
import hmac

from gateway.asn1 import der, typed
from gateway.asn1.cmp import BodyType
from gateway.asn1.cmp_bodies import PKI_CONFIRM_DER, CertStatus, decode_cert_confirm
from gateway.asn1.cmp_status import PkiFailureInfo, PkiStatus
from gateway.cmp.answers import Answer
from gateway.cmp.errors import CmpRefusal
from gateway.cmp.header import CMP_2021
from gateway.cmp.options import CMP
from gateway.cmp.received import P10CR_ID, Received, known_requests
from gateway.cmp.responses import ANSWERS
from gateway.cmp.sender import SigningSender
from gateway.errors import MalformedMessage, RetryLater
from gateway.model.outcome import Confirmation, Issued, Outcome, Refused, Unavailable
from gateway.model.reasons import ReasonCode
from gateway.pki.signatures import read_signature_algorithm

_HASH_OIDS = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
    "2.16.840.1.101.3.4.2.8": "sha3_256",
    "2.16.840.1.101.3.4.2.9": "sha3_384",
    "2.16.840.1.101.3.4.2.10": "sha3_512",
}

_SHAKE_OCTETS = 64
_NULLS = (b"", b"\x05\x00")


async def confirm(received: Received) -> Answer:
    """Confirm or decline; the pkiConf. Raises CmpRefusal, MalformedMessage, Overloaded, StoreUnavailable."""
    if received.begun_by not in ANSWERS:
        raise _bad_request("no certificate was asked for in this transaction", "body")
    statuses = decode_cert_confirm(received.message.body_der)
    identifiers = [status.cert_req_id for status in statuses]
    if len(set(identifiers)) < len(identifiers):
        raise _bad_request("the certConf names a certReqId twice", "certReqId")
    if not statuses:
        await _decline_all(received)
    else:
        outcomes = await _outcomes(received, identifiers)
        accepted = [_accepted(status) for status in statuses]
        for status, outcome, yes in zip(statuses, outcomes, accepted, strict=True):
            _check(received, status, outcome, accepted=yes)
        for status, yes in zip(statuses, accepted, strict=True):
            _check_done(await _settled(received, status.cert_req_id, accepted=yes))
    received.exchange.request.log["outcome"] = "confirmed"
    return Answer(BodyType.PKICONF, PKI_CONFIRM_DER, received.begun_by)


async def _decline_all(received: Received) -> None:
    """Section 5.3.18: an empty certConf declines all. Of several requests some may have no certificate, or
    one that was confirmed before: they are no reason to keep the others."""
    found = [await _settled(received, one, accepted=False) for one in await known_requests(received)]
    if Confirmation.DONE not in found:
        _check_done(next((one for one in found if one is not Confirmation.UNKNOWN), Confirmation.UNKNOWN))


async def _outcomes(received: Received, identifiers: list[int]) -> tuple[Outcome | None, ...]:
    for cert_req_id in identifiers:
        if (cert_req_id == P10CR_ID) is not (received.begun_by is BodyType.P10CR) or cert_req_id < P10CR_ID:
            # RFC 9483 4.1.4: -1 after a p10cr, else the certReqId of the request
            raise _bad_request(
                f"the certConf names the certReqId {cert_req_id}, which was not asked for", "certReqId"
            )
    exchange = received.exchange
    return await exchange.services.enrolments.outcomes_of(
        CMP, exchange.endpoint, [received.parts(cert_req_id) for cert_req_id in identifiers]
    )


def _accepted(status: CertStatus) -> bool:
    info = status.status
    if info is None:
        return True
    if info.status is PkiStatus.ACCEPTED:
        if info.failure:
            raise _bad_request("the certConf accepts, but gives a failInfo", "statusInfo")
        return True
    if info.status is PkiStatus.REJECTION:
        return False
    # RFC 9483 4.1.1
    raise _bad_request("the status in a certConf must be accepted or rejection", "statusInfo")


def _check(received: Received, status: CertStatus, outcome: Outcome | None, *, accepted: bool) -> None:
    if outcome is None:
        raise _unknown()
    if isinstance(outcome, Unavailable):
        raise RetryLater(
            outcome.reason.message, retry_after_s=outcome.retry_after_s, code=outcome.reason.code
        )
    if not isinstance(outcome, Issued | Refused):
        raise _unknown()
    if isinstance(outcome, Issued) and accepted:
        _check_hash(received, status, outcome.certificate_der)
        _check_signer(received, outcome.certificate_der)


def _check_hash(received: Received, status: CertStatus, certificate_der: bytes) -> None:
    if status.hash_alg_der is not None and received.header.pvno != CMP_2021:
        # Section 5.3.18: hashAlg needs cmp2021
        raise _bad_cert_id("hashAlg may stand in messages of pvno 3 only", "hashAlg")
    expected = expected_hash(certificate_der, status)
    if not hmac.compare_digest(expected, status.cert_hash):
        raise _bad_cert_id("the certHash is not that of the certificate that was issued", "certHash")


def _check_signer(received: Received, certificate_der: bytes) -> None:
    sender = received.sender
    if isinstance(sender, SigningSender) and sender.certificate.certificate_der == certificate_der:
        # RFC 9483 4.1.1: protected as the request was, not with the new certificate
        raise _bad_request("the certConf is protected with the certificate that it confirms", "protection")


def expected_hash(certificate_der: bytes, status: CertStatus) -> bytes:
    """What certHash must be: by the hash that is named, else by that of the certificate's own signature."""
    if status.hash_alg_der is not None:
        return hashlib.new(_hash_named(status.hash_alg_der), certificate_der).digest()
    parts = typed.fields_of(certificate_der, "certificate")
    algorithm = read_signature_algorithm(certificate_der, parts[1][2], parts[1][3])
    if algorithm.hash is not None:
        return hashlib.new(algorithm.hash, certificate_der).digest()
    match algorithm.oid:
        case "1.3.101.113":  # Ed448 (RFC 9481 section 3.3)
            return hashlib.shake_256(certificate_der).digest(_SHAKE_OCTETS)
        case "1.3.101.112":  # Ed25519
            return hashlib.sha512(certificate_der).digest()
        case _:
            # No standard says which one goes with ML-DSA: the length of what came does
            name = "sha256" if len(status.cert_hash) == hashlib.sha256().digest_size else "sha512"
            return hashlib.new(name, certificate_der).digest()


def _hash_named(algorithm_der: bytes) -> str:
    parts = typed.fields_of(algorithm_der, "hashAlg")
    oid = ""
    if parts and parts[0][0] == der.OID:
        oid = der.oid_text(typed.content(algorithm_der, parts[0]))
    if oid not in _HASH_OIDS or algorithm_der[parts[0][3] :] not in _NULLS:
        raise MalformedMessage(
            f"the hashAlg {oid} is not supported; use SHA-256",
            code=ReasonCode.MESSAGE_ALGORITHM,
            path="hashAlg",
        )
    return _HASH_OIDS[oid]


async def _settled(received: Received, cert_req_id: int, *, accepted: bool) -> Confirmation:
    exchange = received.exchange
    return await exchange.services.enrolments.confirm(
        CMP,
        exchange.endpoint,
        received.parts(cert_req_id),
        accepted=accepted,
        content_sha256=received.content_sha256,
    )


def _check_done(found: Confirmation) -> None:
    match found:
        case Confirmation.DONE:
            return
        case Confirmation.CONFIRMED_BEFORE:
            raise CmpRefusal(
                PkiFailureInfo.CERT_CONFIRMED,
                "the certificate was confirmed before, or needs no certConf",
                code=ReasonCode.TRANSACTION_IN_USE,
            )
        case Confirmation.WITHDRAWN:
            raise CmpRefusal(
                PkiFailureInfo.CERT_REVOKED,
                "the certificate was declined or revoked before, or its certConf came too late: it is "
                "revoked; ask for a new one",
                code=ReasonCode.TRANSACTION_UNKNOWN,
            )
        case Confirmation.UNKNOWN:
            raise _unknown()


def _unknown() -> CmpRefusal:
    return CmpRefusal(
        PkiFailureInfo.BAD_REQUEST,
        "no certificate was issued in this transaction to this sender under this certReqId",
        code=ReasonCode.TRANSACTION_UNKNOWN,
        path="certReqId",
    )


def _bad_request(text: str, path: str) -> CmpRefusal:
    return CmpRefusal(PkiFailureInfo.BAD_REQUEST, text, path=path)


def _bad_cert_id(text: str, path: str) -> CmpRefusal:
    return CmpRefusal(PkiFailureInfo.BAD_CERT_ID, text, code=ReasonCode.CERTIFICATE_UNKNOWN, path=path)
