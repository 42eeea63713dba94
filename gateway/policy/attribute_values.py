"""What the value of an attribute may be in any distinguished name that is signed (RFC 5280 appendix A.1)."""

from __future__ import annotations

from gateway.model.names import ATTRIBUTE_OIDS, AttributeTypeAndValue
from gateway.pki.name_syntax import shown

MAX_ATTRIBUTES = 50
USUAL_MAX_CHARACTERS = 64  # ub-common-name and most others
# RFC 5280 appendix A.1, and RFC 4519's attributes in their usual bounds
_MAX_CHARACTERS = {
    ATTRIBUTE_OIDS[name]: longest
    for name, longest in (
        *(("C", 2), ("L", 128), ("ST", 128), ("SN", 128), ("pseudonym", 128), ("emailAddress", 255)),
        *(("DC", 255), ("UID", 256), ("unstructuredName", 255), ("unstructuredAddress", 255)),
        *(("street", 128), ("description", 1024)),
    )
}
_KEPT_TAGS = frozenset({12, 19, 22})  # UTF8String, PrintableString, IA5String
_CHARACTER_STRINGS = frozenset({12, 18, 19, 20, 22, 26, 28, 30})  # tags of DirectoryString and its kin


def is_text(attribute: AttributeTypeAndValue) -> bool:
    """Whether the value is printable text with something to see in it."""
    value = attribute.value
    return attribute.tag in _CHARACTER_STRINGS and value.isprintable() and bool(value.strip())


def length_fault(attribute: AttributeTypeAndValue, label: str) -> str | None:
    """What is to be said of a value that is too long for its type."""
    longest = _MAX_CHARACTERS.get(attribute.oid, USUAL_MAX_CHARACTERS)
    if len(attribute.value) <= longest:
        return None
    length = len(attribute.value)
    return f"{label} {shown(attribute.value)} has {length} characters; at most {longest} are allowed"


def as_signed(attribute: AttributeTypeAndValue) -> AttributeTypeAndValue:
    """The attribute in a string type of today.

    RFC 5280 4.1.2.4: T61String, BMPString and the like are not to be used in new certificates.
    """
    if attribute.tag in _KEPT_TAGS:
        return attribute
    return AttributeTypeAndValue(attribute.oid, attribute.value)
