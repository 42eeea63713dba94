"""Nobody learns from answers what became of a ciphertext that he changed (scep.md C31)."""

from __future__ import annotations

import random

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from gateway.errors import MalformedMessage
from gateway.frontend import MessageIdentity
from gateway.pki.keyfile import FileSigner
from gateway.scep.message import (
    MessageRules,
    open_pki_message,
    read_csr,
    read_issuer_and_serial,
    read_pki_message,
)
from tests.support import pki
from tests.support.raw_csr import tlv
from tests.support.scep_wire import PkiMessage, encrypted, envelope, raw_encrypted, self_signed

RULES = MessageRules(("sha256",), ("aes-128-cbc",))
KEY, IV = bytes(range(16)), bytes(range(16, 32))


class Target:
    """An RA, and a message to it as an attacker or its own sender would change it."""

    def __init__(self) -> None:
        ra = self_signed(pki.shared_key("RSA-2048"), "ra")
        self.certificate = ra.certificate
        self.identity = MessageIdentity(ra.certificate_der, (), FileSigner(ra.private_key, "test"))
        self.device = self_signed(pki.shared_key("RSA-2048"), "device-1")
        self.csr = pki.csr(self.device.private_key, cn="device-1", sans=["a.test"], challenge=b"sesame")

    def answer(self, ciphertext: bytes, iv: bytes = IV) -> tuple[str, ...]:
        """Code, text and path that the sender is told; empty if the CSR is taken."""
        content = envelope(b"", [self.certificate], key=KEY, iv=iv, ciphertext=ciphertext)
        message = read_pki_message(PkiMessage(self.device, content).build())
        try:
            read_csr(open_pki_message(message, [self.identity], RULES), RULES)
        except MalformedMessage as fault:
            return fault.code, str(fault), fault.path
        return ()


def test_changed_ciphertexts_all_get_one_answer() -> None:
    """scep.md C31: any change of content and vector, re-signed by the sender's own key."""
    target, chance = Target(), random.Random(4711)
    good = encrypted("aes-128-cbc", KEY, IV, target.csr)
    assert target.answer(good) == ()
    found = set()
    for _ in range(600):
        changed, iv = bytearray(good), bytearray(IV)
        for _ in range(chance.choice((1, 1, 2, 5))):
            place = chance.randrange(len(good) + 16)
            if place < 16:
                iv[place] ^= 1 << chance.randrange(8)
            else:
                changed[place - 16] ^= 1 << chance.randrange(8)
        if chance.random() < 0.2:
            del changed[16 * chance.randrange(len(changed) // 16) :]
        if bytes(changed) != good or bytes(iv) != IV:
            found.add(target.answer(bytes(changed), bytes(iv)))
    assert len(found) == 1
    assert () not in found


def test_padding_oracle_has_nothing_to_ask() -> None:
    """All 256 values of the octet that decides the padding, appended to the whole ciphertext: one answer."""
    target = Target()
    good = encrypted("aes-128-cbc", KEY, IV, target.csr)
    block = bytearray(16)
    found = set()
    valid = 0
    for guess in range(256):
        block[15] = guess
        changed = good + bytes(block) + good[:16]
        decryptor = Cipher(algorithms.AES(KEY), modes.CBC(IV)).decryptor()
        last = (decryptor.update(changed) + decryptor.finalize())[-1]
        valid += last == 1
        found.add(target.answer(changed))
    assert valid == 1  # one of them has a right padding, and the attacker must not see which
    assert len(found) == 1


def test_wrong_plaintexts_get_the_answer_of_wrong_ciphertexts() -> None:
    """scep.md C36: no CSR, half a CSR, one with bytes after it, one whose own signature or key is wrong."""
    target = Target()
    found = {target.answer(raw_encrypted("aes-128-cbc", KEY, IV, bytes(32)))}
    for payload in (
        b"",
        b"hello",
        target.csr[:-1],
        target.csr + b"\0",
        target.csr + target.csr,
        tlv(0x30, b"\5\0"),
        pki.broken_signature(target.csr),
        pki.raw_csr(target.device.private_key, spki=tlv(0x30, b"\5\0")),
        pki.raw_csr(pki.shared_key("P-256"), spki=pki.spki_der(pki.key())),
    ):
        found.add(target.answer(encrypted("aes-128-cbc", KEY, IV, payload)))
    assert len(found) == 1


@pytest.mark.parametrize(
    "payload", [b"", b"\x30\x00", b"\x30\x80" * 5000, tlv(0x30, b"\2\1\5"), b"\xff" * 40]
)
def test_wrong_payload_of_polls_and_retrievals_gets_the_same_answer_too(payload: bytes) -> None:
    """scep.md C46: the payload is read whole at once, and a nesting bomb inside is nothing special."""
    target = Target()
    content = envelope(payload, [target.certificate])
    opened = [
        open_pki_message(
            read_pki_message(PkiMessage(target.device, content, message_type=kind).build()),
            [target.identity],
            RULES,
        )
        for kind in ("21", "22")
    ]
    said = target.answer(b"\0" * 32)[1]
    for request in opened:
        with pytest.raises(MalformedMessage, match=said):
            read_issuer_and_serial(request)


@pytest.mark.parametrize("kind", ["20", "21", "22"])
def test_undecryptable_message_without_csr_is_as_one_that_holds_nothing(kind: str) -> None:
    """scep.md C31: wrong padding, key or vector; refused types are refused before any of it."""
    target = Target()
    good = encrypted("aes-128-cbc", KEY, IV, b"what somebody else has written")
    for parts in (
        {"key": KEY, "iv": IV, "ciphertext": good[:-1] + bytes((good[-1] ^ 1,))},
        {"encrypted_key": bytes(256), "iv": IV, "ciphertext": good},
        {"key": KEY, "iv": b"short", "ciphertext": good},
    ):
        content = envelope(b"", [target.certificate], **parts)  # type: ignore[arg-type]  # mixed parts
        message = read_pki_message(PkiMessage(target.device, content, message_type=kind).build())
        assert open_pki_message(message, [target.identity], RULES).payload == b""
        with pytest.raises(MalformedMessage, match="switched off"):
            open_pki_message(message, [target.identity], RULES, _refuse)


def _refuse(_: object) -> None:
    raise MalformedMessage("switched off")


def test_csr_with_a_name_that_none_may_have_is_told_so_once_its_signature_proves_it() -> None:
    """scep.md C36: nobody but the holder of the key can have written it, so its fault can be told."""
    target = Target()
    umlaut = pki.tlv(0x30, pki.tlv(0x82, "ä.test".encode()))
    extension = pki.tlv(0x30, pki.oid("2.5.29.17"), pki.tlv(0x04, umlaut))
    bad = pki.raw_csr(
        target.device.private_key,
        attributes=(pki.attribute(pki.EXTENSION_REQUEST, pki.tlv(0x30, extension)),),
    )
    code, text, path = target.answer(encrypted("aes-128-cbc", KEY, IV, bad))
    assert (code, path) == ("name.malformed", "identity.sans[0]")
    assert "ASCII" in text
    version = encrypted("aes-128-cbc", KEY, IV, pki.raw_csr(target.device.private_key, version=1))
    assert target.answer(version)[2] == "version"
    opaque = target.answer(bytes(32))
    for changed in (bad + b"\0", bad[:-1] + bytes((bad[-1] ^ 1,)), pki.broken_signature(target.csr)):
        assert target.answer(encrypted("aes-128-cbc", KEY, IV, changed)) == opaque
