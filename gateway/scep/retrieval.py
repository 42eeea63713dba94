"""GetCert and GetCRL (RFC 8894 sections 3.3.4, 4.5 and 4.6), for holders of a certificate of ours only."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.asn1.ber import to_der
from gateway.errors import BackendUnavailable, GatewayError, MalformedMessage
from gateway.model.certificate import CertificateRecord, CertificateStatus
from gateway.model.names import DistinguishedName
from gateway.model.reasons import ReasonCode
from gateway.pki.certificate import parse_certificate
from gateway.pki.cms import certs_only, crls_only
from gateway.pki.names import decode_name, names_match
from gateway.scep.exchange import Exchange
from gateway.scep.message import ScepRequest, read_issuer_and_serial
from gateway.scep.options import SCEP


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What was asked for, as a degenerate SignedData (section 3.4)."""

    content_der: bytes = field(repr=False)


async def get_cert(exchange: Exchange, request: ScepRequest) -> Retrieved:
    """The certificate with this issuer and serial number. Raises GatewayError and StoreUnavailable."""
    await _check_sender(exchange, request)
    unknown = "no certificate of ours has the issuer and serial number that the message asks for, if any"
    issuer, serial = _wanted(request, unknown)
    for record in await exchange.services.certificates.by_serial(f"{serial:x}"):
        if names_match(issuer, parse_certificate(record.certificate_der).issuer):
            return Retrieved(certs_only((record.certificate_der,)))
    raise _unknown(unknown)


async def get_crl(exchange: Exchange, request: ScepRequest) -> Retrieved:
    """The current CRL of this endpoint's CA, which issuer and serial number must point to.

    They name a certificate that it issued, or the CA's own as older drafts had it. Raises GatewayError,
    BackendUnavailable and StoreUnavailable.
    """
    await _check_sender(exchange, request)
    information = exchange.services.ca_information
    issuing_der, *_ = await information.ca_certificates(SCEP, exchange.endpoint)
    issuing = parse_certificate(issuing_der)
    unknown = (
        f'this endpoint gives out the CRL of "{issuing.subject}", which the message must name as the issuer; '
        "another CA's stands where the certificate's CRL distribution point says"
    )
    issuer, serial = _wanted(request, unknown)
    itself = serial == issuing.serial and names_match(issuer, issuing.issuer)
    if not itself and not names_match(issuer, issuing.subject):
        raise _unknown(unknown)
    try:
        crl_der = await information.crl(SCEP, exchange.endpoint)
    except BackendUnavailable as error:
        # It has told its certificates, so it is there: a CA elsewhere. To come again would help nobody.
        text = (
            f'the CRL of "{issuing.subject}" is not made here; it is at the CRL distribution point of its '
            "certificates"
        )
        raise _unknown(text, detail=error.detail) from error
    return Retrieved(crls_only(crl_der))


async def _check_sender(exchange: Exchange, request: ScepRequest) -> None:
    """Raises GatewayError unless the message is signed with a certificate of ours that is still good."""
    signer, now = request.message.signer, exchange.services.clock.now()
    record = await exchange.services.certificates.by_sha256(signer.sha256)
    if record is None:
        raise GatewayError(
            "only who signs with a certificate of ours gets certificates and CRLs here; CRLs are also at the "
            "CRL distribution point",
            code=ReasonCode.AUTH_CERTIFICATE_UNTRUSTED,
        )
    _check_good(record)
    if not record.not_before <= now <= record.not_after:
        raise GatewayError(
            f"the certificate that signs the message ended at {record.not_after:%Y-%m-%d %H:%M} UTC",
            code=ReasonCode.AUTH_CERTIFICATE_EXPIRED,
        )


def _check_good(record: CertificateRecord) -> None:
    if record.status is not CertificateStatus.GOOD:
        raise GatewayError(
            f"the certificate that signs the message is {record.status}",
            code=ReasonCode.AUTH_CERTIFICATE_REVOKED,
        )


def _wanted(request: ScepRequest, unknown: str) -> tuple[DistinguishedName, int]:
    """Issuer and serial number. Raises GatewayError whatever is wrong, as where there is no such certificate:
    an attacker must not learn what he has made of another device's ciphertext (RFC 5652 section 14)."""
    try:
        wanted = read_issuer_and_serial(request)
        return decode_name(to_der(wanted.issuer_der)), wanted.serial
    except MalformedMessage as error:
        raise _unknown(unknown, detail=error.detail or str(error)) from error


def _unknown(text: str, detail: str = "") -> GatewayError:
    return GatewayError(text, code=ReasonCode.CERTIFICATE_UNKNOWN, detail=detail)
