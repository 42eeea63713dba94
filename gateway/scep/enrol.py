"""PKCSReq and RenewalReq (RFC 8894 sections 2.3 to 2.5 and 3.3.1) as requests of the enrolment model."""

from __future__ import annotations

import hashlib

from gateway.errors import GatewayError
from gateway.model.enrolment import Correlation, Differing, EnrolmentRequest, Operation
from gateway.model.evidence import (
    RENEWAL_CERT,
    SIGNATURE,
    PresentedCertificate,
    PresentedChallenge,
    PresentedCredential,
    SecretBytes,
)
from gateway.model.outcome import Outcome
from gateway.model.reasons import ReasonCode
from gateway.pki.certificate import ParsedCertificate
from gateway.pki.csr import ParsedCsr
from gateway.scep.challenge import challenge_of, identity_without_challenge
from gateway.scep.exchange import (
    Exchange,
    message_name,
    printable_transaction,
    transaction_parts,
)
from gateway.scep.message import MessageRules, MessageType, ScepRequest, read_csr
from gateway.scep.options import SCEP

_MAX_CHAIN = 10  # as many certificates as anybody reads of a chain


async def enrol(exchange: Exchange, request: ScepRequest, rules: MessageRules) -> Outcome:
    """Submit one request for one certificate. Raises GatewayError, Overloaded and StoreUnavailable."""
    csr, key = read_csr(request, rules)
    if csr.change_subject_name is not None:
        # Passing it over would issue other names than those that were meant.
        raise GatewayError(
            "the ChangeSubjectName attribute (RFC 6402) means nothing in SCEP; put the names into the "
            "CSR itself",
            code=ReasonCode.MESSAGE_UNSUPPORTED,
        )
    signer, challenge = request.message.signer, challenge_of(csr)
    same_key = signer.spki_sha256 == csr.public_key.spki_sha256
    renews = await _is_renewal(exchange, request, signer, same_key=same_key)
    if renews:
        operation = Operation.RENEW if same_key else Operation.REKEY
        presented = _renewing(request, challenge)
    else:
        operation = Operation.ENROLL
        presented = _enrolling(exchange, request, challenge, same_key=same_key)
    name = message_name(request.message_type)
    enrolment = EnrolmentRequest(
        protocol=SCEP,
        endpoint=exchange.endpoint,
        operation=operation,
        correlation=_correlation(request, csr, signer if renews else None),
        identity=identity_without_challenge(csr),
        key=key,
        remote=exchange.request.remote(name),
        presented=presented,
        # A CSR that holds a secret in clear must not come into the record.
        csr_der=csr.csr_der if challenge is None else None,
        renews_der=signer.certificate_der if renews else None,
        transaction_id=printable_transaction(request.message),
    )
    (outcome,) = await exchange.services.enrolments.submit((enrolment,))
    return outcome


async def _is_renewal(
    exchange: Exchange, request: ScepRequest, signer: ParsedCertificate, *, same_key: bool
) -> bool:
    """A PKCSReq that is signed with a certificate of ours is a renewal too: so do Apple and Cisco devices."""
    if request.message_type is not MessageType.PKCS_REQ:
        return True
    if not exchange.options.renewal_by_pkcsreq or (same_key and signer.issuer_der == signer.subject_der):
        return False  # self-signed, as at every first enrolment: not worth a look into the database
    return await exchange.services.certificates.by_sha256(signer.sha256) is not None


def _renewing(request: ScepRequest, challenge: SecretBytes | None) -> tuple[PresentedCredential, ...]:
    """The certificate, and the challenge that section 2.4 allows beside it."""
    certificate = PresentedCertificate(_chain(request), RENEWAL_CERT)
    return (certificate,) if challenge is None else (certificate, PresentedChallenge(challenge))


def _enrolling(
    exchange: Exchange, request: ScepRequest, challenge: SecretBytes | None, *, same_key: bool
) -> tuple[PresentedCredential, ...]:
    """Section 2.3: signed with the key of the CSR, whatever the certificate around it says (Cisco ASA writes
    other subjects there), the challenge decides. Signed with another key, it is on somebody's behalf."""
    signer = request.message.signer
    if same_key:
        # Absent, empty and wrong are answered alike.
        presented = PresentedChallenge(challenge or SecretBytes(b""))
        if signer.issuer_der == signer.subject_der:
            # Section 2.4: the CA MUST NOT authenticate a client by a self-signed certificate.
            return (presented,)
        # Section 2.3, point 3: credentials of another CA, if policy knows that one
        return (presented, PresentedCertificate(_chain(request), SIGNATURE))
    accepted = exchange.services.enrolments.accepted_credentials(SCEP, exchange.endpoint, Operation.ENROLL)
    if SIGNATURE not in accepted:
        raise GatewayError(
            "the message is signed with another key than that of the CSR, and not with a certificate of "
            "ours; sign a first request with its own key, a renewal with the certificate that it renews",
            code=ReasonCode.AUTH_KIND,
        )
    return (PresentedCertificate(_chain(request), SIGNATURE),)


def _chain(request: ScepRequest) -> tuple[bytes, ...]:
    """The signer's certificate first, then what else the message brings."""
    leaf_der = request.message.signer.certificate_der
    others = (der for der in request.message.certificates_der if der != leaf_der)
    return (leaf_der, *others)[:_MAX_CHAIN]


def _correlation(request: ScepRequest, csr: ParsedCsr, renewed: ParsedCertificate | None) -> Correlation:
    """Many clients make the transactionID from the key, so that a renewal with the same key comes under the
    same one: the renewed certificate tells it from a repeat of the earlier request."""
    renewed_sha256 = bytes.fromhex(renewed.sha256) if renewed is not None else b""
    return Correlation(
        transaction_parts(request.message),
        with_identity=False,
        content_sha256=hashlib.sha256(csr.csr_der + renewed_sha256).hexdigest(),
        differing=Differing.NEW_ONCE_CLOSED,
    )
