"""What may stand in the identifiers of a newOrder (acme.md C59 to C64, C68)."""

from __future__ import annotations

import pytest

from gateway.acme.errors import AcmeError
from gateway.acme.identifiers import (
    Identifier,
    challenges_for,
    from_text,
    parse_identifier,
    parse_identifiers,
)
from gateway.model.names import NameKind
from gateway.pki.names import decode_general_names, encode_general_names

ALL = ("http-01", "dns-01", "tls-alpn-01")


def fault_of(value: object, most: int = 10) -> AcmeError:
    with pytest.raises(AcmeError) as caught:
        parse_identifiers(value, most)
    return caught.value


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        ("a.test", "dns:a.test"),
        ("A.Test", "dns:a.test"),
        ("*.a.test", "dns:*.a.test"),
        ("localhost", "dns:localhost"),
        ("xn--mnchen-3ya.test", "dns:xn--mnchen-3ya.test"),
        ("1-2.3.a4", "dns:1-2.3.a4"),
        ("a" * 63 + ".test", "dns:" + "a" * 63 + ".test"),
    ],
)
def test_host_name_is_taken_in_its_canonical_form(value: str, canonical: str) -> None:
    """acme.md C62"""
    assert str(parse_identifier("dns", value)) == canonical


@pytest.mark.parametrize(
    "value",
    [
        "a..test",
        ".a.test",
        "a.test.",
        "*.test",
        "*",
        "*.*.a.test",
        "a.*.test",
        "a*.test",
        "-a.test",
        "a-.test",
        "a_b.test",
        "a b.test",
        "a.test\n",
        "a.test\0",
        "a" * 64 + ".test",
        ".".join(["a" * 49] * 6),
        "127.0.0.1",
        "0x7f000001",
        "2130706433",
        "a.0x7f",
        "::1",
        "münchen.test",
        "\u212a.test",  # the Kelvin sign, which lower() would make a k
        "xn--zz.test",
        "xn--a.test",
        "xn--mnchen-3yA\u00df.test",
        "ab--c.test",
        "a.test:80",
        "a.test/x",
    ],
)
def test_name_that_is_no_host_name_is_malformed(value: str) -> None:
    """acme.md C62"""
    with pytest.raises(AcmeError) as caught:
        parse_identifier("dns", value)
    assert caught.value.type == "malformed"
    assert caught.value.status == 400


@pytest.mark.parametrize("value", ["127.0.0.1", "::1", "2001:db8::1:0:0:1"])
def test_ip_address_in_canonical_text_is_taken(value: str) -> None:
    """acme.md C64"""
    identifier = parse_identifier("ip", value)
    assert identifier == Identifier(NameKind.IP, value)
    assert from_text(str(identifier)) == identifier


@pytest.mark.parametrize(
    "value",
    [
        "010.0.0.1",
        "127.1",
        "0:0:0:0:0:0:0:1",
        "2001:DB8::1",
        "2001:db8:0:0:1::1",
        "::ffff:192.0.2.1",
        "fe80::1%eth0",
        "[::1]",
        "127.0.0.1/32",
        "*.1.2.3.4",
        "a.test",
    ],
)
def test_ip_address_in_other_text_is_malformed(value: str) -> None:
    """acme.md C64"""
    with pytest.raises(AcmeError) as caught:
        parse_identifier("ip", value)
    assert caught.value.type == "malformed"


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        "a.test",
        ["a.test"],
        [{}],
        [{"type": "dns"}],
        [{"value": "a.test"}],
        [{"type": "dns", "value": ""}],
        [{"type": "", "value": "a.test"}],
        [{"type": "dns", "value": 7}],
        [{"type": ["dns"], "value": "a.test"}],
        [None],
    ],
)
def test_identifiers_of_another_shape_are_malformed(value: object) -> None:
    """acme.md C59"""
    assert fault_of(value).type == "malformed"


def test_identifiers_beyond_the_bound_are_refused() -> None:
    """acme.md C59"""
    names = [{"type": "dns", "value": f"n{number}.test"} for number in range(3)]
    assert len(parse_identifiers(names, 3)) == 3
    assert fault_of(names, 2).type == "malformed"


def test_unknown_type_is_an_unsupported_identifier() -> None:
    """acme.md C60"""
    fault = fault_of([{"type": "email", "value": "a@b.test"}])
    assert (fault.type, fault.status) == ("unsupportedIdentifier", 400)


def test_every_faulty_identifier_has_its_subproblem() -> None:
    """acme.md C61"""
    fault = fault_of(
        [
            {"type": "dns", "value": "a..test"},
            {"type": "dns", "value": "good.test"},
            {"type": "tn", "value": "12345"},
        ]
    )
    assert fault.type == "compound"
    assert [(one.type, one.value) for one in fault.subproblems] == [
        ("malformed", "a..test"),
        ("unsupportedIdentifier", "12345"),
    ]


def test_repeats_are_merged_and_order_is_kept() -> None:
    """acme.md C63"""
    asked = ["b.test", "a.test", "B.test", "*.a.test", "a.test"]
    found = parse_identifiers([{"type": "dns", "value": name} for name in asked], 10)
    assert [one.name for one in found] == ["b.test", "a.test", "*.a.test"]


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("dns:a.test", ALL),
        ("dns:*.a.test", ("dns-01",)),
        ("ip:127.0.0.1", ("http-01", "tls-alpn-01")),
    ],
)
def test_only_challenges_that_can_prove_the_name_are_offered(text: str, offered: tuple[str, ...]) -> None:
    """acme.md C68"""
    assert challenges_for(from_text(text), ALL) == offered


@pytest.mark.parametrize("text", ["dns:a.test", "dns:*.a.test", "ip:127.0.0.1", "ip:2001:db8::1"])
def test_identifier_becomes_the_alternative_name_of_the_certificate(text: str) -> None:
    made = from_text(text).general_name
    (read,) = decode_general_names(encode_general_names([made]))
    assert (read.kind, read.value) == (made.kind, made.value) == tuple(text.split(":", 1))
