"""Our messages: header, protection as the request had it, and extraCerts (RFC 9810 section 5.1)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from gateway.asn1 import der
from gateway.asn1.cmp import BodyType, InfoTypeAndValue, PkiHeader, generalized_time
from gateway.asn1.cmp_bodies import ErrorMsgContent, encode_error
from gateway.asn1.cmp_status import PkiFailureInfo, PkiStatus, PkiStatusInfo
from gateway.asn1.cmp_support import CONFIRM_WAIT_TIME, IMPLICIT_CONFIRM, NULL_DER
from gateway.cmp.exchange import Exchange
from gateway.cmp.header import CMP_2000, CMP_2021, transaction_name
from gateway.cmp.nonces import NONCE_OCTETS
from gateway.cmp.options import CMP
from gateway.cmp.protection import Draft, protect_with_secret, protect_with_signer, unprotected
from gateway.cmp.sender import DIRECTORY_NAME, MacSender, Sender, directory_name
from gateway.errors import BackendUnavailable, MalformedMessage
from gateway.frontend import MessageIdentity
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.pki.names import decode_name

NULL_DN = der.tlv(DIRECTORY_NAME, der.sequence())
_TEXT_NAMES = (0x81, 0x82, 0x86)  # rfc822Name, dNSName, uniformResourceIdentifier


@dataclass(frozen=True, slots=True)
class Answer:
    """A body, and what its message says besides. ``extra_certs`` lead from the certificates in the body to a
    root, which is left out. ``begun_by`` is the body that the transaction began with, ``confirm_by`` the end
    of the time for a certConf, ``retry_after_s`` goes into HTTP's Retry-After."""

    body_type: BodyType
    body_der: bytes = field(repr=False)
    begun_by: BodyType
    extra_certs: tuple[bytes, ...] = field(default=(), repr=False)
    implicit_confirm: bool = False
    confirm_by: datetime | None = None
    retry_after_s: int | None = None


def error_answer(
    failure: PkiFailureInfo,
    texts: tuple[str, ...],
    begun_by: BodyType = BodyType.GENM,
    *,
    retry_after_s: int | None = None,
) -> Answer:
    """An ``error`` (RFC 9810 section 5.3.21), which ends the transaction."""
    status = PkiStatusInfo(PkiStatus.REJECTION, texts, failure)
    body_der = encode_error(ErrorMsgContent(status))
    return Answer(BodyType.ERROR, body_der, begun_by, retry_after_s=retry_after_s)


async def write_answer(
    exchange: Exchange, header: PkiHeader | None, sender: Sender | None, answer: Answer
) -> bytes:
    """The message that answers the one with this header; ``sender`` is None where its protection is not
    proven, ``header`` where none could be read.

    A MAC is answered by a MAC with the same secret, all else is signed. Raises BackendUnavailable where there
    is no key to sign with, Overloaded.
    """
    identity = await _identity(exchange, needed=not isinstance(sender, MacSender))
    if isinstance(sender, MacSender):
        assert header is not None
        reference = header.sender_kid or sender.secret.name.encode()
        draft = _draft(exchange, header, sender, answer, identity, reference)
        return await protect_with_secret(
            draft, sender.protection.parameters, sender.secret.secret, exchange.keys, fresh_salt=False
        )
    assert identity is not None
    own = read_certificate(identity.certificate_der)
    draft = _draft(exchange, header, sender, answer, identity, own.subject_key_identifier)
    if sender is None and exchange.options.unprotected_errors:
        return unprotected(draft)
    return await protect_with_signer(draft, identity.signer)


def without_roots(chain_der: Iterable[bytes]) -> tuple[bytes, ...]:
    """Trust anchors are none that a message brings along (RFC 9483 section 3.3)."""
    return tuple(one for one in chain_der if not is_root(one))


def is_root(certificate_der: bytes) -> bool:
    """Whether the certificate is self-issued."""
    certificate = read_certificate(certificate_der)
    return certificate.subject_der == certificate.issuer_der


@lru_cache(maxsize=256)
def read_certificate(certificate_der: bytes) -> ParsedCertificate:
    """A certificate of ours or of our CAs: there are few."""
    return parse_certificate(certificate_der)


def _general_info(answer: Answer) -> tuple[InfoTypeAndValue, ...]:
    if answer.implicit_confirm:
        return (InfoTypeAndValue(IMPLICIT_CONFIRM, NULL_DER),)
    if answer.confirm_by is not None:
        return (InfoTypeAndValue(CONFIRM_WAIT_TIME, generalized_time(answer.confirm_by)),)
    return ()


def _addressee(sender_der: bytes) -> bytes:
    """The sender's name, as long as it is one: nobody has read it where the protection is not proven."""
    name_der = directory_name(sender_der)
    if name_der is not None:
        try:
            decode_name(name_der)
        except MalformedMessage:
            return NULL_DN
        return sender_der
    text = sender_der[der.read_tlv(sender_der)[1] :]
    return sender_der if sender_der[0] in _TEXT_NAMES and text.isascii() else NULL_DN


async def _identity(exchange: Exchange, *, needed: bool) -> MessageIdentity | None:
    try:
        identities = await exchange.services.ca_information.identities(CMP, exchange.endpoint)
    except BackendUnavailable:
        if needed:
            raise
        return None  # a MAC can do without, but for our name
    return identities[0]


def _draft(
    exchange: Exchange,
    header: PkiHeader | None,
    sender: Sender | None,
    answer: Answer,
    identity: MessageIdentity | None,
    sender_kid: bytes | None,
) -> Draft:
    own_name = NULL_DN if header is None else header.recipient_der
    extra_certs = answer.extra_certs
    if identity is not None:
        own_name = der.tlv(DIRECTORY_NAME, read_certificate(identity.certificate_der).subject_der)
        if not isinstance(sender, MacSender):
            signers = (identity.certificate_der, *without_roots(identity.chain_der))
            extra_certs = tuple(dict.fromkeys((*signers, *extra_certs)))
    transaction_id = header.transaction_id if header is not None else None
    client_nonce = header.sender_nonce if header is not None else None
    if header is None or sender is None:
        nonce = os.urandom(NONCE_OCTETS)  # nobody goes on from here
    else:
        name = transaction_name(header, answer.begun_by, sender.kind)
        nonce = exchange.nonces.make(name, client_nonce)
    return Draft(
        PkiHeader(
            # RFC 9810 section 7: the version received, else the nearest one that we know
            pvno=CMP_2021 if header is not None and header.pvno >= CMP_2021 else CMP_2000,
            sender_der=own_name,
            recipient_der=NULL_DN if header is None else _addressee(header.sender_der),
            message_time=exchange.services.clock.now(),
            sender_kid=sender_kid,
            transaction_id=transaction_id,
            sender_nonce=nonce,
            recip_nonce=client_nonce,
            general_info=_general_info(answer),
        ),
        answer.body_type,
        answer.body_der,
        extra_certs,
    )
