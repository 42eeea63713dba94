"""otherName: user principal names, hardware modules and internationalised mailboxes, read strictly."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.asn1 import der
from gateway.errors import MalformedMessage
from gateway.model.names import GeneralName, NameKind
from gateway.pki.names import decode_general_names
from gateway.pki.other_names import (
    HARDWARE_MODULE_NAME,
    SMTP_UTF8_MAILBOX,
    UPN,
    HardwareModule,
    hardware_module_name,
    other_name,
    other_name_of,
    read_hardware_module,
    read_smtp_utf8_mailbox,
    read_upn,
    smtp_utf8_name,
    upn_name,
)


def utf8(text: str) -> bytes:
    return der.tlv(der.UTF8_STRING, text.encode())


def module(hw_type: str, serial: bytes) -> bytes:
    return der.sequence(der.oid(hw_type), der.tlv(der.OCTET_STRING, serial))


@pytest.mark.parametrize(
    "text", ["anna@corp.test", "Anna.Ek@corp", "zoë@xn--bcher-kva.test", "a b'c@d".replace(" ", "_")]
)
def test_user_principal_name_is_written_as_it_was_read(text: str) -> None:
    name = upn_name(text)
    assert str(name) == f"other:{UPN}={text}"
    assert decode_general_names(der.sequence(name.der)) == (name,)
    assert read_upn(other_name_of(name).value_der) == text


def test_domain_of_a_principal_is_lower_case_and_its_user_stays() -> None:
    assert upn_name("Anna@CORP.Test") == upn_name("Anna@corp.test")
    assert upn_name("Anna@corp.test") != upn_name("anna@corp.test")


BAD = {
    "ia5": (read_upn, der.tlv(der.IA5_STRING, b"a@b.test")),
    "two-values": (read_upn, utf8("a@b.test") * 2),
    "no-utf8": (read_upn, der.tlv(der.UTF8_STRING, b"\xff@b.test")),
    "no-at": (read_upn, utf8("anna")),
    "two-at": (read_upn, utf8("a@b@c.test")),
    "no-user": (read_upn, utf8("@b.test")),
    "null": (read_upn, utf8("a\0@b.test")),
    "bidi": (read_upn, utf8("a\u202e@b.test")),
    "blank": (read_upn, utf8("a b@c.test")),
    "wildcard-domain": (read_upn, utf8("a@*.test")),
    "star": (read_upn, utf8("*@b.test")),
    "long": (read_upn, utf8("a" * 250 + "@b.test")),
    "ascii-mailbox": (read_smtp_utf8_mailbox, utf8("anna@b.test")),
    "u-label": (read_smtp_utf8_mailbox, utf8("zoë@bücher.test")),
    "not-nfc": (read_smtp_utf8_mailbox, utf8("zoe\u0308@b.test")),
    "mailbox-with-blank": (read_smtp_utf8_mailbox, utf8("zoë x@b.test")),
    "no-sequence": (read_hardware_module, utf8("x")),
    "no-serial": (read_hardware_module, der.sequence(der.oid("1.2.3"))),
    "empty-serial": (read_hardware_module, module("1.2.3", b"")),
    "long-serial": (read_hardware_module, module("1.2.3", b"x" * 65)),
    "more-parts": (
        read_hardware_module,
        der.sequence(der.oid("1.2.3"), der.tlv(der.OCTET_STRING, b"x"), der.tlv(der.OCTET_STRING, b"y")),
    ),
    "trailing": (read_hardware_module, module("1.2.3", b"x") + b"\x05\x00"),
}


@pytest.mark.parametrize("case", BAD)
def test_value_that_is_not_of_its_type_is_refused(case: str) -> None:
    read, value_der = BAD[case]
    with pytest.raises(MalformedMessage) as caught:
        read(value_der)
    assert caught.value.code == "name.malformed"


def test_mailbox_beyond_ascii_is_read() -> None:
    name = smtp_utf8_name("zoë@B.test")
    assert str(name) == f"other:{SMTP_UTF8_MAILBOX}=zoë@b.test"


def test_hardware_module_tells_its_type_and_serial_number() -> None:
    name = hardware_module_name(HardwareModule("1.3.6.1.4.1.55555.1", b"GW-17"))
    assert str(name) == f"other:{HARDWARE_MODULE_NAME}=1.3.6.1.4.1.55555.1/GW-17"
    assert read_hardware_module(other_name_of(name).value_der) == HardwareModule(
        "1.3.6.1.4.1.55555.1", b"GW-17"
    )


@given(st.binary(min_size=1, max_size=8), st.binary(min_size=1, max_size=8))
def test_two_serial_numbers_never_have_one_text(one: bytes, other: bytes) -> None:
    texts = HardwareModule("1.2.3", one).serial_text, HardwareModule("1.2.3", other).serial_text
    assert (texts[0] == texts[1]) == (one == other)
    assert all(text.isprintable() and text.isascii() for text in texts)


def test_text_of_the_longest_principal_is_whole() -> None:
    """A guardrail reads the domain from it."""
    text = "a" * 248 + "@b.test"
    assert upn_name(text).value == f"{UPN}={text}"


def test_value_that_cannot_be_read_shows_its_type_alone() -> None:
    assert other_name(UPN, utf8("no principal")).value == UPN
    assert other_name("1.2.3", utf8("anna@b.test")).value == "1.2.3"


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(value_der: bytes) -> None:
    for read in (read_upn, read_smtp_utf8_mailbox, read_hardware_module):
        with contextlib.suppress(MalformedMessage):
            assert read(value_der)
    with contextlib.suppress(MalformedMessage):
        assert other_name_of(GeneralName(NameKind.OTHER, "", value_der)).type_id
