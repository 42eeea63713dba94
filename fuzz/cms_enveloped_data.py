"""``gateway.asn1.cms.read_enveloped_data`` and decryption by a key of the tests."""

from __future__ import annotations

from contextlib import suppress

from fuzz.scep_message import IDENTITY
from gateway.asn1 import cms
from gateway.errors import MalformedMessage
from gateway.pki import cms_enveloped


def one_input(octets: bytes) -> None:
    with suppress(MalformedMessage):
        enveloped = cms.read_enveloped_data(octets)
        found = cms_enveloped.find_recipient(enveloped, [IDENTITY.certificate_der])
        # Those that are addressed to somebody else are tried as well, for the sake of the code behind
        for recipient in (*enveloped.recipients[:1], *((found[1],) if found else ())):
            cms_enveloped.check_algorithms(enveloped, recipient, cms_enveloped.CIPHERS)
            cms_enveloped.decrypt(enveloped, recipient, IDENTITY.signer)
