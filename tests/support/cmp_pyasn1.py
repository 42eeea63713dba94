"""PKIMessages built and read by pyasn1-alt-modules: a second opinion on every structure of CMP and CRMF."""

from __future__ import annotations

from typing import Any

from pyasn1.codec.der import decoder, encoder
from pyasn1.type import univ
from pyasn1_alt_modules import rfc5280, rfc9810

from tests.support import pki

EMPTY_NAME = b"\x30\x00"


def der(value: Any) -> bytes:
    return bytes(encoder.encode(value))


def read(octets: bytes, spec: Any) -> Any:
    """Decode all of it as this type, and see that it is DER."""
    value, rest = decoder.decode(octets, asn1Spec=spec)
    assert not rest
    assert der(value) == octets
    return value


def general_name(name_der: bytes = EMPTY_NAME) -> Any:
    name = rfc5280.GeneralName()
    name["directoryName"]["rdnSequence"] = read(name_der, rfc5280.RDNSequence())
    return name


def algorithm(oid: str, parameters_der: bytes | None = None) -> Any:
    value = rfc5280.AlgorithmIdentifier()
    value["algorithm"] = oid
    if parameters_der is not None:
        value["parameters"] = univ.Any(parameters_der)
    return value


def header(**fields: Any) -> Any:
    """A PKIHeader; keywords are the RFC's field names, with pyasn1's or plain Python values."""
    value = rfc9810.PKIHeader()
    value["pvno"] = fields.pop("pvno", 2)
    value["sender"] = fields.pop("sender", general_name())
    value["recipient"] = fields.pop("recipient", general_name())
    for name, content in fields.items():
        if name == "protectionAlg":
            value[name]["algorithm"] = content["algorithm"]
            if content["parameters"].isValue:
                value[name]["parameters"] = content["parameters"]
        elif name in {"freeText", "generalInfo"}:
            value[name].extend(content)
        else:
            value[name] = content
    return value


def info(oid: str, value_der: bytes | None = None) -> Any:
    value = rfc9810.InfoTypeAndValue()
    value["infoType"] = oid
    if value_der is not None:
        value["infoValue"] = univ.Any(value_der)
    return value


BODY_NAMES = tuple(rfc9810.PKIBody.componentType)


def message(header_value: Any, body_name: str, content_der: bytes, *further: bytes) -> bytes:
    """A PKIMessage with this body; checked by reading it as what its type says."""
    octets = pki.tlv(
        0x30, der(header_value), pki.tlv(0xA0 | BODY_NAMES.index(body_name), content_der), *further
    )
    assert read(octets, rfc9810.PKIMessage())["body"].getName() == body_name
    return octets
