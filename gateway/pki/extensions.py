"""Lists of X.509 extensions, as certificates and extension requests hold them (RFC 5280 section 4.2)."""

from __future__ import annotations

from gateway.errors import MalformedMessage
from gateway.model.enrolment import Extension
from gateway.pki import der
from gateway.pki.oids import read_oid

MAX_EXTENSIONS = 100  # far more than any certificate in use has


def read_extensions(source: bytes, start: int, end: int) -> tuple[Extension, ...]:
    """Read the content of an Extensions' SEQUENCE between two offsets.

    RFC 5280 4.2: at least one, and no type twice. Raises MalformedMessage.
    """
    if start == end:
        raise MalformedMessage("an empty list of extensions; leave it out instead")
    tlvs = der.children(source, start, end)
    if len(tlvs) > MAX_EXTENSIONS:
        raise MalformedMessage(f"there are {len(tlvs)} extensions; at most {MAX_EXTENSIONS} are read")
    extensions: dict[str, Extension] = {}
    for tlv in tlvs:
        extension = _read_extension(source, *tlv)
        if extension.oid in extensions:
            raise MalformedMessage(f"the extension {extension.oid} stands there twice")
        extensions[extension.oid] = extension
    return tuple(extensions.values())


def _read_extension(source: bytes, tag: int, _: int, start: int, end: int) -> Extension:
    if tag != der.SEQUENCE:
        raise MalformedMessage("an extension must be a SEQUENCE")
    oid_tag, oid_start, oid_end = der.read_tlv(source, start, end)
    if oid_tag != der.OID:
        raise MalformedMessage("an extension must start with its object identifier")
    oid = read_oid(source[oid_start:oid_end])
    critical = False
    value_tag, value_start, value_end = der.read_tlv(source, oid_end, end)
    if value_tag == der.BOOLEAN:
        # X.690 11.1 and 11.5 forbid other TRUEs; a written-out FALSE is wrong too, but Java tools do it
        octets = source[value_start:value_end]
        if octets not in (b"\xff", b"\x00"):
            raise MalformedMessage(f"the critical flag of the extension {oid} is no DER BOOLEAN")
        critical = octets == b"\xff"
        value_tag, value_start, value_end = der.read_tlv(source, value_end, end)
    if value_tag != der.OCTET_STRING or value_end != end:
        raise MalformedMessage(f"the extension {oid} must end with its value in one OCTET STRING")
    return Extension(oid, critical, source[value_start:value_end])
