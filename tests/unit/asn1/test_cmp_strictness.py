"""What is no DER, no PKIMessage or too much is refused with its own error and a hint (cmp.md C14, C86)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.asn1 import cmp, cmp_bodies, cmp_revocation, cmp_support, crmf, der
from gateway.asn1.cmp import BodyType
from gateway.asn1.cmp_status import PkiFailureInfo, PkiStatus, decode_status_info
from gateway.errors import MalformedMessage
from gateway.model.reasons import ReasonCode
from tests.support import cmp_pyasn1, cmp_vectors, pki

GOOD = cmp_vectors.read("ir-mac-q1")
CHAIN = cmp_vectors.read("cr-signed-q1")
SEQUENCE = pki.tlv(0x30)
NULL_DN = pki.tlv(0xA4, SEQUENCE)
NUMBER = pki.tlv(0x02, b"\x02")
OID = pki.oid("1.2.3")


def header(*fields: bytes) -> bytes:
    return pki.tlv(0x30, NUMBER, NULL_DN, NULL_DN, *fields)


def message(*parts: bytes) -> bytes:
    return pki.tlv(0x30, *parts)


GENM = pki.tlv(0xB5, SEQUENCE)


def test_smallest_message_is_read() -> None:
    read = cmp.decode_message(message(header(), GENM))
    assert (read.body_type, read.body_der, read.protection, read.extra_certs) == (
        BodyType.GENM,
        SEQUENCE,
        None,
        (),
    )


MESSAGES = {
    "nothing": (b"", "empty"),
    "text": (b"<html>", "starts with a SEQUENCE"),
    "one octet": (b"\x30", "in the middle"),
    "a byte more": (GOOD + b"\x00", "1 bytes follow"),
    "another message behind": (GOOD + GOOD, f"{len(GOOD)} bytes follow"),
    "cut off": (GOOD[:-1], "claims"),
    "indefinite length": (b"\x30\x80" + GOOD[4:] + b"\x00\x00", "no definite DER length"),
    "length not minimal": (b"\x30\x83\x00" + GOOD[2:], "not minimal"),
    "header only": (message(header()), "must hold header, body"),
    "empty sequence": (SEQUENCE, "must hold header, body"),
    "unknown body": (message(header(), pki.tlv(0xBB, SEQUENCE)), "no body with the tag bb"),
    "high tag as body": (message(header(), b"\xbf\x20\x02\x30\x00"), "tag number above 30"),
    "empty body": (message(header(), b"\xb5\x00"), "in the middle"),
    "two elements in the body": (
        message(header(), pki.tlv(0xB5, SEQUENCE, SEQUENCE)),
        "must hold one element",
    ),
    "fields out of order": (
        message(header(), GENM, pki.tlv(0xA1, SEQUENCE), pki.tlv(0xA0, b"\x03\x01\x00")),
        "must hold header, body",
    ),
    "a field more": (message(header(), GENM, pki.tlv(0xA2, SEQUENCE)), "must hold header, body"),
    "many fields": (message(header(), GENM, *[SEQUENCE] * 1000), "more than 4 fields"),
    "protection with unused bits": (
        message(header(), GENM, pki.tlv(0xA0, b"\x03\x02\x01\x00")),
        "without unused bits",
    ),
    "protection of another type": (message(header(), GENM, pki.tlv(0xA0, b"\x04\x01\x00")), "BIT STRING"),
    "empty protection": (message(header(), GENM, b"\xa0\x00"), "in the middle"),
    "extraCerts with a number": (message(header(), GENM, pki.tlv(0xA1, pki.tlv(0x30, NUMBER))), "X.509"),
    "21 extraCerts": (
        message(header(), GENM, pki.tlv(0xA1, pki.tlv(0x30, *[SEQUENCE] * 21))),
        "more than 20 elements",
    ),
    "header is a set": (message(b"\x31" + header()[1:], GENM), "no body"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_message_that_is_none_is_refused_with_a_hint(name: str) -> None:
    octets, hint = MESSAGES[name]
    with pytest.raises(MalformedMessage, match=hint) as caught:
        cmp.decode_message(octets)
    code = ReasonCode.MESSAGE_ASN1 if octets else ReasonCode.MESSAGE_EMPTY
    assert caught.value.code is code


def test_message_over_a_megabyte_is_refused_unread() -> None:
    with pytest.raises(MalformedMessage, match="at most"):
        cmp.decode_message(message(header(), pki.tlv(0xB5, pki.tlv(0x04, bytes(1 << 20)))))


def field(number: int, *content: bytes) -> bytes:
    return pki.tlv(0xA0 | number, *content)


UTC_TIME = pki.tlv(0x17, b"260102030405Z")
HEADERS = {
    "time as UTCTime": (header(field(0, UTC_TIME)), "messageTime"),
    "time without Z": (header(field(0, pki.tlv(0x18, b"20260102030405"))), "messageTime"),
    "time with offset": (header(field(0, pki.tlv(0x18, b"20260102030405+0100"))), "messageTime"),
    "thirteenth month": (header(field(0, pki.tlv(0x18, b"20261302030405Z"))), "messageTime"),
    "algorithm as number": (header(field(1, NUMBER)), "protectionAlg"),
    "reference as text": (header(field(2, pki.tlv(0x0C, b"ref"))), "senderKID"),
    "transaction as number": (header(field(4, NUMBER)), "transactionID"),
    "transaction of 513 octets": (header(field(4, pki.tlv(0x04, bytes(513)))), "transactionID"),
    "nonce of 513 octets": (header(field(5, pki.tlv(0x04, bytes(513)))), "senderNonce"),
    "nonce in pieces": (header(field(6, pki.tlv(0x24, pki.tlv(0x04, b"n")))), "recipNonce"),
    "text no UTF-8": (header(field(7, pki.tlv(0x30, pki.tlv(0x0C, b"\xff")))), "freeText"),
    "text as PrintableString": (header(field(7, pki.tlv(0x30, pki.tlv(0x13, b"x")))), "freeText"),
    "21 texts": (header(field(7, pki.tlv(0x30, *[pki.tlv(0x0C, b"x")] * 21))), "freeText"),
    "long text": (header(field(7, pki.tlv(0x30, pki.tlv(0x0C, b"x" * 4097)))), "freeText"),
    "information without type": (header(field(8, pki.tlv(0x30, SEQUENCE))), "generalInfo"),
    "information with a number as type": (
        header(field(8, pki.tlv(0x30, pki.tlv(0x30, NUMBER)))),
        "generalInfo",
    ),
    "information with two values": (
        header(field(8, pki.tlv(0x30, pki.tlv(0x30, OID, NUMBER, NUMBER)))),
        "generalInfo",
    ),
    "51 pieces of information": (
        header(field(8, pki.tlv(0x30, *[pki.tlv(0x30, OID)] * 51))),
        "generalInfo",
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_malformed_field_of_the_header_is_named(name: str) -> None:
    """cmp.md C21, C22, C31; xipki #330: a refusal must tell what to mend."""
    header_der, where = HEADERS[name]
    with pytest.raises(MalformedMessage) as caught:
        cmp.decode_message(message(header_der, GENM))
    assert caught.value.path == where
    assert where in str(caught.value)
    assert caught.value.code is ReasonCode.MESSAGE_ASN1


