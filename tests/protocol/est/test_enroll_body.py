"""The body of /simpleenroll as clients write it, and as they should not (est.md C23 to C29)."""

from __future__ import annotations

import base64
import random
from dataclasses import replace

import pytest

from tests.support import pki
from tests.support.answers import issued, refused
from tests.support.devices import device_name
from tests.support.est_client import GO, LIBEST, PLAIN, STRONGSWAN, EstClient, Style
from tests.support.labelled import Labelled


def _csr() -> bytes:
    return pki.device_csr(pki.key(), device_name())


@pytest.mark.parametrize("style", [LIBEST, GO, STRONGSWAN, PLAIN], ids=lambda style: style.name)
def test_csr_as_each_client_family_writes_it_is_taken(client: EstClient, style: Style) -> None:
    """est.md C23, 0.9"""
    issued(client.having(style=style).simple_enroll(_csr()))


@pytest.mark.parametrize("wrap", [64, 76, None], ids=["64", "76", "one-line"])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "unended"])
def test_csr_in_lines_of_any_kind_is_taken(
    client: EstClient, wrap: int | None, newline: bytes, last: bool
) -> None:
    """est.md C23"""
    style = replace(PLAIN, wrap=wrap, newline=newline, last_newline=last)
    issued(client.having(style=style).simple_enroll(_csr()))


def test_csr_with_blanks_around_it_is_taken(client: EstClient) -> None:
    """est.md C23"""
    body = b" \r\n\t" + pki.base64_lines(_csr()).replace(b"\n", b" \n\t") + b"\n \r\n"
    issued(client.simple_enroll(b"", body=body))


@pytest.mark.parametrize("encoding", [None, "base64", "binary", "8bit"])
def test_content_transfer_encoding_changes_nothing(client: EstClient, encoding: str | None) -> None:
    """est.md C24, RFC 8951 section 3"""
    issued(client.having(style=replace(PLAIN, transfer_encoding=encoding)).simple_enroll(_csr()))


@pytest.mark.parametrize("media_type", ["application/pkcs10; charset=utf-8", "APPLICATION/PKCS10"])
def test_media_type_is_compared_without_case_and_parameters(client: EstClient, media_type: str) -> None:
    """est.md C25"""
    issued(client.simple_enroll(_csr(), content_type=media_type))


@pytest.mark.parametrize("media_type", [None, "", "text/plain", "application/x-www-form-urlencoded"])
def test_other_media_type_is_415(client: EstClient, media_type: str | None) -> None:
    """est.md C25"""
    refused(client.simple_enroll(_csr(), content_type=media_type), 415, "http.media-type")


@pytest.mark.parametrize("media_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_other_media_type_is_taken_on_a_lenient_label(labelled: Labelled, media_type: str | None) -> None:
    """est.md C25"""
    issued(labelled.client("lenient").simple_enroll(_csr(), content_type=media_type))


def test_pem_is_400_and_says_what_to_send(client: EstClient) -> None:
    """est.md C26"""
    answer = client.simple_enroll(b"", body=pki.pem("CERTIFICATE REQUEST", _csr()))
    refused(answer, 400, "message.pem")


def test_raw_der_is_400(client: EstClient) -> None:
    """est.md C26"""
    answer = client.simple_enroll(b"", body=_csr())
    refused(answer, 400, "message.")


@pytest.mark.parametrize("form", ["pem", "der"])
def test_pem_and_der_are_taken_on_a_lenient_label(labelled: Labelled, form: str) -> None:
    """est.md C26"""
    csr_der = _csr()
    body = pki.pem("CERTIFICATE REQUEST", csr_der) if form == "pem" else csr_der
    issued(labelled.client("lenient").simple_enroll(b"", body=body))


def _bodies() -> dict[str, tuple[bytes, str]]:
    """Body and the code that names what is wrong."""
    good = pki.device_csr(pki.shared_key("P-256"), "bad-body.test")
    rng = random.Random(7030)
    encode = pki.base64_lines
    indefinite = b"\x30\x80" + good[4:] + b"\x00\x00"
    version_2 = pki.raw_csr(pki.shared_key("P-256"), version=1)
    nested = b""
    for _ in range(2000):
        nested = b"\x30" + _der_length(len(nested)) + nested
    return {
        "empty": (b"", "message.empty"),
        "blank": (b" \r\n \n", "message.empty"),
        "not-base64": (b"MIIB*$%&", "message.base64"),
        "bad-padding": (b"MIIBA", "message.base64"),
        "utf-8": ("MIIBÄÖ".encode(), "message.base64"),
        "random-octets": (rng.randbytes(2000), "message."),
        "random-in-base64": (encode(rng.randbytes(2000)), "message.asn1"),
        "truncated": (encode(good[:-20]), "message.asn1"),
        "first-byte-only": (encode(b"\x30"), "message.asn1"),
        "trailing-bytes": (encode(good + b"\x00\x00"), "message.asn1"),
        "two-requests": (encode(good + good), "message.asn1"),
        "two-base64-requests": (encode(good) + encode(good), "message."),
        "version-2": (encode(version_2), "message.asn1"),
        "indefinite-length": (encode(indefinite), "message.asn1"),
        "empty-sequence": (encode(b"\x30\x00"), "message.asn1"),
        "a-certificate": (encode(pki.Authority().issue().certificate_der), "message.asn1"),
        "deeply-nested": (encode(nested), "message.asn1"),
        "json": (b'{"csr": "MIIB"}', "message.base64"),
        "length-of-4-gib": (encode(b"\x30\x84\xff\xff\xff\xff" + good[4:]), "message.asn1"),
    }


def _der_length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


@pytest.mark.parametrize("case", sorted(_bodies()))
def test_bad_body_is_400_and_named(client: EstClient, case: str) -> None:
    """est.md C27, C28, issue 2 "Bad input"."""
    body, code = _bodies()[case]
    refused(client.simple_enroll(b"", body=body), 400, code)


@pytest.mark.parametrize("position", range(0, 200, 13))
def test_flipped_bit_in_a_csr_is_400_or_refused_by_policy(client: EstClient, position: int) -> None:
    """est.md C27, C31: any damage is found, at the latest by the signature."""
    damaged = bytearray(_csr())
    damaged[position] ^= 0x10
    answer = client.simple_enroll(bytes(damaged))
    assert answer.status == 400, f"{answer.status} {answer.text}"


def test_label_with_a_smaller_bound_refuses_a_larger_body(labelled: Labelled) -> None:
    """est.md C29: the bound is the label's."""
    client = labelled.client("small")
    issued(client.simple_enroll(_csr()))
    refused(client.simple_enroll(b"", body=base64.b64encode(bytes(4000))), 413, "http.too-large")


def test_bad_message_is_recorded_with_its_reason_id(client: EstClient, labelled: Labelled) -> None:
    """Issue 2 "Bad input": the id in the answer leads the operator to the trace."""
    answer = labelled.client("default").simple_enroll(b"", body=b"!!!!")
    reason_id = refused(answer, 400, "message.base64")
    shown = labelled.gateway.cli_json("request", "show", reason_id)
    assert "message.base64" in str(shown)
