"""Read CSR attributes (RFC 7030 section 4.5.2, RFC 9908), for the client side: our tests now, an EST server
upstream later.

Strict DER; the only error raised is MalformedMessage. Attribute values are kept as they are.
"""

from __future__ import annotations

from gateway.errors import MalformedMessage
from gateway.est.csrattrs import (
    EXTENSION_REQUEST_TEMPLATE,
    REQUEST_INFO_TEMPLATE,
    CsrAttribute,
    CsrAttrs,
    ExtensionTemplate,
    RequestTemplate,
)
from gateway.pki import der
from gateway.pki.oids import EXTENSION_REQUEST, read_oid

_CONTEXT_0, _CONTEXT_1 = 0xA0, 0xA1
_Element = tuple[int, int, int, int]  # as der.children gives it: tag, start of TLV, start and end of content


def decode_csrattrs(csrattrs_der: bytes) -> CsrAttrs:
    """Read CsrAttrs; unknown OIDs and attributes are kept (RFC 7030 section 4.5.2)."""
    elements: list[str | CsrAttribute] = []
    for element in _content(csrattrs_der, "CSR attributes"):
        tag, _, content, stop = element
        elements.append(
            read_oid(csrattrs_der[content:stop]) if tag == der.OID else _attribute(csrattrs_der, element)
        )
    requests = [e for e in elements if isinstance(e, CsrAttribute) and e.oid == EXTENSION_REQUEST]
    if len(requests) > 1:
        # RFC 9908 section 3.2: there must be only one such attribute
        raise MalformedMessage("the CSR attributes hold several extension requests")
    return CsrAttrs(tuple(elements))


def request_template(attributes: CsrAttrs) -> RequestTemplate | None:
    """The template of RFC 9908 among the attributes, which then stands for all the others (section 4)."""
    found = [e for e in attributes.elements if isinstance(e, CsrAttribute) and e.oid == REQUEST_INFO_TEMPLATE]
    if not found:
        return None
    if len(found) > 1 or len(found[0].values_der) != 1:
        raise MalformedMessage("the CSR attributes do not hold exactly one request template")
    return decode_template(found[0].values_der[0])


def decode_template(template_der: bytes) -> RequestTemplate:
    """Read a CertificationRequestInfoTemplate (RFC 9908 section 3.4)."""
    elements = _content(template_der, "a certification request template")
    if not elements or template_der[elements[0][1] : elements[0][3]] != der.integer(0):
        raise MalformedMessage("the version of a certification request template must be 0")
    rest = elements[1:]
    subject, key = _optional(rest, der.SEQUENCE), _optional(rest, _CONTEXT_0)
    if len(rest) != 1 or rest[0][0] != _CONTEXT_1:
        raise MalformedMessage("the fields of the certification request template are not the right ones")
    attributes = [_attribute(template_der, e) for e in der.children(template_der, *rest[0][2:])]
    requests = [a for a in attributes if a.oid in (EXTENSION_REQUEST, EXTENSION_REQUEST_TEMPLATE)]
    if len(requests) > 1:
        raise MalformedMessage("the template holds several extension requests")
    algorithm, parameters, rsa_bits = _key(template_der, key) if key else (None, None, None)
    return RequestTemplate(
        subject=_subject(template_der, subject) if subject else (),
        key_algorithm=algorithm,
        key_parameters_der=parameters,
        rsa_bits=rsa_bits,
        extensions=_extensions(requests[0]) if requests else (),
        attributes=tuple(a for a in attributes if a not in requests),
    )


def _content(source: bytes, what: str) -> list[_Element]:
    der.check_shape(source)
    tag, start, end = der.read_tlv(source)
    if tag != der.SEQUENCE:
        raise MalformedMessage(f"this is no SEQUENCE, so these are no {what.removeprefix('a ')}")
    return der.children(source, start, end)


def _optional(elements: list[_Element], tag: int) -> _Element | None:
    return elements.pop(0) if elements and elements[0][0] == tag else None


