"""The four operations of EST between HTTP requests and the enrolment model (RFC 7030 section 4).

Nothing here writes an answer: refusals found here are raised as GatewayError and worded in ``routes``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.errors import BackendUnavailable, GatewayError
from gateway.est import codec
from gateway.est.codec import BodyForm
from gateway.est.credentials import challenge_credential, presented_credentials
from gateway.est.csrattrs import CsrAttrs, csr_attributes
from gateway.est.linking import linking_of
from gateway.est.options import ChallengeUse, EstOptions
from gateway.frontend import Services
from gateway.http.message import HttpRequest
from gateway.model.enrolment import Correlation, EnrolmentRequest, Operation, RequestedIdentity
from gateway.model.evidence import RENEWAL_CERT, PresentedCredential
from gateway.model.ids import EndpointName, ProtocolName
from gateway.model.names import DistinguishedName, GeneralName
from gateway.model.outcome import Outcome
from gateway.model.reasons import ReasonCode
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.pki.csr import ParsedCsr, parse_csr, verify_possession
from gateway.pki.names import names_match, san_sets_match

EST = ProtocolName("est")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP request to an operation of an endpoint that exists."""

    services: Services
    request: HttpRequest
    endpoint: EndpointName
    options: EstOptions
    operation: str


async def simple_enroll(exchange: Exchange) -> Outcome:
    """/simpleenroll: a certificate for the CSR in the body (RFC 7030 section 4.2.1)."""
    presented = presented_credentials(exchange.request)
    csr = await _received_csr(exchange)
    tls = exchange.request.tls
    if csr.change_subject_name is not None and (tls is None or not tls.chain_der):
        # RFC 7030 section 4.2.1 knows it beside a client certificate; passing it over would issue other names
        raise GatewayError(
            "the ChangeSubjectName attribute changes the names of a client certificate, and none was sent; "
            "put the names into the CSR itself",
            code=ReasonCode.MESSAGE_UNSUPPORTED,
        )
    if not presented and exchange.options.challenge_password is ChallengeUse.SECRET:
        presented = challenge_credential(csr)
    return await _submit(exchange, csr, Operation.ENROLL, presented)


async def simple_reenroll(exchange: Exchange) -> Outcome:
    """/simplereenroll: renew or rekey the certificate of this TLS connection (RFC 7030 section 4.2.2)."""
    tls = exchange.request.tls
    if tls is None or not tls.chain_der:
        raise GatewayError(
            "simplereenroll renews the client certificate of the TLS connection, and none was sent",
            code=ReasonCode.AUTH_MISSING,
        )
    presented = presented_credentials(exchange.request, RENEWAL_CERT)
    current = parse_certificate(tls.chain_der[0])
    csr = await _received_csr(exchange)
    _check_same_names(current, csr)
    operation = Operation.RENEW if csr.public_key.spki_sha256 == current.spki_sha256 else Operation.REKEY
    return await _submit(exchange, csr, operation, presented, renews_der=current.certificate_der)


async def ca_certs(exchange: Exchange) -> tuple[bytes, ...]:
    """/cacerts: the DER certificates to answer with (RFC 7030 section 4.1.3)."""
    chain = await exchange.services.ca_information.ca_certificates(EST, exchange.endpoint)
    if not chain:
        raise BackendUnavailable("the CA certificates of this endpoint are not known yet")
    if exchange.options.cacerts == "roots":
        # a chain that ends below its root still has a top to trust
        return tuple(der for der in chain if _is_self_issued(parse_certificate(der))) or chain[-1:]
    return chain


def csr_attrs(exchange: Exchange) -> CsrAttrs:
    """/csrattrs: what policy wants of a CSR (RFC 7030 section 4.5); empty where that is nothing special."""
    wanted = exchange.services.enrolments.wanted(EST, exchange.endpoint, Operation.ENROLL)
    if wanted is None:
        return CsrAttrs()
    return csr_attributes(wanted, template=exchange.options.csrattrs_template)