@pytest.mark.parametrize(
    "header_der",
    [
        SEQUENCE,
        pki.tlv(0x30, NUMBER, NULL_DN),
        pki.tlv(0x30, NUMBER, SEQUENCE, NULL_DN),
        pki.tlv(0x30, NUMBER, NULL_DN, pki.tlv(0xA9, SEQUENCE)),
        pki.tlv(0x30, pki.tlv(0x02, b"\x00\x02"), NULL_DN, NULL_DN),
        pki.tlv(0x30, pki.tlv(0x02, b"\x02" * 9), NULL_DN, NULL_DN),
        header(field(9, NUMBER)),
        header(field(5, pki.tlv(0x04, b"n")), field(4, pki.tlv(0x04, b"t"))),
        header(field(4, pki.tlv(0x04, b"t")), field(4, pki.tlv(0x04, b"t"))),
        header(field(4, pki.tlv(0x04, b"t"), pki.tlv(0x04, b"t"))),
        header(field(8, b"\x30\x80\x00\x00")),
        header(field(8, pki.tlv(0x30, *[SEQUENCE] * 70_000))),
    ],
    ids=lambda octets: octets[:24].hex(),
)
def test_header_of_another_shape_is_refused(header_der: bytes) -> None:
    with pytest.raises(MalformedMessage):
        cmp.decode_header(header_der)


