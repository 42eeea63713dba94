"""Renewal information (RFC 9773 section 4): when a certificate is to be renewed, for anybody who asks.

The window begins when the certificate's policy lets renewals begin, else after two thirds of the lifetime. It
takes a quarter of the time that is left then, so that clients spread and the rest is there for trouble. That
of a revoked certificate lies in the past: renew at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.acme import base64url
from gateway.acme.errors import malformed, not_found
from gateway.acme.exchange import ACME, Exchange
from gateway.acme.objects import json_answer, rfc3339
from gateway.http.message import HttpResponse
from gateway.model.certificate import CertificateRecord, CertificateStatus
from gateway.model.reasons import ReasonCode
from gateway.pki.certificate import parse_certificate

_MAX_KEY_IDENTIFIER_OCTETS = 64
_MAX_SERIAL_OCTETS = 21  # RFC 5280 section 4.1.2.2: 20, and some CAs need one more for the sign
_PAST = timedelta(hours=1)
_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
# Short enough that a revocation is seen soon, long enough for a cache in front to be of use.
_MAX_CACHED = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class RenewalWindow:
    """``start`` lies before ``end``, both in whole seconds."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class CertificateId:
    """What names a certificate (RFC 9773 section 4.1)."""

    key_identifier: bytes
    serial: int


async def renewal_info(exchange: Exchange, certificate_id: str) -> HttpResponse:
    """Answer a GET for the certificate of this id. Raises AcmeError (malformed, 404), StoreUnavailable."""
    if not exchange.options.renewal_info:
        raise not_found("this endpoint offers no renewal information")
    record = await find(exchange, parse_id(certificate_id))
    if record is None:
        raise not_found("there is no such certificate here")
    advice = exchange.services.enrolments.renewal_advice(record)
    if not advice.offered:
        raise not_found("there is no renewal information for this certificate")
    window = renewal_window(record, advice.opens_at)
    document: dict[str, object] = {
        "suggestedWindow": {"start": rfc3339(window.start), "end": rfc3339(window.end)}
    }
    if exchange.options.renewal_explanation_url is not None:
        document["explanationURL"] = exchange.options.renewal_explanation_url
    ask_again = _ask_again(exchange.options.renewal_retry_after, record)
    headers = (
        ("Retry-After", str(int(ask_again.total_seconds()))),
        ("Cache-Control", f"public, max-age={int(min(ask_again, _MAX_CACHED).total_seconds())}"),
    )
    return json_answer(document, headers=headers)


def parse_id(text: str) -> CertificateId:
    """Read ``base64url(AKI).base64url(serial)``, each in its one right spelling. Raises AcmeError."""
    parts = text.split(".")
    try:
        key_identifier, serial = (base64url.decode(part) for part in parts)
    except ValueError as exc:
        raise _bad_id() from exc
    if not 0 < len(key_identifier) <= _MAX_KEY_IDENTIFIER_OCTETS or not 0 < len(serial) <= _MAX_SERIAL_OCTETS:
        raise _bad_id()
    number = int.from_bytes(serial, "big", signed=True)
    # RFC 9773 4.1: the content of a DER INTEGER, so the fewest octets and positive
    if number <= 0 or len(serial) != number.bit_length() // 8 + 1:
        raise _bad_id()
    return CertificateId(key_identifier, number)


async def find(exchange: Exchange, certificate_id: CertificateId) -> CertificateRecord | None:
    """The certificate of this endpoint with this id. Raises StoreUnavailable."""
    records = await exchange.services.certificates.by_serial(f"{certificate_id.serial:x}")
    for record in records:
        if (record.protocol, record.endpoint) != (ACME, exchange.endpoint):
            continue
        parsed = parse_certificate(record.certificate_der)
        if parsed.authority_key_identifier == certificate_id.key_identifier:
            return record
    return None


def renewal_window(record: CertificateRecord, opens_at: datetime | None = None) -> RenewalWindow:
    """When to renew. ``opens_at`` is when its policy lets renewals begin, None where it does not say.

    A revoked certificate's window lies before its revocation, and where possible in the first hour of its
    life, so that it is over even for a client whose clock is slow.
    """
    if record.status is CertificateStatus.REVOKED:
        revoked_at = record.revoked_at or record.not_before
        end = min(record.not_before + _PAST, revoked_at)
        return RenewalWindow(end - _PAST, end)
    lifetime_s = max(0, int((record.not_after - record.not_before).total_seconds()))
    start = record.not_before + timedelta(seconds=lifetime_s * 2 // 3)
    if opens_at is not None:
        start = max(record.not_before, opens_at.replace(microsecond=0))
    left_s = int((record.not_after - start).total_seconds())
    # RFC 9773 4.2: the end MUST NOT equal or precede the start
    return RenewalWindow(start, max(start + timedelta(seconds=left_s // 4), start + _SECOND))


def _ask_again(wanted: timedelta, record: CertificateRecord) -> timedelta:
    """As often as the operator wishes, and often enough for a short life."""
    lifetime = record.not_after - record.not_before
    return max(_SECOND, min(wanted, max(_MINUTE, lifetime / 24)))


def _bad_id() -> Exception:
    return malformed(
        "a certificate is named by its authority key identifier and its serial number, each in base64url "
        "without padding, with a dot between (RFC 9773 section 4.1)",
        code=ReasonCode.MESSAGE_BASE64,
    )
