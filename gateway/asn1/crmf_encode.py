"""Writing of certificate requests (RFC 4211): what ``crmf`` reads. Signatures are made elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.asn1 import der
from gateway.asn1.cmp import bit_string, time
from gateway.asn1.crmf import (
    CertId,
    CertTemplate,
    Control,
    KeyUse,
    PkMacValue,
    PrivateKeyPop,
    ProofOfPossession,
    RaVerified,
    SigningKeyPop,
)


def encode_cert_req_messages(requests_der: Iterable[bytes]) -> bytes:
    """Write the body of an ir, cr, kur, krr or ccr around whole CertReqMsgs."""
    return der.sequence(*requests_der)


def encode_cert_req_msg(
    cert_req_der: bytes, pop: ProofOfPossession | None, reg_info: Iterable[Control] = ()
) -> bytes:
    """Write one CertReqMsg."""
    return der.sequence(cert_req_der, b"" if pop is None else _encode_pop(pop), encode_controls(reg_info))


def encode_cert_request(cert_req_id: int, template: CertTemplate, controls: Iterable[Control] = ()) -> bytes:
    """Write a CertRequest: what a proof of possession is made over."""
    return der.sequence(der.integer(cert_req_id), encode_template(template), encode_controls(controls))


def encode_template(template: CertTemplate) -> bytes:
    """Write a CertTemplate."""
    validity = b"".join(
        der.tlv(tag, time(moment))
        for tag, moment in ((0xA0, template.not_before), (0xA1, template.not_after))
        if moment is not None
    )
    fields = (
        (0x80, None if template.version is None else _integer_content(template.version)),
        (0x81, None if template.serial_number is None else _integer_content(template.serial_number)),
        (0xA2, _content(template.signing_alg_der)),
        (0xA3, template.issuer_der),
        (0xA4, validity or None),
        (0xA5, template.subject_der),
        (0xA6, _content(template.public_key_der)),
        (0x87, template.issuer_uid),
        (0x88, template.subject_uid),
        (0xA9, _content(template.extensions_der)),
    )
    return der.sequence(*(der.tlv(tag, content) for tag, content in fields if content is not None))


def encode_signing_key_input(authenticator: bytes | PkMacValue, public_key_der: bytes) -> bytes:
    """Write a POPOSigningKeyInput with its own tag, as it is signed; the sender is a whole GeneralName."""
    if isinstance(authenticator, PkMacValue):
        first = der.sequence(authenticator.algorithm_der, bit_string(authenticator.mac))
    else:
        first = der.tlv(0xA0, authenticator)
    return der.sequence(first, public_key_der)


def encode_cert_id(cert_id: CertId) -> bytes:
    """Write a CertId."""
    return der.sequence(cert_id.issuer_der, der.integer(cert_id.serial_number))


def encode_controls(controls: Iterable[Control]) -> bytes:
    """Write Controls or regInfo; nothing at all if there are none."""
    controls = tuple(controls)
    if not controls:
        return b""
    return der.sequence(*(der.sequence(der.oid(control.oid), control.value_der) for control in controls))


def _encode_pop(pop: ProofOfPossession) -> bytes:
    match pop:
        case RaVerified():
            return der.tlv(0x80, b"")
        case SigningKeyPop():
            key_input = b""
            if pop.input is not None:
                key_input = der.tlv(0xA0, _content(pop.input.signed_der) or b"")
            return der.tlv(0xA1, key_input + pop.algorithm_der + bit_string(pop.signature))
        case PrivateKeyPop():
            return der.tlv(0xA2 if pop.use is KeyUse.KEY_ENCIPHERMENT else 0xA3, pop.value_der)


def _integer_content(number: int) -> bytes:
    encoded = der.integer(number)
    return encoded[der.read_tlv(encoded)[1] :]


def _content(element: bytes | None) -> bytes | None:
    return None if element is None else element[der.read_tlv(element)[1] :]
