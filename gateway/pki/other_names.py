"""otherName (RFC 5280 section 4.2.1.6): user principal names, hardware modules, internationalised mailboxes.

Each type is read strictly and written anew from what was read. Of other types nothing is known but their DER.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from gateway.asn1 import der
from gateway.errors import MalformedMessage
from gateway.model.names import GeneralName, NameKind
from gateway.pki.name_syntax import malformed_name, normal_dns, shown
from gateway.pki.oids import oid_der, read_oid

UPN = "1.3.6.1.4.1.311.20.2.3"  # szOID_NT_PRINCIPAL_NAME (MS-WCCE): a UTF8String
HARDWARE_MODULE_NAME = "1.3.6.1.5.5.7.8.4"  # id-on-hardwareModuleName (RFC 4108 section 5)
SMTP_UTF8_MAILBOX = "1.3.6.1.5.5.7.8.9"  # id-on-SmtpUTF8Mailbox (RFC 9598 section 3)
OTHER_NAMES: dict[str, str] = {
    "upn": UPN,
    "hardwareModuleName": HARDWARE_MODULE_NAME,
    "smtpUTF8Mailbox": SMTP_UTF8_MAILBOX,
}
OTHER_NAME_TYPES: dict[str, str] = {type_id: name for name, type_id in OTHER_NAMES.items()}

_OTHER_NAME, _VALUE = 0xA0, 0xA0  # [0] IMPLICIT of GeneralName, [0] EXPLICIT of the value inside
_MAX_UPN_CHARACTERS = 256
_MAX_LOCAL_OCTETS = 64  # RFC 5321 section 4.5.3.1.1
_MAX_HARDWARE_SERIAL_OCTETS = 64
_NO_UPN_PREFIX = re.compile(r'[\s"/\\\[\]:;|=,+*?<>@]')  # MS-ADTS 5.1.1.1.1: not in an account name
_SERIAL_TEXT = re.compile(rb"[!-\"$-~][!-~]*")  # printable and not beginning with the # of hexadecimal
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_UTF8_LOCAL_PART = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")  # RFC 6531 section 3.3, dot-string


@dataclass(frozen=True, slots=True)
class OtherName:
    """``type_id`` dotted, ``value_der`` the one TLV under tag [0]."""

    type_id: str
    value_der: bytes


@dataclass(frozen=True, slots=True)
class HardwareModule:
    """A hardwareModuleName: the type of the hardware (an OID, dotted) and its serial number."""

    hw_type: str
    serial: bytes

    @property
    def serial_text(self) -> str:
        """The serial number as text, or ``#`` and hexadecimal where it is none; no two serials share one."""
        if _SERIAL_TEXT.fullmatch(self.serial):
            return self.serial.decode("ascii")
        return "#" + self.serial.hex()


def read_other_name(content: bytes) -> OtherName:
    """Read the content of an otherName, behind its tag. Raises MalformedMessage."""
    tag, start, stop = der.read_tlv(content)
    if tag != der.OID or stop == len(content):
        raise malformed_name("an otherName must hold an object identifier and a value")
    value_tag, value_start, value_end = der.read_tlv(content, stop)
    if value_tag != _VALUE or value_end != len(content) or der.read_tlv(content, value_start)[2] != value_end:
        raise malformed_name("an otherName must hold exactly one value under tag [0]")
    return OtherName(read_oid(content[start:stop]), content[value_start:value_end])


def other_name_of(name: GeneralName) -> OtherName:
    """Read a GeneralName of the kind OTHER from its DER. Raises MalformedMessage."""
    tag, start, stop = der.read_tlv(name.der)
    if tag != _OTHER_NAME or stop != len(name.der):
        raise malformed_name("this is no otherName")
    return read_other_name(name.der[start:stop])


def other_name(type_id: str, value_der: bytes) -> GeneralName:
    """An otherName of any type around a value in DER."""
    made = der.tlv(_OTHER_NAME, oid_der(type_id) + der.tlv(_VALUE, value_der))
    return GeneralName(NameKind.OTHER, other_name_text(OtherName(type_id, value_der)), made)


def other_name_text(name: OtherName) -> str:
    """``OID=text`` for a type whose values are texts and a value that is one, else the OID alone."""
    try:
        match name.type_id:
            case str(type_id) if type_id == UPN:
                text = read_upn(name.value_der)
            case str(type_id) if type_id == SMTP_UTF8_MAILBOX:
                text = read_smtp_utf8_mailbox(name.value_der)
            case str(type_id) if type_id == HARDWARE_MODULE_NAME:
                module = read_hardware_module(name.value_der)
                text = f"{module.hw_type}/{module.serial_text}"
            case _:
                return name.type_id
    except MalformedMessage:
        return name.type_id
    return f"{name.type_id}={text}"