def _attribute(source: bytes, element: _Element) -> CsrAttribute:
    fields = _fields(source, element, der.OID, der.SET)
    values = der.children(source, *fields[1][2:])
    return CsrAttribute(_oid(source, fields[0]), tuple(source[value[1] : value[3]] for value in values))


def _fields(source: bytes, element: _Element, *tags: int) -> list[_Element]:
    """The fields of a SEQUENCE that must have exactly these tags."""
    fields = der.children(source, *element[2:]) if element[0] == der.SEQUENCE else []
    if tuple(field[0] for field in fields) != tags:
        raise MalformedMessage(
            f"the ASN.1 structure at byte {element[1]} has not the fields that belong there"
        )
    return fields


def _oid(source: bytes, element: _Element) -> str:
    return read_oid(source[element[2] : element[3]])


def _subject(source: bytes, name: _Element) -> tuple[tuple[tuple[str, bytes | None], ...], ...]:
    rdns = der.children(source, *name[2:])
    if any(rdn[0] != der.SET for rdn in rdns):
        raise MalformedMessage("the subject of the template is no sequence of sets")
    return tuple(
        tuple(_single_attribute(source, single) for single in der.children(source, *rdn[2:])) for rdn in rdns
    )


def _single_attribute(source: bytes, element: _Element) -> tuple[str, bytes | None]:
    fields = der.children(source, *element[2:]) if element[0] == der.SEQUENCE else []
    if len(fields) not in (1, 2) or fields[0][0] != der.OID:
        raise MalformedMessage("an attribute in the template's subject is no type with at most one value")
    return _oid(source, fields[0]), source[fields[1][1] : fields[1][3]] if len(fields) == 2 else None


def _key(source: bytes, key: _Element) -> tuple[str, bytes | None, int | None]:
    fields = der.children(source, *key[2:])
    algorithm, placeholder = _optional(fields, der.SEQUENCE), _optional(fields, der.BIT_STRING)
    parts = der.children(source, *algorithm[2:]) if algorithm else []
    if fields or len(parts) not in (1, 2) or parts[0][0] != der.OID:
        raise MalformedMessage("the key of the template is no algorithm with at most a placeholder key")
    parameters = source[parts[1][1] : parts[1][3]] if len(parts) == 2 else None
    return _oid(source, parts[0]), parameters, _rsa_bits(source, placeholder) if placeholder else None


def _rsa_bits(source: bytes, placeholder: _Element) -> int:
    """Modulus length of the placeholder; RFC 9908 section 3.4 knows placeholders for RSA only."""
    tag, start, end = der.read_tlv(source, placeholder[2] + 1, placeholder[3])
    numbers = der.children(source, start, end) if tag == der.SEQUENCE else []
    if [number[0] for number in numbers] != [der.INTEGER, der.INTEGER]:
        raise MalformedMessage("the placeholder key of the template is no RSA key")
    return int.from_bytes(source[numbers[0][2] : numbers[0][3]], "big").bit_length()


def _extensions(request: CsrAttribute) -> tuple[ExtensionTemplate, ...]:
    if len(request.values_der) != 1:
        raise MalformedMessage("an extension request must have exactly one value")
    source = request.values_der[0]
    return tuple(_extension(source, element) for element in _content(source, "extensions"))


def _extension(source: bytes, element: _Element) -> ExtensionTemplate:
    fields = der.children(source, *element[2:]) if element[0] == der.SEQUENCE else []
    oid, critical = _optional(fields, der.OID), _optional(fields, der.BOOLEAN)
    value = _optional(fields, der.OCTET_STRING)
    if oid is None or fields:
        raise MalformedMessage("an extension of the template has not the fields that belong there")
    return ExtensionTemplate(
        _oid(source, oid),
        critical is not None and source[critical[2] : critical[3]] == b"\xff",
        source[value[2] : value[3]] if value else None,
    )