def test_empty_lists_of_a_header_count_as_absent() -> None:
    """Lenient reading: SIZE (1..MAX), but nothing is lost by taking an empty one."""
    read = cmp.decode_header(header(field(7, SEQUENCE), field(8, SEQUENCE)))
    assert (read.free_text, read.general_info) == ((), ())


def many(element: bytes, count: int) -> bytes:
    return pki.tlv(0x30, *[element] * count)


REQUEST = pki.tlv(0x30, pki.tlv(0x30, NUMBER, SEQUENCE))
TWO = pki.tlv(0xA0, SEQUENCE, SEQUENCE)


def proof(tag: int, *content: bytes) -> bytes:
    """A list of one request with this proof of possession."""
    return many(pki.tlv(0x30, pki.tlv(0x30, NUMBER, SEQUENCE), pki.tlv(tag, *content)), 1)


BODIES: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "no request": (crmf.decode_cert_req_messages, SEQUENCE),
    "51 requests": (crmf.decode_cert_req_messages, many(REQUEST, 51)),
    "request of 64 KiB": (
        crmf.decode_cert_req_messages,
        many(pki.tlv(0x30, pki.tlv(0x30, NUMBER, SEQUENCE), pki.tlv(0xA2, pki.tlv(0x80, bytes(1 << 16)))), 1),
    ),
    "request without template": (
        crmf.decode_cert_req_messages,
        many(pki.tlv(0x30, pki.tlv(0x30, NUMBER)), 1),
    ),
    "request with two proofs": (
        crmf.decode_cert_req_messages,
        many(pki.tlv(0x30, pki.tlv(0x30, NUMBER, SEQUENCE), b"\x80\x00", b"\x80\x00"), 1),
    ),
    "proof of unknown form": (
        crmf.decode_cert_req_messages,
        many(pki.tlv(0x30, pki.tlv(0x30, NUMBER, SEQUENCE), b"\xa4\x00"), 1),
    ),
    "raVerified with content": (
        crmf.decode_cert_req_messages,
        many(pki.tlv(0x30, pki.tlv(0x30, NUMBER, SEQUENCE), b"\x80\x01\x00"), 1),
    ),
    "number of the request too long": (
        crmf.decode_cert_req_messages,
        many(pki.tlv(0x30, pki.tlv(0x30, pki.tlv(0x02, b"\x01" * 9), SEQUENCE)), 1),
    ),
    "number of the request not minimal": (
        crmf.decode_cert_req_messages,
        many(pki.tlv(0x30, pki.tlv(0x30, pki.tlv(0x02, b"\xff\x80"), SEQUENCE)), 1),
    ),
    "21 controls": (
        crmf.decode_cert_req_messages,
        many(pki.tlv(0x30, pki.tlv(0x30, NUMBER, SEQUENCE, many(pki.tlv(0x30, OID, NUMBER), 21))), 1),
    ),
    "control without value": (
        crmf.decode_cert_req_messages,
        many(pki.tlv(0x30, pki.tlv(0x30, NUMBER, SEQUENCE, many(pki.tlv(0x30, OID), 1))), 1),
    ),
    "template out of order": (crmf.decode_template, pki.tlv(0x30, b"\x81\x01\x01", b"\x80\x01\x02")),
    "template with a field twice": (crmf.decode_template, pki.tlv(0x30, b"\x80\x01\x02", b"\x80\x01\x02")),
    "template with an unknown field": (crmf.decode_template, pki.tlv(0x30, b"\xaa\x00")),
    "empty version": (crmf.decode_template, pki.tlv(0x30, b"\x80\x00")),
    "serial number of 65 octets": (crmf.decode_template, pki.tlv(0x30, pki.tlv(0x81, b"\x01" * 65))),
    "subject without its own tag": (crmf.decode_template, pki.tlv(0x30, pki.tlv(0xA5, b""))),
    "two subjects": (crmf.decode_template, pki.tlv(0x30, pki.tlv(0xA5, SEQUENCE, SEQUENCE))),
    "validity with a number": (crmf.decode_template, pki.tlv(0x30, pki.tlv(0xA4, pki.tlv(0xA0, NUMBER)))),
    "validity with two starts": (
        crmf.decode_template,
        pki.tlv(0x30, pki.tlv(0xA4, pki.tlv(0xA0, UTC_TIME), pki.tlv(0xA0, UTC_TIME))),
    ),
    "certificate identifier without issuer": (crmf.decode_cert_id, pki.tlv(0x30, NUMBER, NUMBER)),
    "template of 64 KiB": (crmf.decode_template, pki.tlv(0x30, pki.tlv(0xA6, bytes(1 << 16)))),
    "template is no sequence": (crmf.decode_template, NUMBER),
    "keyAgreement by an unknown method": (crmf.decode_cert_req_messages, proof(0xA3, b"\x85\x00")),
    "keyEncipherment in a third message": (crmf.decode_cert_req_messages, proof(0xA2, b"\x81\x01\x02")),
    "keyEncipherment twice": (crmf.decode_cert_req_messages, proof(0xA2, b"\x81\x01\x00" * 2)),
    "signature without algorithm": (crmf.decode_cert_req_messages, proof(0xA1, b"\x03\x01\x00")),
    "signature with unused bits": (
        crmf.decode_cert_req_messages,
        proof(0xA1, SEQUENCE, b"\x03\x02\x01\x00"),
    ),
    "signed input without key": (
        crmf.decode_cert_req_messages,
        proof(0xA1, pki.tlv(0xA0, pki.tlv(0xA0, NULL_DN)), SEQUENCE, b"\x03\x01\x00"),
    ),
    "signed input with two senders": (
        crmf.decode_cert_req_messages,
        proof(0xA1, pki.tlv(0xA0, pki.tlv(0xA0, NULL_DN * 2), SEQUENCE), SEQUENCE, b"\x03\x01\x00"),
    ),
    "publicKeyMAC without value": (
        crmf.decode_cert_req_messages,
        proof(0xA1, pki.tlv(0xA0, pki.tlv(0x30, SEQUENCE), SEQUENCE), SEQUENCE, b"\x03\x01\x00"),
    ),
    "answer without responses": (cmp_bodies.decode_cert_rep, SEQUENCE),
    "certConf with a hash of no algorithm": (
        cmp_bodies.decode_cert_confirm,
        many(pki.tlv(0x30, b"\x04\x00", NUMBER, pki.tlv(0xA1, SEQUENCE)), 1),
    ),
    "51 responses": (
        cmp_bodies.decode_cert_rep,
        pki.tlv(0x30, many(pki.tlv(0x30, NUMBER, pki.tlv(0x30, NUMBER)), 51)),
    ),
    "response without status": (cmp_bodies.decode_cert_rep, pki.tlv(0x30, many(pki.tlv(0x30, NUMBER), 1))),
    "key pair without certificate": (
        cmp_bodies.decode_cert_rep,
        pki.tlv(0x30, many(pki.tlv(0x30, NUMBER, pki.tlv(0x30, NUMBER), SEQUENCE), 1)),
    ),
    "two certificates": (
        cmp_bodies.decode_cert_rep,
        pki.tlv(0x30, many(pki.tlv(0x30, NUMBER, pki.tlv(0x30, NUMBER), pki.tlv(0x30, TWO)), 1)),
    ),
    "empty certificate": (
        cmp_bodies.decode_cert_rep,
        pki.tlv(0x30, many(pki.tlv(0x30, NUMBER, pki.tlv(0x30, NUMBER), pki.tlv(0x30, b"\xa0\x00")), 1)),
    ),
    "confirmation without hash": (cmp_bodies.decode_cert_confirm, many(pki.tlv(0x30, NUMBER), 1)),
    "confirmation with a long hash": (
        cmp_bodies.decode_cert_confirm,
        many(pki.tlv(0x30, pki.tlv(0x04, bytes(129)), NUMBER), 1),
    ),
    "empty poll": (cmp_bodies.decode_poll_req, SEQUENCE),
    "poll with two numbers": (cmp_bodies.decode_poll_req, many(pki.tlv(0x30, NUMBER, NUMBER), 1)),
    "poll answer without time": (cmp_bodies.decode_poll_rep, many(pki.tlv(0x30, NUMBER), 1)),
    "poll answer with bad text": (
        cmp_bodies.decode_poll_rep,
        many(pki.tlv(0x30, NUMBER, NUMBER, pki.tlv(0x30, NUMBER)), 1),
    ),
    "poll answer with text no UTF-8": (
        cmp_bodies.decode_poll_rep,
        many(pki.tlv(0x30, NUMBER, NUMBER, pki.tlv(0x30, b"\x0c\x01\xff")), 1),
    ),
    "confirmation not NULL": (cmp_bodies.decode_pki_confirm, SEQUENCE),
    "error without status": (cmp_bodies.decode_error, SEQUENCE),
    "revocation without details": (cmp_revocation.decode_rev_req, many(SEQUENCE, 1)),
    "no revocation": (cmp_revocation.decode_rev_req, SEQUENCE),
    "revocation answer without status": (cmp_revocation.decode_rev_rep, pki.tlv(0x30, SEQUENCE)),
    "revocation answer with more": (
        cmp_revocation.decode_rev_rep,
        pki.tlv(0x30, many(pki.tlv(0x30, NUMBER), 1), pki.tlv(0xA2, SEQUENCE)),
    ),
    "51 general messages": (cmp_support.decode_gen_msg, many(pki.tlv(0x30, OID), 51)),
    "general message without type": (cmp_support.decode_gen_msg, many(SEQUENCE, 1)),
    "general message with two values": (cmp_support.decode_gen_msg, many(pki.tlv(0x30, OID, OID, OID), 1)),
    "no certificates": (cmp_support.decode_certificates, SEQUENCE),
    "no CRLs": (cmp_support.decode_crls, SEQUENCE),
    "root update without certificate": (cmp_support.decode_root_ca_key_update, SEQUENCE),
    "template answer without template": (cmp_support.decode_cert_req_template, SEQUENCE),
    "CRL status without source": (cmp_support.decode_crl_status_list, many(SEQUENCE, 1)),
    "CRL status with an empty source": (
        cmp_support.decode_crl_status_list,
        many(pki.tlv(0x30, b"\xa0\x00"), 1),
    ),
    "identifiers with a number": (cmp_support.decode_oids, many(NUMBER, 1)),
    "no nested message": (cmp.decode_nested, SEQUENCE),
    "21 nested messages": (cmp.decode_nested, many(SEQUENCE, 21)),
    "nested is no list": (cmp.decode_nested, NUMBER),
    "status 7": (decode_status_info, pki.tlv(0x30, b"\x02\x01\x07")),
    "negative status": (decode_status_info, pki.tlv(0x30, b"\x02\x01\xff")),
    "failInfo of 65 bits": (decode_status_info, pki.tlv(0x30, NUMBER, pki.tlv(0x03, b"\x00" + b"\xff" * 9))),
}


