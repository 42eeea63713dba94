"""Signatures of certificates by their issuers, good and bad."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import MalformedMessage
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.pki.issued_by import verify_issued_by
from tests.support import pki


def _parsed(authority: pki.Authority) -> ParsedCertificate:
    return parse_certificate(authority.certificate.public_bytes(Encoding.DER))


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "Ed25519", "ML-DSA-44"])
def test_certificate_of_the_ca_is_taken(kind: str) -> None:
    authority = pki.Authority(kind=kind, private_key=pki.shared_key(kind))
    leaf = parse_certificate(authority.issue(sans=["a.test"]).certificate_der)
    verify_issued_by(leaf, _parsed(authority))
    verify_issued_by(_parsed(authority), _parsed(authority))


def test_certificate_of_an_impostor_is_refused() -> None:
    authority = pki.Authority("Real")
    forged = pki.impostor(authority.certificate.public_bytes(Encoding.DER)).issue()
    with pytest.raises(MalformedMessage, match="did not sign it"):
        verify_issued_by(parse_certificate(forged.certificate_der), _parsed(authority))


def test_certificate_that_was_changed_is_refused() -> None:
    authority = pki.Authority("Real")
    der = authority.issue(sans=["a.test"]).certificate_der
    changed = der.replace(b"a.test", b"b.test")
    with pytest.raises(MalformedMessage, match="did not sign it"):
        verify_issued_by(parse_certificate(changed), _parsed(authority))


def test_certificate_with_another_issuer_name_is_refused() -> None:
    leaf = parse_certificate(pki.Authority("One").issue().certificate_der)
    with pytest.raises(MalformedMessage, match="is not the CA"):
        verify_issued_by(leaf, _parsed(pki.Authority("Two")))


def test_certificate_signed_by_an_end_entity_is_refused() -> None:
    authority = pki.Authority("Real")
    end_entity = authority.issue(cn="not a ca")
    rogue = pki.Authority(subject=end_entity.certificate.subject, private_key=end_entity.private_key)
    leaf = parse_certificate(rogue.issue().certificate_der)
    with pytest.raises(MalformedMessage, match="is no CA"):
        verify_issued_by(leaf, parse_certificate(end_entity.certificate_der))
