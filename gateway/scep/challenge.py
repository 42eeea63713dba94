"""The challengePassword of a CSR (RFC 2985 section 5.4.1, RFC 8894 section 7.3) as text."""

from __future__ import annotations

from dataclasses import replace

from gateway.asn1 import der
from gateway.errors import MalformedMessage
from gateway.model.enrolment import RequestedIdentity
from gateway.model.evidence import SecretBytes
from gateway.pki.csr import ParsedCsr
from gateway.pki.oids import CHALLENGE_PASSWORD

# A DirectoryString, and what else clients write; all others are taken for UTF-8.
_CODECS = {
    0x14: "latin-1",  # TeletexString: nobody means T.61 by it
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}


def challenge_of(csr: ParsedCsr) -> SecretBytes | None:
    """The challenge as UTF-8, None where the CSR holds none.

    Also found where some clients put it: among the requested extensions.
    """
    if csr.challenge_password is not None:
        return _secret(csr.challenge_password_tag, csr.challenge_password)
    for extension in csr.identity.extensions:
        if extension.oid == CHALLENGE_PASSWORD:
            return _secret(*_string(extension.value_der))
    return None


def identity_without_challenge(csr: ParsedCsr) -> RequestedIdentity:
    """What the CSR asks for, without a challenge among the extensions: no policy and no record sees it."""
    extensions = csr.identity.extensions
    kept = tuple(extension for extension in extensions if extension.oid != CHALLENGE_PASSWORD)
    return csr.identity if len(kept) == len(extensions) else replace(csr.identity, extensions=kept)


def _string(value_der: bytes) -> tuple[int | None, bytes]:
    """Tag and content of a string, also one in the SET of an attribute; else the octets as they are."""
    try:
        tag, start, end = der.read_tlv(value_der)
        if tag == der.SET and end == len(value_der):
            tag, start, end = der.read_tlv(value_der, start, end)
    except MalformedMessage:
        return None, value_der
    return (tag, value_der[start:end]) if end == len(value_der) else (None, value_der)


def _secret(tag: int | None, octets: bytes) -> SecretBytes:
    codec = _CODECS.get(tag or 0)
    if codec is None:
        return SecretBytes(octets)
    try:
        return SecretBytes(octets.decode(codec).encode("utf-8"))
    except UnicodeError:
        return SecretBytes(octets)