@pytest.mark.parametrize("name", BODIES)
def test_malformed_body_is_refused(name: str) -> None:
    """cmp.md C49, C57, C66, C75 and C77 as far as they are about the form."""
    decode, octets = BODIES[name]
    with pytest.raises(MalformedMessage) as caught:
        decode(octets)
    assert caught.value.code is ReasonCode.MESSAGE_ASN1


def test_unknown_failure_bits_are_kept() -> None:
    info = decode_status_info(pki.tlv(0x30, NUMBER, pki.tlv(0x03, b"\x00\x00\x00\x00\x01")))
    assert (info.status, info.failure) == (PkiStatus.REJECTION, PkiFailureInfo(1 << 31))


def test_protected_part_is_cut_from_the_received_octets() -> None:
    """cmp.md C35: header and body as they came, behind a new outer header only."""
    read = cmp.decode_message(CHAIN)
    _, start, _ = der.read_tlv(CHAIN)
    content = read.protected_der[4:]
    assert CHAIN[start : start + len(content)] == content
    cmp_pyasn1.read(read.protected_der, cmp_pyasn1.rfc9810.ProtectedPart())


def test_deeply_nested_value_of_the_header_costs_no_recursion() -> None:
    """cmp.md C82, C86: what is not understood is carried, never descended into."""
    deep = b"\x30\x00"
    for _ in range(20_000):
        deep = pki.tlv(0x30, deep)
    read = cmp.decode_message(message(header(field(8, pki.tlv(0x30, pki.tlv(0x30, OID, deep)))), GENM))
    assert read.header.general_info[0].value_der == deep
