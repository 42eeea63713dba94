"""EST bodies: base64, PEM and DER in, base64 out; judged by foreign readers and writers."""

from __future__ import annotations

import base64
import contextlib
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import MalformedMessage
from gateway.est import codec
from gateway.est.codec import BodyForm
from gateway.model.reasons import ReasonCode
from tests.support import pki
from tests.unit.est.house import ISSUING, ROOT

CSR = pki.csr(pki.shared_key("P-256"), sans=["device-1.test"])
CHAIN = tuple(a.certificate.public_bytes(Encoding.DER) for a in (ISSUING, ROOT))


@pytest.mark.parametrize(
    "body",
    [
        pki.base64_lines(CSR, 64),
        pki.base64_lines(CSR, 76),
        pki.base64_lines(CSR, 64, b"\r\n"),
        pki.base64_lines(CSR, None),
        pki.base64_lines(CSR, None, last=False),
        b" \t\r\n" + pki.base64_lines(CSR, 48) + b"\n\n \v\f",
        b" ".join(pki.base64_lines(CSR, 1, b"\t").split()),
    ],
    ids=["64", "76", "crlf", "one-line", "no-newline", "blanks-around", "blanks-between"],
)
def test_base64_body_with_any_ascii_white_space_gives_the_csr(body: bytes) -> None:
    """est.md C23."""
    assert codec.decode_enroll_body(body) == CSR


@pytest.mark.parametrize("label", ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"])
def test_pem_body_is_refused_with_advice_and_taken_when_lenient(label: str) -> None:
    """est.md C26."""
    body = pki.pem(label, CSR)
    with pytest.raises(MalformedMessage, match="only the base64 between the BEGIN and END") as refused:
        codec.decode_enroll_body(body)
    assert refused.value.code is ReasonCode.MESSAGE_PEM
    assert codec.decode_enroll_body(b"\n" + body, lenient=True) == CSR


def test_base64_of_pem_is_named_as_pem_and_taken_when_lenient() -> None:
    body = base64.b64encode(pki.pem("CERTIFICATE REQUEST", CSR))
    with pytest.raises(MalformedMessage) as refused:
        codec.decode_enroll_body(body)
    assert refused.value.code is ReasonCode.MESSAGE_PEM
    assert codec.decode_enroll_body(body, lenient=True) == CSR


@pytest.mark.parametrize(
    "body",
    [
        pki.pem("CERTIFICATE REQUEST", CSR) * 2,
        pki.pem("CERTIFICATE", CSR),
        pki.pem("CERTIFICATE REQUEST", CSR) + pki.pem("PRIVATE KEY", b"k"),
        b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.b64encode(CSR),
    ],
    ids=["two", "certificate", "key-besides", "no-end"],
)
def test_lenient_pem_without_exactly_one_request_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedMessage) as refused:
        codec.decode_enroll_body(body, lenient=True)
    assert refused.value.code is ReasonCode.MESSAGE_PEM


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize(
    ("label", "what"),
    [
        ("CERTIFICATE", "a certificate"),
        ("EC PRIVATE KEY", "a private key, which must"),
        ("X", "PEM of another"),
    ],
)
def test_pem_of_another_kind_is_refused_by_its_name(label: str, what: str, lenient: bool) -> None:
    body = pki.pem(label, CSR)
    for sent in (
        body,
        b"subject=CN = a.test\n\n" + body,
        base64.b64encode(body),
        b"\r\n" + body.replace(b"\n", b""),
    ):
        with pytest.raises(MalformedMessage, match=f"this is {what}.*BEGIN CERTIFICATE REQUEST") as refused:
            codec.decode_enroll_body(sent, lenient=lenient)
        assert refused.value.code is ReasonCode.MESSAGE_PEM


def test_pem_request_behind_its_text_is_taken_only_when_lenient() -> None:
    body = b"Certificate Request:\n    Data:\n" + pki.pem("CERTIFICATE REQUEST", CSR)
    with pytest.raises(MalformedMessage, match="the body is PEM; send only the base64"):
        codec.decode_enroll_body(body)
    assert codec.decode_enroll_body(body, lenient=True) == CSR


@pytest.mark.parametrize("name", [b"device-1.p10", b"@/tmp/x_y.csr", b"~/lab/dev.pem\n", b"a.b64"])
def test_name_of_a_file_in_place_of_its_content_is_told_as_such(name: bytes) -> None:
    with pytest.raises(MalformedMessage, match=r"looks like a file.*--data-binary @[~/a-z]") as refused:
        codec.decode_enroll_body(name)
    assert refused.value.code is ReasonCode.MESSAGE_BASE64


def test_bare_der_body_is_refused_with_advice_and_taken_when_lenient() -> None:
    """est.md C26."""
    with pytest.raises(MalformedMessage, match="bare DER; send its base64"):
        codec.decode_enroll_body(CSR)
    assert codec.decode_enroll_body(CSR, lenient=True) == CSR


