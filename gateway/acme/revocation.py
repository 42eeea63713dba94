"""revokeCert (RFC 8555 section 7.6).

Three may revoke: the account that ordered the certificate, one that holds valid authorizations for every
name in it, and whoever signs with the certificate's own key. Only certificates of the same endpoint are known
here.
"""

from __future__ import annotations

import hashlib

from gateway.acme import base64url, messages
from gateway.acme.errors import AcmeError, malformed, not_found, unauthorized
from gateway.acme.exchange import ACME, Exchange, Signed
from gateway.acme.jwk import spki_thumbprint
from gateway.acme.options import AcmeOptions
from gateway.acme.tables import authorizations
from gateway.acme.tables.accounts import AccountRow
from gateway.acme.tables.events import actor_of
from gateway.errors import Conflict, MalformedMessage
from gateway.http.message import HttpResponse
from gateway.model.certificate import (
    REASON_BY_NUMBER,
    CertificateRecord,
    CertificateStatus,
    RevocationReason,
)
from gateway.model.evidence import PREVALIDATED
from gateway.model.reasons import ReasonCode
from gateway.pki.certificate import parse_certificate

_ORDERABLE = ("dns", "ip")  # kinds of names that an authorization can be for


async def revoke_certificate(signed: Signed) -> HttpResponse:
    """Revoke: 200 with an empty body once it is durable, and on the next CRL.

    Raises AcmeError (malformed, unauthorized, alreadyRevoked, badRevocationReason), StoreUnavailable,
    Overloaded.
    """
    exchange = signed.exchange
    members = messages.read_object(signed.jws.payload)
    record = await _record(exchange, _certificate_der(members))
    reason_code = messages.number(members, "reason")
    actor = await _authorized_actor(signed, record)
    reason = _reason(exchange.options, reason_code)
    if record.status is CertificateStatus.REVOKED:
        raise _already_revoked()
    if record.not_after < exchange.services.clock.now():
        # An expired certificate is on no CRL, so that revoking it would tell nobody.
        raise unauthorized("the certificate has expired, so there is nothing to revoke")
    try:
        await exchange.services.certificates.revoke(record, reason, actor)
    except Conflict as exc:
        raise _already_revoked() from exc
    return HttpResponse(200)


def _certificate_der(members: dict[str, object]) -> bytes:
    text = messages.required_text(members, "certificate")
    try:
        return base64url.decode(text)
    except ValueError as exc:
        raise malformed(
            "certificate must be the DER of a certificate in base64url, without padding, PEM lines or other "
            "characters (RFC 8555 section 7.6)",
            code=ReasonCode.MESSAGE_BASE64,
        ) from exc


async def _record(exchange: Exchange, certificate_der: bytes) -> CertificateRecord:
    sha256 = hashlib.sha256(certificate_der).hexdigest()
    record = await exchange.services.certificates.by_sha256(sha256)
    if record is not None and (record.protocol, record.endpoint) == (ACME, exchange.endpoint):
        return record
    try:
        parse_certificate(certificate_der)
    except MalformedMessage as exc:
        raise malformed(f"certificate does not hold a certificate: {exc}", code=exc.code) from exc
    raise not_found("this certificate was not issued here")


async def _authorized_actor(signed: Signed, record: CertificateRecord) -> str:
    """Who revokes, for the audit log. Raises AcmeError (unauthorized)."""
    if signed.account is None:
        # The signature was verified with this very key, so its holder has the certificate's private key.
        spki_der = parse_certificate(record.certificate_der).spki_der
        if spki_thumbprint(spki_der) != signed.jws.key.thumbprint:
            raise unauthorized(
                "the request is signed with a key that is not the certificate's; sign with that one, or with "
                "an account (kid)"
            )
        return f"acme-certificate-key:{signed.jws.key.thumbprint}"
    account = signed.account
    actor = actor_of(account.id)
    if record.identity != actor and not await _authorized_for_all(signed.exchange, account, record):
        raise unauthorized(
            "this account neither ordered the certificate nor holds valid authorizations for all its names"
        )
    return actor


async def _authorized_for_all(exchange: Exchange, account: AccountRow, record: CertificateRecord) -> bool:
    """Whether the account has proven each name of the certificate; never for one without names."""
    names = record.sans
    kinds = {name.partition(":")[0] for name in names}
    if not names or not kinds <= set(_ORDERABLE):
        return False
    wanted = [_bare(name.partition(":")[2]) for name in names]
    now = exchange.services.clock.now()
    rows = await exchange.services.records.read(
        lambda connection: authorizations.valid_for(connection, exchange.endpoint, account.id, wanted, now)
    )
    # What an external account stands in for was not proven; others share the same bound (RFC 8555 7.6).
    return set(names) <= {row.identifier for row in rows if row.method != PREVALIDATED}


def _bare(name: str) -> authorizations.Name:
    return name.removeprefix("*."), name.startswith("*.")


def _reason(options: AcmeOptions, code: int | None) -> RevocationReason:
    if code is None:
        return RevocationReason.UNSPECIFIED
    reason = REASON_BY_NUMBER.get(code)
    if reason is None or reason.value not in options.revocation_reasons:
        # RFC 8555 7.6: the detail SHOULD say which ones are allowed
        allowed = ", ".join(
            f"{number} ({one})"
            for number, one in REASON_BY_NUMBER.items()
            if one in options.revocation_reasons
        )
        raise AcmeError(
            "badRevocationReason",
            f"this reason is not taken here; leave it out or give one of: {allowed or 'none'}",
            code=ReasonCode.REVOCATION,
        )
    return reason


def _already_revoked() -> AcmeError:
    return AcmeError(
        "alreadyRevoked", "the certificate is revoked already", code=ReasonCode.REVOCATION, recorded=False
    )
