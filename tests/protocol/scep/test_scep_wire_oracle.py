"""No answer tells what became of the plaintext of somebody else's message (scep.md C31; RFC 5652 section 14).

CBC without authentication lets an attacker put blocks of a captured message into one that he signs himself;
what he learns from the answers would give him the challenge in it. So one answer has to serve for everything.
"""

from __future__ import annotations

import itertools
import random
import re
import secrets
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support import keys, pki, scep_wire
from tests.support.raw_csr import tlv
from tests.support.scep_answer import BAD_REQUEST, CertRep, issued
from tests.support.scep_client import (
    CERT_POLL,
    GET_CERT,
    GET_CRL,
    PKCS_REQ,
    RENEWAL_REQ,
    Device,
    issuer_and_serial,
)
from tests.support.scep_lab import ScepLab, rsa_key
from tests.support.scep_wire import PkiMessage

TAMPERED = 10_000
_ADDRESSES = 25  # of each only so many refusals are written down
_FIXED = random.Random(8894)  # the same run every time
_PER_ANSWER = re.compile(rb"PG-[0-9A-Z]{8}")


def _seen(reply: CertRep) -> tuple[int, int | None, str]:
    """All of an answer that is not fresh in each."""
    return reply.status, reply.fail_info, re.sub(r"PG-[0-9A-Z]{8}", "PG", reply.fail_info_text)