def read_upn(value_der: bytes) -> str:
    """``user@suffix`` with the suffix in lower-case A-labels. Raises MalformedMessage."""
    text = _utf8_string(value_der, "a user principal name")
    prefix, at, suffix = text.rpartition("@")
    if (
        not at
        or not prefix
        or len(text) > _MAX_UPN_CHARACTERS
        or not prefix.isprintable()
        or _NO_UPN_PREFIX.search(prefix)
    ):
        raise malformed_name(f"{shown(text)} is no user principal name of the form user@suffix")
    return f"{prefix}@{_host(suffix)}"


def upn_name(text: str) -> GeneralName:
    """A user principal name. Raises MalformedMessage."""
    return other_name(UPN, _utf8(read_upn(_utf8(text))))


def read_smtp_utf8_mailbox(value_der: bytes) -> str:
    """A mailbox whose local part is not ASCII alone, its domain in lower-case A-labels.

    RFC 9598 section 3: one that is ASCII must be an rfc822Name instead. Raises MalformedMessage.
    """
    text = _utf8_string(value_der, "a SmtpUTF8Mailbox")
    local, at, domain = text.rpartition("@")
    if not at or local.isascii() or len(local.encode()) > _MAX_LOCAL_OCTETS:
        raise malformed_name(f"{shown(text)} is no mailbox with a local part beyond ASCII; use rfc822Name")
    if not (_UTF8_LOCAL_PART.fullmatch(local) and local.isprintable()):
        raise malformed_name(f"{shown(text)} is no mailbox of the form local@domain")
    if unicodedata.normalize("NFC", local) != local:
        raise malformed_name(f"the local part of {shown(text)} is not in normal form C (RFC 9598 section 4)")
    return f"{local}@{_host(domain)}"


def smtp_utf8_name(text: str) -> GeneralName:
    """A SmtpUTF8Mailbox. Raises MalformedMessage."""
    return other_name(SMTP_UTF8_MAILBOX, _utf8(read_smtp_utf8_mailbox(_utf8(text))))


def read_hardware_module(value_der: bytes) -> HardwareModule:
    """HardwareModuleName ::= SEQUENCE { hwType OBJECT IDENTIFIER, hwSerialNum OCTET STRING }.

    Raises MalformedMessage.
    """
    tag, start, end = der.read_tlv(value_der)
    if tag != der.SEQUENCE or end != len(value_der):
        raise malformed_name("a hardwareModuleName must be one SEQUENCE")
    parts = der.children(value_der, start, end)
    if [part[0] for part in parts] != [der.OID, der.OCTET_STRING]:
        raise malformed_name("a hardwareModuleName must hold the type of the hardware and its serial number")
    (_, _, oid_start, oid_end), (_, _, serial_start, serial_end) = parts
    serial = value_der[serial_start:serial_end]
    if not 1 <= len(serial) <= _MAX_HARDWARE_SERIAL_OCTETS:
        raise malformed_name(
            f"the serial number of a hardwareModuleName has {len(serial)} octets; it must have 1 to "
            f"{_MAX_HARDWARE_SERIAL_OCTETS}"
        )
    return HardwareModule(read_oid(value_der[oid_start:oid_end]), serial)


def hardware_module_name(module: HardwareModule) -> GeneralName:
    """A hardwareModuleName."""
    value = der.sequence(oid_der(module.hw_type), der.tlv(der.OCTET_STRING, module.serial))
    return other_name(HARDWARE_MODULE_NAME, value)


def _utf8_string(value_der: bytes, what: str) -> str:
    tag, start, end = der.read_tlv(value_der)
    if tag != der.UTF8_STRING or end != len(value_der):
        raise malformed_name(f"{what} must be one UTF8String")
    try:
        return value_der[start:end].decode("utf-8")
    except UnicodeDecodeError as exc:
        raise malformed_name(f"{what} is not valid UTF-8") from exc


def _utf8(text: str) -> bytes:
    try:
        return der.tlv(der.UTF8_STRING, text.encode("utf-8"))
    except UnicodeEncodeError as exc:
        raise malformed_name(f"{shown(text)} is no Unicode text") from exc


def _host(domain: str) -> str:
    host = normal_dns(domain)
    if host.startswith("*"):
        raise malformed_name(f"the domain {shown(domain)} has a wildcard")
    return host
