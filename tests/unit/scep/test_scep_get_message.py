"""Messages in URLs, in every encoding that devices use."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MalformedMessage, PayloadTooLarge
from gateway.model.reasons import ReasonCode
from gateway.scep.get_message import decoded_message, decoded_text, query_values

OCTETS = bytes(range(256)) + b"\xfb\xff\xbf\x3e"  # "+" and "/" in its base64, and padding


def standard(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


ENCODINGS: dict[str, Callable[[bytes], str]] = {
    "quoted": lambda octets: quote(standard(octets), safe=""),
    "raw": standard,
    "padding-quoted": lambda octets: standard(octets).replace("=", "%3D"),
    "no-padding": lambda octets: standard(octets).rstrip("="),
    "lines-lf": lambda octets: quote(base64.encodebytes(octets).decode(), safe=""),
    "lines-crlf": lambda octets: quote(base64.encodebytes(octets).decode().replace("\n", "\r\n"), safe=""),
    "url-safe": lambda octets: base64.urlsafe_b64encode(octets).decode(),
    "twice-quoted": lambda octets: quote(quote(standard(octets), safe=""), safe=""),
    "plus-as-blank": lambda octets: standard(octets).replace("+", "%20"),
    "quoted-lower-case": lambda octets: standard(octets).replace("/", "%2f").replace("+", "%2b"),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_message_in_the_url_is_read_as_it_was_sent(encoding: str) -> None:
    """scep.md C10."""
    assert b"+" in base64.b64encode(OCTETS)
    assert b"/" in base64.b64encode(OCTETS)
    for octets in (OCTETS, OCTETS[:-1], OCTETS[:-2]):
        query = f"operation=PKIOperation&message={ENCODINGS[encoding](octets)}".encode()
        assert decoded_message(query_values(query)["message"], 1000) == octets


@given(octets=st.binary(min_size=1, max_size=400), encoding=st.sampled_from(sorted(ENCODINGS)))
def test_any_message_in_any_encoding_is_read(octets: bytes, encoding: str) -> None:
    """scep.md C10. As every message does it begins with a SEQUENCE."""
    octets = b"\x30" + octets
    assert decoded_message(ENCODINGS[encoding](octets).encode(), 401) == octets


def test_ios_sends_raw_plus_and_slash_and_only_the_padding_quoted() -> None:
    """scep.md B1: iOS 11, jscep #78, smallstep PR #1570."""
    query = b"operation=PKIOperation&message=+/+/+w%3D%3D"
    assert decoded_message(query_values(query)["message"], 100) == base64.b64decode("+/+/+w==")


def test_blank_at_the_end_is_a_plus_sign_only_where_one_is_missing() -> None:
    for text, octets in (
        (b"MAA%20", b"MAA+"),
        (b"MAAB%20", b"MAAB"),
        (b"MA%3D%3D%20", b"MA=="),
        (b"%20MAAB", b"MAAB"),
    ):
        assert decoded_message(text, 100) == base64.b64decode(octets)


def test_sscep_wraps_its_base64_with_quoted_line_feeds() -> None:
    """scep.md B16."""
    assert decoded_message(b"QUJD%0AREVG%0A", 100) == b"ABCDEF"


@pytest.mark.parametrize("text", [b"", b"%20", b"%0A%0D", b"%3D%3D", b"===="])
def test_empty_message_is_told_apart(text: bytes) -> None:
    """scep.md C11."""
    with pytest.raises(MalformedMessage) as error:
        decoded_message(text, 100)
    assert error.value.code is ReasonCode.MESSAGE_EMPTY


@pytest.mark.parametrize("text", [b"*", b"QUJ%00D", b"QUJDR", b"Q=UJD", b"QUJD%FF", b"QU!JD", b"%zz"])
def test_what_is_no_base64_is_refused(text: bytes) -> None:
    """scep.md C11."""
    with pytest.raises(MalformedMessage) as error:
        decoded_message(text, 100)
    assert error.value.code is ReasonCode.MESSAGE_BASE64


@given(text=st.binary(max_size=300))
def test_any_parameter_gives_octets_or_a_refusal(text: bytes) -> None:
    """scep.md C15."""
    found = b""
    with suppress(MalformedMessage, PayloadTooLarge):
        found = decoded_message(text, 200)
    assert len(found) <= 201


def test_message_over_the_bound_is_refused_before_it_is_decoded() -> None:
    """scep.md C13."""
    assert decoded_message(standard(b"x" * 300).encode(), 300) == b"x" * 300
    with pytest.raises(PayloadTooLarge, match="larger than the 300 bytes"):
        decoded_message(standard(b"x" * 303).encode(), 300)


@pytest.mark.parametrize(
    ("query", "name", "value"),
    [
        (b"operation=GetCACaps&message=0", "message", b"0"),  # certmonger
        (b"Operation=x&operation=y", "operation", b"x"),
        (b"message=a=b==&operation=x", "message", b"a=b=="),
        (b"operation", "operation", b""),
        (b"&&operation=x&", "operation", b"x"),
        (b"%6Fperation=x", "operation", b"x"),
    ],
)
def test_query_is_split_at_the_first_equals_sign(query: bytes, name: str, value: bytes) -> None:
    assert query_values(query)[name] == value


def test_operation_is_read_without_quotes_and_blanks() -> None:
    assert decoded_text(b"%22GetCACert%22") == "GetCACert"
    assert decoded_text(b"%20GetCACert%0D%0A") == "GetCACert"
