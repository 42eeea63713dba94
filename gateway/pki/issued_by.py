"""Whether one certificate signed another (RFC 5280 section 6.1.3 (a)(1), (a)(4)); dates do not count."""

from __future__ import annotations

from gateway.errors import MalformedMessage
from gateway.pki import der
from gateway.pki.certificate import ParsedCertificate
from gateway.pki.keys import read_key
from gateway.pki.names import names_match
from gateway.pki.signatures import read_signature_algorithm, verify_signature


def verify_issued_by(certificate: ParsedCertificate, issuer: ParsedCertificate) -> None:
    """Raise MalformedMessage unless ``issuer`` is a CA, named as the issuer, and its key signed this."""
    if not issuer.is_ca:
        raise MalformedMessage(f"{issuer.subject} is no CA certificate")
    if certificate.issuer_der != issuer.subject_der and not names_match(certificate.issuer, issuer.subject):
        raise MalformedMessage(f"its issuer {certificate.issuer} is not the CA {issuer.subject}")
    source = certificate.certificate_der
    _, start, end = der.read_tlv(source)
    (_, tbs_start, _, tbs_end), algorithm, signature = der.children(source, start, end)
    described, key = read_key(issuer.spki_der)
    # RFC 5280 4.1.1.3: a BIT STRING of whole octets
    if key is None or source[signature[2] : signature[2] + 1] != b"\0":
        raise MalformedMessage(f"its signature by {issuer.subject} cannot be verified")
    try:
        verify_signature(
            read_signature_algorithm(source, algorithm[2], algorithm[3]),
            key,
            described,
            source[signature[2] + 1 : signature[3]],
            source[tbs_start:tbs_end],
        )
    except MalformedMessage as error:
        raise MalformedMessage(
            f"{issuer.subject} did not sign it", code=error.code, detail=error.detail or str(error)
        ) from error
