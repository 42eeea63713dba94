"""CMP and CRMF on hostile bytes: they answer or raise their own error, nothing else (cmp.md C86)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import cmp_message, crmf
from gateway.asn1 import cmp
from gateway.asn1.cmp import BodyType, InfoTypeAndValue, PkiHeader
from gateway.asn1.cmp_bodies import CertStatus, PollAnswer
from gateway.asn1.cmp_bodies import decode_cert_confirm as read_confirm
from gateway.asn1.cmp_bodies import decode_poll_rep as read_polls
from gateway.asn1.cmp_bodies import encode_cert_confirm as write_confirm
from gateway.asn1.cmp_bodies import encode_poll_rep as write_polls
from gateway.asn1.cmp_status import (
    PkiFailureInfo,
    PkiStatus,
    PkiStatusInfo,
    decode_status_info,
    encode_status_info,
)
from gateway.asn1.crmf import CertTemplate, decode_template
from gateway.asn1.crmf_encode import encode_template
from gateway.errors import MalformedMessage
from tests.support import cmp_seeds, cmp_vectors, pki
from tests.support.mutations import mutated

TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], tuple[bytes, ...]]]] = {
    "message": (cmp_message.one_input, cmp_seeds.messages),
    "requests": (crmf.one_input, cmp_seeds.requests),
}
targets = pytest.mark.parametrize("name", TARGETS)


@targets
def test_good_input_passes_the_target(name: str) -> None:
    target, samples = TARGETS[name]
    for sample in samples():
        target(sample)


@targets
@settings(deadline=None, max_examples=400)
@given(choices=st.data())
def test_mutated_input_is_read_or_refused(name: str, choices: st.DataObject) -> None:
    target, samples = TARGETS[name]
    target(choices.draw(mutated(choices.draw(st.sampled_from(samples())))))


@targets
@settings(deadline=None, max_examples=200)
@given(octets=st.binary(max_size=300))
def test_random_input_is_read_or_refused(name: str, octets: bytes) -> None:
    TARGETS[name][0](octets)


@pytest.mark.parametrize("name", ["ir-mac-q1", "rr-signed-q1", "error-mac-s1", "polled-mac-s2"])
def test_every_truncation_of_a_message_is_refused(name: str) -> None:
    octets = cmp_vectors.read(name)
    for length in range(len(octets)):
        with pytest.raises(MalformedMessage):
            cmp.decode_message(octets[:length])


@pytest.mark.parametrize("tag", [0x30, 0x31, 0xA0, 0xA4, 0x24])
@pytest.mark.parametrize("body_type", BodyType, ids=lambda body: body.rfc_name)
def test_body_nested_ten_thousand_deep_is_read_or_refused(body_type: BodyType, tag: int) -> None:
    nested = b""
    for _ in range(10_000):
        nested = pki.tlv(tag, nested)
    header = PkiHeader(2, b"\xa4\x02\x30\x00", b"\xa4\x02\x30\x00")
    cmp_message.one_input(cmp.encode_message(cmp.protected_part(header, body_type, nested)))


WHOLE_SECONDS = st.integers(-62_135_596_800, 253_402_300_799).map(  # the years 1 to 9999
    lambda seconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
OCTETS = st.none() | st.binary(max_size=64)
NAMES = st.sampled_from([b"\xa4\x02\x30\x00", b"\x82\x01a", pki.tlv(0xA4, pki.name("d").public_bytes())])
OIDS = st.builds(
    lambda first, second, rest: ".".join(map(str, (first, second, *rest))),
    st.integers(0, 2),
    st.integers(0, 39),
    st.lists(st.integers(0, 2**64), max_size=8),
)
TEXTS = st.lists(st.text(max_size=40), max_size=5).map(tuple)
INFOS = st.lists(
    st.builds(
        InfoTypeAndValue, OIDS, st.none() | st.binary(max_size=9).map(lambda octets: pki.tlv(4, octets))
    ),
    max_size=5,
).map(tuple)
HEADERS = st.builds(
    PkiHeader,
    pvno=st.integers(-(2**62), 2**62),
    sender_der=NAMES,
    recipient_der=NAMES,
    message_time=st.none() | WHOLE_SECONDS,
    protection_alg_der=st.none() | OIDS.map(lambda oid: pki.tlv(0x30, pki.oid(oid))),
    sender_kid=OCTETS,
    recip_kid=OCTETS,
    transaction_id=OCTETS,
    sender_nonce=OCTETS,
    recip_nonce=OCTETS,
    free_text=TEXTS,
    general_info=INFOS,
)
STATUSES = st.builds(
    PkiStatusInfo, st.sampled_from(PkiStatus), TEXTS, st.integers(0, 2**27 - 1).map(PkiFailureInfo)
)
NUMBERS = st.integers(-(2**63), 2**63 - 1)


@settings(deadline=None)
@given(header=HEADERS)
def test_header_comes_back_equal(header: PkiHeader) -> None:
    assert cmp.decode_header(cmp.encode_header(header)) == header


@settings(deadline=None)
@given(status=STATUSES)
def test_status_comes_back_equal(status: PkiStatusInfo) -> None:
    assert decode_status_info(encode_status_info(status)) == status


@settings(deadline=None)
@given(
    confirmed=st.lists(
        st.builds(CertStatus, st.binary(max_size=64), NUMBERS, st.none() | STATUSES), max_size=4
    ),
    polls=st.lists(st.builds(PollAnswer, NUMBERS, NUMBERS, TEXTS), min_size=1, max_size=4),
)
def test_confirmations_and_polls_come_back_equal(
    confirmed: list[CertStatus], polls: list[PollAnswer]
) -> None:
    assert read_confirm(write_confirm(confirmed)) == tuple(confirmed)
    assert read_polls(write_polls(polls)) == tuple(polls)


TEMPLATES = st.builds(
    CertTemplate,
    version=st.none() | NUMBERS,
    serial_number=st.none() | st.integers(-(2**255), 2**255),
    issuer_der=st.none() | st.just(b"\x30\x00"),
    not_before=st.none() | WHOLE_SECONDS,
    not_after=st.none() | WHOLE_SECONDS,
    subject_der=st.none() | st.just(pki.name("d").public_bytes()),
    public_key_der=st.none() | st.binary(max_size=300).map(lambda octets: pki.tlv(0x30, octets)),
    issuer_uid=OCTETS,
    subject_uid=OCTETS,
    extensions_der=st.none() | st.binary(max_size=300).map(lambda octets: pki.tlv(0x30, octets)),
)


@settings(deadline=None)
@given(template=TEMPLATES)
def test_template_comes_back_equal(template: CertTemplate) -> None:
    assert decode_template(encode_template(template)) == template