async def _received_csr(exchange: Exchange) -> ParsedCsr:
    request, options = exchange.request, exchange.options
    media_type = (request.header(b"content-type") or "").partition(";")[0].strip().lower()
    notes = []
    if media_type != codec.PKCS10:
        if not options.lenient_body:
            shown = f'"{media_type[:80]}"' if media_type else "none"
            raise GatewayError(
                f"the Content-Type must be {codec.PKCS10}, and it is {shown}", code=ReasonCode.HTTP_MEDIA_TYPE
            )
        notes.append("media type")
    body = await request.body(options.max_body_bytes)
    csr_der = codec.decode_enroll_body(body, lenient=options.lenient_body)
    if options.lenient_body and codec.body_form(body) is not BodyForm.BASE64:
        notes.append(codec.body_form(body).value)
    if notes:
        request.log["lenient_body"] = ", ".join(notes)
    return parse_csr(csr_der)


async def _submit(
    exchange: Exchange,
    csr: ParsedCsr,
    operation: Operation,
    presented: tuple[PresentedCredential, ...],
    *,
    renews_der: bytes | None = None,
) -> Outcome:
    request = exchange.request
    identity = _asked_identity(csr)
    key = verify_possession(csr)
    bound = exchange.options.challenge_password is ChallengeUse.BINDING
    enrolment = EnrolmentRequest(
        protocol=EST,
        endpoint=exchange.endpoint,
        operation=operation,
        correlation=Correlation(
            (csr.public_key.spki_der, _subject_part(identity.subject), _sans_part(identity.sans))
        ),
        identity=identity,
        key=key,
        remote=request.remote(exchange.operation),
        presented=presented,
        # A CSR that may hold a secret in clear must not come into the record.
        csr_der=csr.csr_der if bound or csr.challenge_password is None else None,
        renews_der=renews_der,
        linking=linking_of(
            csr.challenge_password if bound else None, request.tls, exchange.options.tls13_linking
        ),
    )
    (outcome,) = await exchange.services.enrolments.submit((enrolment,))
    return outcome


def _check_same_names(current: ParsedCertificate, csr: ParsedCsr) -> None:
    # RFC 7030 section 4.2.2: subject and subjectAltName must be those of the certificate that is renewed;
    # new ones go into the ChangeSubjectName attribute. A CSR without SAN is left to policy.
    if not names_match(current.subject, csr.subject):
        raise GatewayError(
            f'the subject "{csr.subject}" differs from that of the certificate to renew, "{current.subject}"'
            "; new names are asked for by the ChangeSubjectName attribute",
            code=ReasonCode.RENEWAL_NAMES_DIFFER,
            path="identity.subject",
        )
    if csr.identity.sans and not san_sets_match(current.sans, csr.identity.sans):
        raise GatewayError(
            f"the alternative names {_listed(csr.identity.sans)} differ from those of the certificate to "
            f"renew, {_listed(current.sans)}; new names are asked for by the ChangeSubjectName attribute",
            code=ReasonCode.RENEWAL_NAMES_DIFFER,
            path="identity.sans",
        )


def _asked_identity(csr: ParsedCsr) -> RequestedIdentity:
    change = csr.change_subject_name
    if change is None:
        return csr.identity
    return replace(
        csr.identity,
        subject=change.subject if change.subject is not None else csr.subject,
        sans=change.sans or csr.identity.sans,
    )


def _subject_part(subject: DistinguishedName) -> bytes:
    """Equal for names that RFC 5280 section 7.1 holds equal: a rebuilt CSR finds its request again."""
    rdns = (
        "+".join(sorted(f"{a.oid}={' '.join(a.value.casefold().split())!r}" for a in rdn))
        for rdn in subject.rdns
    )
    return ",".join(rdns).encode("utf-8", "backslashreplace")


def _sans_part(sans: tuple[GeneralName, ...]) -> bytes:
    return b"".join(sorted({name.der for name in sans}))


def _is_self_issued(certificate: ParsedCertificate) -> bool:
    return names_match(certificate.subject, certificate.issuer)


def _listed(sans: Sequence[GeneralName]) -> str:
    shown = ", ".join(map(str, sans[:5])) or "(none)"
    return f"{shown} and {len(sans) - 5} more" if len(sans) > 5 else shown
