"""Object identifiers that this package reads, and their quick reading."""

from __future__ import annotations

from gateway.model.names import ATTRIBUTE_OIDS
from gateway.pki import der

BASIC_CONSTRAINTS = "2.5.29.19"
KEY_USAGE = "2.5.29.15"
EXTENDED_KEY_USAGE = "2.5.29.37"
SUBJECT_ALT_NAME = "2.5.29.17"
SUBJECT_KEY_IDENTIFIER = "2.5.29.14"
AUTHORITY_KEY_IDENTIFIER = "2.5.29.35"
ANY_EXTENDED_KEY_USAGE = "2.5.29.37.0"
CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"  # id-kp-clientAuth
SERVER_AUTH = "1.3.6.1.5.5.7.3.1"  # id-kp-serverAuth
CMC_RA = "1.3.6.1.5.5.7.3.28"  # id-kp-cmcRA

CHALLENGE_PASSWORD = "1.2.840.113549.1.9.7"  # noqa: S105  an object identifier (RFC 2985 section 5.4.1)
EXTENSION_REQUEST = "1.2.840.113549.1.9.14"  # RFC 2985 section 5.4.2
MICROSOFT_EXTENSION_REQUEST = "1.3.6.1.4.1.311.2.1.14"  # szOID_CERT_EXTENSIONS, same syntax
CHANGE_SUBJECT_NAME = "1.3.6.1.5.5.7.7.36"  # id-cmc-changeSubjectName (RFC 6402 section 2.8)

_RSA = "1.2.840.113549.1.1."
_FREQUENT = (
    *ATTRIBUTE_OIDS.values(),
    *(f"2.5.29.{arc}" for arc in (14, 15, 17, 18, 19, 30, 31, 32, 35, 36, 37)),
    *(f"1.3.6.1.5.5.7.3.{arc}" for arc in (1, 2, 3, 4, 8, 9, 17, 28)),
    "1.3.6.1.5.5.7.1.1",
    CHALLENGE_PASSWORD,
    EXTENSION_REQUEST,
    MICROSOFT_EXTENSION_REQUEST,
    CHANGE_SUBJECT_NAME,
    *(f"{_RSA}{arc}" for arc in (1, 5, 10, 11, 12, 13)),
    "1.2.840.10045.2.1",
    "1.2.840.10045.3.1.7",
    "1.3.132.0.34",
    "1.3.132.0.35",
    *(f"1.2.840.10045.4.3.{arc}" for arc in (2, 3, 4)),
    "1.3.101.112",
    "1.3.101.113",
    *(f"2.16.840.1.101.3.4.3.{arc}" for arc in (17, 18, 19)),
)
_DER_OF_TEXT = {dotted: der.oid(dotted) for dotted in _FREQUENT}
_TEXT_OF_CONTENT = {oid_der[2:]: dotted for dotted, oid_der in _DER_OF_TEXT.items()}


def read_oid(content: bytes) -> str:
    """The dotted form of an OBJECT IDENTIFIER's content octets. Raises MalformedMessage."""
    return _TEXT_OF_CONTENT.get(content) or der.oid_text(content)


def oid_der(dotted: str) -> bytes:
    """The whole TLV of an OBJECT IDENTIFIER. Raises ValueError if the text is none."""
    return _DER_OF_TEXT.get(dotted) or der.oid(dotted)
