"""``gateway.asn1.cms.read_signed_data`` and the verification of what it gives."""

from __future__ import annotations

from contextlib import suppress

from gateway.asn1 import cms
from gateway.errors import MalformedMessage
from gateway.pki.cms_signed import DIGESTS, find_certificate, verify_signer


def one_input(octets: bytes) -> None:
    with suppress(MalformedMessage):
        signed = cms.read_signed_data(octets)
        for signer in signed.signers:
            with suppress(MalformedMessage):
                verify_signer(signed, signer, find_certificate(signed.certificates_der, signer.sid), DIGESTS)