def _parts(device: Device, payload: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Content key, the key encrypted, IV and ciphertext of an envelope as a device makes it."""
    key, iv = secrets.token_bytes(16), secrets.token_bytes(16)
    public_key = device.server.ra.public_key()
    wrapped = public_key.encrypt(key, scep_wire.padding.PKCS1v15())  # type: ignore[union-attr]  # an RSA key
    return key, wrapped, iv, scep_wire.encrypted("aes-128-cbc", key, iv, payload)


def _envelope(device: Device, wrapped: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    parts = {"encrypted_key": wrapped, "iv": iv, "ciphertext": ciphertext}
    return scep_wire.envelope(b"", [device.server.ra], **parts)


def _flipped(octets: bytes) -> bytes:
    at = _FIXED.randrange(len(octets))
    return octets[:at] + bytes([octets[at] ^ _FIXED.randrange(1, 256)]) + octets[at + 1 :]


def _tampered(device: Device, csr_der: bytes) -> Iterator[bytes]:
    """Envelopes changed wherever an attacker can change them: key, IV, blocks, their order and number."""
    _, wrapped, iv, ciphertext = _parts(device, csr_der)
    blocks = [ciphertext[at : at + 16] for at in range(0, len(ciphertext), 16)]
    for last in range(256):  # the classical padding oracle: every value of the last byte
        if last:
            spoiled = blocks[-2][:-1] + bytes([blocks[-2][-1] ^ last])
            yield _envelope(device, wrapped, iv, b"".join([*blocks[:-2], spoiled, blocks[-1]]))
    for count in range(1, len(blocks)):
        yield _envelope(device, wrapped, iv, b"".join(blocks[:count]))
        yield _envelope(device, wrapped, blocks[count - 1], b"".join(blocks[count:]))
    for size in (0, 1, 15, 17, len(ciphertext) - 1):
        yield _envelope(device, wrapped, iv, ciphertext[:size])
    for size in (0, 1, 8, 15, 17, 32):
        yield _envelope(device, wrapped, secrets.token_bytes(size), ciphertext)
    for size in (0, 1, 255, 256, 257, 512):
        yield _envelope(device, secrets.token_bytes(size), iv, ciphertext)
    for size in (0, 1, 15, 17, 24, 32, 200):  # another cipher's key, or no key at all
        public_key = device.server.ra.public_key()
        key = public_key.encrypt(b"k" * size, scep_wire.padding.PKCS1v15())  # type: ignore[union-attr]  # RSA
        yield _envelope(device, key, iv, ciphertext)
    while True:
        match _FIXED.randrange(4):
            case 0:
                yield _envelope(device, wrapped, iv, _flipped(ciphertext))
            case 1:
                yield _envelope(device, wrapped, _flipped(iv), ciphertext)
            case 2:
                yield _envelope(device, _flipped(wrapped), iv, ciphertext)
            case _:
                picked = [_FIXED.choice(blocks) for _ in range(_FIXED.randrange(1, 6))]
                yield _envelope(device, wrapped, iv, b"".join(picked))


@pytest.mark.timeout(1500)
def test_ten_thousand_tampered_envelopes_have_one_answer(lab: ScepLab) -> None:
    """scep.md C31, C36: PKCSReq and RenewalReq, by HTTP headers, status, failInfo and text; all recorded."""
    device = lab.device()
    responder = device.server.responders
    captured = device.csr(lab.challenge)
    seen: Counter[tuple[object, ...]] = Counter()
    servers = [lab.new_server(source=f"127.0.2.{number}") for number in range(1, _ADDRESSES + 1)]
    envelopes = itertools.islice(_tampered(device, captured), TAMPERED)
    for number, content in enumerate(envelopes):
        message_type = RENEWAL_REQ if number % 7 == 0 else PKCS_REQ
        message = PkiMessage(device.signer, content, message_type, device.transaction_id)
        server = servers[number * _ADDRESSES // TAMPERED]
        answer = server.post(message.build())
        headers = {k: v for k, v in answer.headers.items() if k not in ("date", "x-request-id")}
        (shown,) = re.findall(rb"\x0c.?([^\x00-\x1f]+ \[message[.]asn1, PG-[0-9A-Z]{8}\])", answer.body)
        seen[answer.status, tuple(sorted(headers.items())), _PER_ANSWER.sub(b"", shown)] += 1
        if number % 100 == 0:
            reply = server.reply(answer, device.signer)
            seen[_seen(reply)] += 1
            assert (reply.fail_info, reply.signer) == (BAD_REQUEST, responder[0])
    assert len(seen) == 2, seen  # one answer, and what every hundredth was read as
    assert sorted(seen.values()) == [TAMPERED // 100, TAMPERED]
    recorded = lab.count("request", "state = 'refused' AND decision LIKE '%message.asn1%'")
    assert recorded == TAMPERED
    assert lab.certificates(device) == 0
    issued(device.send(device.message(captured)))


@pytest.mark.parametrize("message_type", [CERT_POLL, GET_CERT, GET_CRL])
@pytest.mark.parametrize("sender", ["stranger", "with-a-transaction", "with-a-certificate"])
def test_other_messages_do_not_tell_whether_an_envelope_could_be_read(
    lab: ScepLab, message_type: str, sender: str
) -> None:
    """scep.md C31: with the victim's blocks in a poll or a retrieval of the attacker's own."""
    device = lab.device("manual" if sender == "with-a-transaction" else "default")
    if sender == "with-a-transaction":
        device.enrol(lab.challenge)
    elif sender == "with-a-certificate":
        device = device.enrolled(lab.challenge)
    ca = device.server.learned().responders[1]
    readable = [
        tlv(0x30, tlv(0x30), tlv(0x30)),
        device.issuer_and_subject(keys.name("x"), keys.name("y")),
        issuer_and_serial(ca.subject if message_type == GET_CERT else keys.name("z"), 1),
        issuer_and_serial(keys.name("another"), 1),
    ]
    answers = set()
    for payload in (*readable, b"garbage", pki.tlv(0x30), b""):
        _, wrapped, iv, ciphertext = _parts(device, payload)
        for content in (
            _envelope(device, wrapped, iv, ciphertext),
            _envelope(device, wrapped, iv, ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])),
            _envelope(device, secrets.token_bytes(256), iv, ciphertext),
        ):
            answers.add(_seen(device.send(device.message(b"", message_type, content=content))))
    assert len(answers) == 1, answers


@pytest.mark.parametrize("message_type", [PKCS_REQ, RENEWAL_REQ, "18", GET_CERT, GET_CRL])
@pytest.mark.parametrize("endpoint", ["default", "no-retrieval"])
@pytest.mark.parametrize("key", ["P-256", "RSA-2048"])
def test_refusals_for_other_reasons_come_before_anything_is_decrypted(
    lab: ScepLab, endpoint: str, message_type: str, key: str
) -> None:
    """scep.md C31, C35: EC signers and types that are switched off, with a right padding and a wrong one."""
    private_key = rsa_key("device") if key == "RSA-2048" else pki.shared_key(key)
    device = Device(lab.server(endpoint), private_key)
    answers = set()
    for payload in (b"x" * 24, pki.tlv(0x30), b""):
        _, wrapped, iv, ciphertext = _parts(device, payload)
        for content in (
            _envelope(device, wrapped, iv, ciphertext),
            _envelope(device, wrapped, iv, ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])),
            _envelope(device, secrets.token_bytes(256), iv, ciphertext),
        ):
            answers.add(_seen(device.send(device.message(b"", message_type, content=content))))
    assert len(answers) == 1, answers
