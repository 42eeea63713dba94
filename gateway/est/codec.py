"""EST bodies <-> DER (RFC 7030 section 4 as updated by RFC 8951 section 3), for either side. Sans-IO.

Every function is linear in its input; the caller bounds the size. The only error raised is MalformedMessage.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from enum import Enum

from gateway.errors import MalformedMessage
from gateway.est.csrattrs import CsrAttrs, encode_csrattrs
from gateway.est.csrattrs_decode import decode_csrattrs
from gateway.model.reasons import ReasonCode
from gateway.pki.cms import certs_only, read_certs_only

PKCS10 = "application/pkcs10"
CERTS_ONLY = "application/pkcs7-mime; smime-type=certs-only"
CSRATTRS_TYPE = "application/csrattrs"

_WHITE_SPACE = b" \t\r\n\v\f"
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]")
_PEM_BEGIN = b"-----BEGIN "
_PEM_CSR = re.compile(
    rb"-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----([^-]*)-----END (?:NEW )?CERTIFICATE REQUEST-----"
)
_PEM_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_PEM_CONTENTS = {"CERTIFICATE": "a certificate", "PKCS7": "a PKCS #7 message"}
# curl sends the word itself where the @ before a file's name was forgotten
_FILE_NAME = re.compile(rb"@?[\w~./-]{1,200}\.[A-Za-z][A-Za-z0-9]{1,7}")
_DER_SEQUENCE = 0x30


class BodyForm(Enum):
    """How a body is written. Only base64 is what RFC 8951 section 3 asks for."""

    EMPTY = "empty"
    BASE64 = "base64"
    PEM = "pem"
    DER = "der"


def body_form(body: bytes) -> BodyForm:
    """Judge by the first octets; a DER SEQUENCE begins with "0", so there the second one decides."""
    head = body[:64].lstrip(_WHITE_SPACE)
    if not head:
        return BodyForm.BASE64 if body.strip(_WHITE_SPACE) else BodyForm.EMPTY
    if head.startswith(_PEM_BEGIN):
        return BodyForm.PEM
    # 0x30 is also the base64 digit "0"; a CSR's base64 begins with "M", and DER of more than 127 bytes goes
    # on with 0x81..0x84, which is no base64 digit.
    if body[0] == _DER_SEQUENCE and len(body) > 1 and _NOT_BASE64.match(body, 1):
        return BodyForm.DER
    return BodyForm.BASE64


def decode_enroll_body(body: bytes, *, lenient: bool = False) -> bytes:
    """Give the DER of the CSR in an enrolment body (RFC 7030 section 4.2.1, RFC 8951 section 3.1).

    ``lenient`` also takes PEM and bare DER. The DER itself is not looked into.
    """
    match body_form(body):
        case BodyForm.EMPTY:
            raise MalformedMessage(
                "the body is empty; a base64 PKCS#10 request belongs there", code=ReasonCode.MESSAGE_EMPTY
            )
        case BodyForm.PEM:
            return _from_pem(body, lenient=lenient)
        case BodyForm.DER:
            if lenient:
                return body
            raise MalformedMessage(
                "the body is bare DER; send its base64 (openssl base64 -in request.der)",
                code=ReasonCode.MESSAGE_BASE64,
            )
        case BodyForm.BASE64:
            try:
                csr_der = decode_base64(body)
            except MalformedMessage:
                _refuse_file_name(body)
                if _PEM_LABEL.search(body):  # behind explaining text, as `openssl req -text` writes it
                    return _from_pem(body, lenient=lenient)
                raise
            return _from_pem(csr_der, lenient=lenient) if csr_der.startswith(_PEM_BEGIN) else csr_der


def encode_enroll_body(csr_der: bytes, columns: int | None = 64) -> bytes:
    """Write a CSR as an enrolment body: the client side, for tests and an EST server upstream."""
    return encode_base64(csr_der, columns)


def encode_certs_only(certificates: Sequence[bytes], columns: int | None = 64) -> bytes:
    """Write DER certificates as a base64 certs-only message (RFC 7030 section 4.1.3), order kept."""
    return encode_base64(certs_only(certificates), columns)


def decode_certs_only(body: bytes) -> tuple[bytes, ...]:
    """Give the DER certificates of a base64 certs-only message: the client side, as above."""
    return read_certs_only(decode_base64(body))


def encode_csrattrs_body(attributes: CsrAttrs, columns: int | None = 64) -> bytes:
    """Write CsrAttrs as base64 DER (RFC 7030 section 4.5.2, RFC 8951 section 4)."""
    return encode_base64(encode_csrattrs(attributes), columns)


def decode_csrattrs_body(body: bytes) -> CsrAttrs:
    """Read a base64 CsrAttrs body: the client side, as above."""
    return decode_csrattrs(decode_base64(body))


def encode_base64(content: bytes, columns: int | None) -> bytes:
    """Base64 in lines of ``columns`` characters, each ended by LF; None gives one line without any."""
    text = binascii.b2a_base64(content, newline=False)
    if columns is None:
        return text
    return b"\n".join([text[start : start + columns] for start in range(0, len(text), columns)] + [b""])


def decode_base64(body: bytes) -> bytes:
    """Decode base64 with any ASCII white space in it and nothing else besides (RFC 4648 section 4)."""
    text = body.translate(None, _WHITE_SPACE)
    if not text:
        raise MalformedMessage("the body is empty", code=ReasonCode.MESSAGE_EMPTY)
    try:
        content = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise MalformedMessage(_base64_fault(text), code=ReasonCode.MESSAGE_BASE64) from error
    if len(text) != (len(content) + 2) // 3 * 4:  # strict_mode passes over superfluous "=" at the end
        raise MalformedMessage(_base64_fault(text), code=ReasonCode.MESSAGE_BASE64)
    return content


def _base64_fault(text: bytes) -> str:
    stranger = _NOT_BASE64.search(text)
    if stranger is None:
        return "the body is not whole base64: its padding or its end is wrong"
    octet = stranger[0][0]
    shown = f"{chr(octet)!r}" if 0x20 < octet < 0x7F else f"byte 0x{octet:02x}"
    advice = "; base64url is not base64" if octet in b"-_" else ""
    return f"the body is not base64: {shown} stands at character {stranger.start() + 1}{advice}"


def _refuse_file_name(body: bytes) -> None:
    if len(body) <= 255 and _FILE_NAME.fullmatch(name := body.strip(_WHITE_SPACE)):
        raise MalformedMessage(
            f"the body is {name.decode()!r}, which looks like a file's name; send what is in the file "
            f"(curl: --data-binary @{name.decode().lstrip('@')})",
            code=ReasonCode.MESSAGE_BASE64,
        )


def _from_pem(text: bytes, *, lenient: bool) -> bytes:
    if lenient:
        return _pem_csr(text)
    raise _pem_refused(text)


def _pem_refused(text: bytes) -> MalformedMessage:
    other = _other_pem(text)
    if other:
        advice = (
            f"this is {other}; send the CSR (BEGIN CERTIFICATE REQUEST), only the base64 between its lines"
        )
    else:
        advice = "the body is PEM; send only the base64 between the BEGIN and END lines"
    return MalformedMessage(advice, code=ReasonCode.MESSAGE_PEM)


def _other_pem(text: bytes) -> str:
    """What a PEM text holds if its first block is no request, else nothing."""
    found = _PEM_LABEL.search(text)
    label = found[1].decode() if found is not None else "CERTIFICATE REQUEST"
    if label.endswith("CERTIFICATE REQUEST"):
        return ""
    if label.endswith("PRIVATE KEY"):
        return "a private key, which must stay with you"
    return _PEM_CONTENTS.get(label, "PEM of another kind")


def _pem_csr(text: bytes) -> bytes:
    blocks = _PEM_CSR.findall(text)
    if not blocks and _other_pem(text):
        raise _pem_refused(text)
    if len(blocks) != 1 or text.count(_PEM_BEGIN) != 1:
        raise MalformedMessage(
            "the PEM text does not hold exactly one CERTIFICATE REQUEST", code=ReasonCode.MESSAGE_PEM
        )
    return decode_base64(blocks[0])