@pytest.mark.parametrize("body", [b"", b" \r\n\t\n", b" " * 500])
def test_empty_body_is_refused_as_empty(body: bytes) -> None:
    """est.md C27."""
    with pytest.raises(MalformedMessage) as refused:
        codec.decode_enroll_body(body)
    assert refused.value.code is ReasonCode.MESSAGE_EMPTY


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"MIIB!AAA", "'!' stands at character 5"),
        (b"MIIB-AAA", "base64url is not base64"),
        (b"MIIB\x00AAA", "byte 0x00 stands at character 5"),
        ("MIIBé".encode(), "byte 0xc3 stands at character 5"),
        (b"MIIBA", "not whole base64"),
        (b"MIIB=AAA", "not whole base64"),
        (b"MIIB=", "not whole base64"),
        (b"MIIB====", "not whole base64"),
        (b"MIIBAA==MIIB", "not whole base64"),
        (b"=", "not whole base64"),
        (b"hello world, no base64 at all", "',' stands at character 11"),
    ],
)
def test_bad_base64_is_refused_naming_what_stands_where(body: bytes, named: str) -> None:
    """est.md C27."""
    with pytest.raises(MalformedMessage, match="base64") as refused:
        codec.decode_enroll_body(body)
    assert refused.value.code is ReasonCode.MESSAGE_BASE64
    assert named in str(refused.value)


def test_base64_that_begins_with_the_digit_zero_is_not_taken_for_der() -> None:
    content = b"\xd3\x4d\x34\xd3\x4d\x34"  # encodes to "0000..."-like text
    text = base64.b64encode(content)
    assert text[:1] == b"0"
    assert codec.body_form(text) is BodyForm.BASE64
    assert codec.decode_enroll_body(text) == content


@pytest.mark.parametrize("unit", [b" ", b"-----BEGIN ", b"-----BEGIN CERTIFICATE REQUEST-----", b"MIIB!"])
def test_four_megabytes_of_one_hostile_pattern_are_refused_at_once(unit: bytes) -> None:
    """Quadratic work would run into the time limit of the test run."""
    with pytest.raises(MalformedMessage):
        codec.decode_enroll_body(unit * (4_000_000 // len(unit)), lenient=True)


@pytest.mark.parametrize(("columns", "longest"), [(64, 64), (76, 76), (None, None)])
def test_certs_only_body_has_the_asked_lines_and_openssl_reads_it(
    columns: int | None, longest: int | None
) -> None:
    """est.md C4; libest needs line breaks, strongSwan none."""
    body = codec.encode_certs_only(CHAIN, columns)
    if longest is None:
        assert b"\n" not in body
    else:
        assert body.endswith(b"\n")
        assert max(map(len, body.splitlines())) == longest
    shown = subprocess.run(
        ["openssl", "pkcs7", "-inform", "DER", "-print_certs", "-noout"],
        input=base64.b64decode(body),
        capture_output=True,
        check=True,
    )
    assert shown.stdout.index(b"Unit Issuing") < shown.stdout.index(b"Unit Root")


def test_certs_only_of_another_maker_is_read() -> None:
    certificates = [x509.load_der_x509_certificate(der) for der in CHAIN]
    foreign = pkcs7.serialize_certificates(certificates, Encoding.DER)
    assert set(codec.decode_certs_only(pki.base64_lines(foreign))) == set(CHAIN)


def test_certs_only_keeps_the_order_over_a_round_trip() -> None:
    assert codec.decode_certs_only(codec.encode_certs_only(CHAIN[::-1], 76)) == CHAIN[::-1]


def test_enroll_body_of_the_client_side_is_read_by_the_server_side() -> None:
    assert codec.decode_enroll_body(codec.encode_enroll_body(CSR, None)) == CSR


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_random_bodies_raise_nothing_but_malformed_message(body: bytes, lenient: bool) -> None:
    for decode in (
        lambda: codec.decode_enroll_body(body, lenient=lenient),
        lambda: codec.decode_certs_only(body),
        lambda: codec.decode_csrattrs_body(body),
    ):
        with contextlib.suppress(MalformedMessage):
            decode()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_truncated_and_flipped_certs_only_bodies_raise_nothing_but_malformed_message(
    data: st.DataObject,
) -> None:
    cms_der = bytearray(codec.decode_base64(codec.encode_certs_only(CHAIN)))
    position = data.draw(st.integers(0, len(cms_der) * 8 - 1))
    cms_der[position // 8] ^= 1 << position % 8
    cut = data.draw(st.integers(0, len(cms_der)))
    for damaged in (bytes(cms_der), bytes(cms_der[:cut])):
        with contextlib.suppress(MalformedMessage):
            codec.decode_certs_only(base64.b64encode(damaged))


@given(st.binary(min_size=1, max_size=300), st.sampled_from([None, 1, 64, 76]))
def test_base64_round_trips_and_equals_the_standard_library(content: bytes, columns: int | None) -> None:
    text = codec.encode_base64(content, columns)
    assert base64.b64decode(text) == content
    assert codec.decode_base64(text) == content
