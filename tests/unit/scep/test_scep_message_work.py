"""What a changed ciphertext costs: the same operations, whatever became of the plaintext (scep.md C31)."""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType

import pytest

from gateway.errors import MalformedMessage
from gateway.scep.message import open_pki_message, read_csr, read_pki_message
from tests.support import pki
from tests.support.raw_csr import oid
from tests.support.scep_wire import PkiMessage, encrypted, envelope
from tests.unit.scep.test_scep_message_oracle import IV, KEY, RULES, Target

TARGET = Target()
_OPERATIONS = ("decrypt", "verify")  # methods of RSA keys


def _flipped(octets: bytes, at: int) -> bytes:
    changed = bytearray(octets)
    changed[at] ^= 1
    return bytes(changed)


def _sealed(plaintext: bytes) -> bytes:
    return encrypted("aes-128-cbc", KEY, IV, plaintext)


_SAN, _SHA256_WITH_RSA = oid("2.5.29.17"), oid("1.2.840.113549.1.1.11")
CHANGED = {
    "padding": _flipped(_sealed(TARGET.csr), -17),
    "no CSR": _sealed(bytes(len(TARGET.csr))),
    "cut": _sealed(TARGET.csr)[:-64],
    "key": _sealed(TARGET.csr.replace(oid("1.2.840.113549.1.1.1"), oid("1.2.840.113549.1.1.2"))),
    "name": _sealed(TARGET.csr.replace(b"device-1", b"device-2")),
    "extension": _sealed(TARGET.csr.replace(_SAN, _flipped(_SAN, -1))),
    "challenge": _sealed(TARGET.csr.replace(b"sesame", b"sesamE")),
    "algorithm": _sealed(TARGET.csr.replace(_SHA256_WITH_RSA, oid("1.2.840.10045.4.3.2").ljust(11, b"\0"))),
    "signature of EC": _sealed(pki.raw_csr(pki.shared_key("P-256"), spki=pki.spki_der(pki.key("RSA-2048")))),
    "signature by MD2": _sealed(TARGET.csr.replace(_SHA256_WITH_RSA, oid("1.2.840.113549.1.1.2"))),
    "signature": _sealed(_flipped(TARGET.csr, -3)),
}


def _operations(message: bytes) -> tuple[Counter[str], str]:
    """RSA operations that it takes to read the message, and the detail for the log; "" if it is good."""
    found: Counter[str] = Counter()

    def count(_frame: FrameType, event: str, called: object) -> None:
        name = getattr(called, "__name__", "")
        if event == "c_call" and name in _OPERATIONS:
            found[name] += 1

    before, detail = sys.getprofile(), ""
    sys.setprofile(count)
    try:
        read_csr(open_pki_message(read_pki_message(message), [TARGET.identity], RULES), RULES)
    except MalformedMessage as fault:
        detail = fault.detail
    finally:
        sys.setprofile(before)
    return found, detail


def _message(ciphertext: bytes, **parts: bytes) -> bytes:
    content = envelope(b"", [TARGET.certificate], iv=IV, ciphertext=ciphertext, **{"key": KEY, **parts})  # type: ignore[arg-type]  # octets only
    return PkiMessage(TARGET.device, content).build()


def test_good_message_costs_one_decryption_and_two_verifications() -> None:
    """scep.md D: the message's signature and the CSR's own."""
    assert _operations(_message(_sealed(TARGET.csr))) == (Counter(decrypt=1, verify=2), "")


@pytest.mark.parametrize("what", CHANGED)
def test_changed_ciphertext_costs_what_a_good_one_does(what: str) -> None:
    """scep.md C31: what cannot be read is verified in the shape of a decoy; the log tells them apart."""
    found, detail = _operations(_message(CHANGED[what]))
    assert found == Counter(decrypt=1, verify=2)
    assert detail


@pytest.mark.parametrize("octets", [16, 8, 200], ids=["another key", "short", "long"])
def test_wrong_content_key_costs_what_a_right_one_does(octets: int) -> None:
    """scep.md C31: implicit rejection."""
    found, detail = _operations(_message(_sealed(TARGET.csr), key=b"k" * octets))
    assert found == Counter(decrypt=1, verify=2)
    assert detail


def test_wrongly_wrapped_content_key_costs_what_a_right_one_does() -> None:
    """scep.md C31: RSA decryption gives a random key."""
    found, _ = _operations(_message(_sealed(TARGET.csr), encrypted_key=b"\1" * 256))
    assert found == Counter(decrypt=1, verify=2)
