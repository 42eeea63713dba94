"""EnvelopedData: what OpenSSL encrypts is opened and the other way round; whatever fails, fails alike."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
from asn1crypto import cms as asn1_cms
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.asn1 import cms
from gateway.errors import MalformedMessage
from gateway.model.reasons import ReasonCode
from gateway.pki.certificate import parse_certificate
from gateway.pki.cms_enveloped import CIPHERS, check_algorithms, decrypt, envelop, find_recipient, is_rsa
from gateway.pki.keyfile import FileSigner
from tests.support import ber, pki, scep_wire
from tests.support.raw_csr import tlv
from tests.support.scep_wire import algorithm, envelope, self_signed

PAYLOAD = b"a certification request" * 60
# Debian's OpenSSL has single DES only in its legacy provider
OPENSSL_CIPHERS = {
    "aes-128-cbc": "-aes128",
    "aes-192-cbc": "-aes192",
    "aes-256-cbc": "-aes256",
    "des-ede3-cbc": "-des3",
}


def ra() -> pki.Identity:
    return self_signed(pki.shared_key("RSA-2048"), "ra")


class CountingSigner(FileSigner):
    """Counts its uses of the private key."""

    __slots__ = ("count",)

    def __init__(self, identity: pki.Identity) -> None:
        super().__init__(identity.private_key, "test")
        self.count = 0

    def decrypt(self, ciphertext: bytes) -> bytes:
        self.count += 1
        return super().decrypt(ciphertext)


def opened(octets: bytes, identity: pki.Identity, ciphers: tuple[str, ...] = tuple(CIPHERS)) -> bytes:
    enveloped = cms.read_enveloped_data(octets)
    found = find_recipient(enveloped, [identity.certificate_der])
    assert found is not None
    check_algorithms(enveloped, found[1], ciphers)
    return decrypt(enveloped, found[1], FileSigner(identity.private_key, "test"))


def openssl(directory: Path, *command: str, stdin: bytes) -> bytes:
    completed = subprocess.run(
        ["openssl", *command], cwd=directory, input=stdin, capture_output=True, check=False, timeout=120
    )
    assert completed.returncode == 0, completed.stderr.decode()
    return completed.stdout


@pytest.mark.parametrize("cipher", OPENSSL_CIPHERS)
@pytest.mark.parametrize(
    "options", [("cms",), ("cms", "-keyid"), ("cms", "-stream", "-indef"), ("smime",)], ids=" ".join
)
def test_message_encrypted_by_openssl_is_opened(
    tmp_path: Path, cipher: str, options: tuple[str, ...]
) -> None:
    """scep.md C16, C29 (SKI), C32."""
    identity = ra()
    (tmp_path / "ra.pem").write_bytes(identity.certificate.public_bytes(Encoding.PEM))
    command, *more = options
    octets = openssl(
        tmp_path,
        *(command, "-encrypt", "-binary", "-outform", "DER", OPENSSL_CIPHERS[cipher], *more, "ra.pem"),
        stdin=PAYLOAD,
    )
    assert opened(octets, identity) == PAYLOAD
    enveloped = cms.read_enveloped_data(octets)
    assert check_algorithms(enveloped, enveloped.recipients[0], (cipher,)) == cipher


@pytest.mark.parametrize("cipher", [*OPENSSL_CIPHERS, "des-cbc"])
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 3000])
def test_what_we_encrypt_is_opened_by_openssl(tmp_path: Path, cipher: str, size: int) -> None:
    """scep.md C33: the key and the initialisation vector are new each time."""
    identity = ra()
    (tmp_path / "ra.pem").write_bytes(identity.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "k.pem").write_bytes(identity.key_pem)
    payload = (PAYLOAD * 3)[:size]
    certificate = parse_certificate(identity.certificate_der)
    octets = envelop(payload, certificate, cipher)
    command = ("cms", "-decrypt", "-inform", "DER", "-binary", "-recip", "ra.pem", "-inkey", "k.pem")
    legacy = ("-provider", "legacy", "-provider", "default") if cipher == "des-cbc" else ()
    assert openssl(tmp_path, *command, *legacy, stdin=octets) == payload
    assert opened(octets, identity) == payload
    info = asn1_cms.ContentInfo.load(octets, strict=True)["content"]["encrypted_content_info"]
    other = asn1_cms.ContentInfo.load(envelop(payload, certificate, cipher), strict=True)["content"]
    ours = info["content_encryption_algorithm"]["parameters"].native
    assert other["encrypted_content_info"]["content_encryption_algorithm"]["parameters"].native != ours
    assert info["encrypted_content"].native != other["encrypted_content_info"]["encrypted_content"].native


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("form", ["plain", "apple", "go"])
def test_each_form_of_encrypted_content_is_opened(cipher: str, form: str) -> None:
    """scep.md B11, C16: Apple's is indefinite, micromdm's constructed with a definite length."""
    identity = ra()
    octets = envelope(PAYLOAD, [identity.certificate], cipher=cipher)
    if form == "apple":
        octets = ber.reencode(octets, ber.like_apple_envelope)
    elif form == "go":

        def like_go(path: tuple[int, ...], tag: int) -> ber.Form:
            return ber.Form.DEFINITE_PIECES if path == (1, 0, 2, 2) else ber.Form.SHORT

        octets = ber.reencode(octets, like_go, piece=len(PAYLOAD) * 2)
    assert opened(octets, identity) == PAYLOAD


def test_recipient_is_found_among_several_and_by_whichever_identity_is_first() -> None:
    """scep.md C29, C30: a client may encrypt to all certificates of GetCACert."""
    identities = [ra(), self_signed(pki.shared_key("RSA-2048"), "previous")]
    foreign = self_signed(pki.key("RSA-2048"), "foreign")
    certificates = [foreign.certificate, identities[1].certificate]
    enveloped = cms.read_enveloped_data(envelope(PAYLOAD, certificates))
    found = find_recipient(enveloped, [each.certificate_der for each in identities])
    assert found is not None
    assert found[0] == 1
    assert (
        found[1].encrypted_key
        == enveloped.recipients[[1, 0][_sorted_first(enveloped, foreign)]].encrypted_key
    )
    assert find_recipient(enveloped, [identities[0].certificate_der]) is None


def _sorted_first(enveloped: cms.EnvelopedData, foreign: pki.Identity) -> int:
    """0 if the foreign recipient stands first in the message."""
    rid = enveloped.recipients[0].rid
    assert isinstance(rid, cms.IssuerAndSerial)
    return 0 if rid.serial == foreign.certificate.serial_number else 1


def test_recipient_with_our_serial_number_but_another_issuer_is_not_ours() -> None:
    """scep.md C29."""
    identity = ra()
    octets = envelope(PAYLOAD, [identity.certificate])
    other = octets.replace(b"\x0c\x02ra", b"\x0c\x02rb")
    assert other != octets
    assert find_recipient(cms.read_enveloped_data(other), [identity.certificate_der]) is None


@pytest.mark.parametrize("cipher", ["des-cbc", "des-ede3-cbc", "aes-256-cbc", "rc2-cbc"])
def test_cipher_that_is_not_taken_names_those_that_are(cipher: str) -> None:
    """scep.md C32."""
    identity = ra()
    octets = envelope(PAYLOAD, [identity.certificate], cipher=cipher)
    with pytest.raises(MalformedMessage, match="aes-128-cbc, aes-192-cbc can be used") as caught:
        opened(octets, identity, ("aes-128-cbc", "aes-192-cbc"))
    assert caught.value.code is ReasonCode.MESSAGE_ALGORITHM


def test_other_key_transport_is_refused_before_the_key_is_used(tmp_path: Path) -> None:
    """scep.md C32: OAEP is not supported."""
    identity = ra()
    (tmp_path / "ra.pem").write_bytes(identity.certificate.public_bytes(Encoding.PEM))
    command = ["cms", "-encrypt", "-binary", "-outform", "DER", "-aes128", "-recip", "ra.pem"]
    octets = openssl(tmp_path, *command, "-keyopt", "rsa_padding_mode:oaep", stdin=PAYLOAD)
    with pytest.raises(MalformedMessage, match=r"1\.2\.840\.113549\.1\.1\.7") as caught:
        opened(octets, identity)
    assert caught.value.code is ReasonCode.MESSAGE_ALGORITHM


def test_authenticated_encryption_is_refused_by_name(tmp_path: Path) -> None:
    """scep.md C32: AuthEnvelopedData."""
    (tmp_path / "ra.pem").write_bytes(ra().certificate.public_bytes(Encoding.PEM))
    command = ("cms", "-encrypt", "-binary", "-outform", "DER", "-aes-128-gcm", "ra.pem")
    with pytest.raises(MalformedMessage, match="AuthEnvelopedData") as caught:
        cms.read_enveloped_data(openssl(tmp_path, *command, stdin=PAYLOAD))
    assert caught.value.code is ReasonCode.MESSAGE_ALGORITHM


def test_recipients_without_rsa_are_counted_and_passed_over(tmp_path: Path) -> None:
    """Key agreement and passwords are other kinds of recipients (RFC 5652 sections 6.2.2 and 6.2.4)."""
    device = self_signed(pki.shared_key("P-256"))
    (tmp_path / "ec.pem").write_bytes(device.certificate.public_bytes(Encoding.PEM))
    base = ("cms", "-encrypt", "-binary", "-outform", "DER", "-aes128")
    for more in (("ec.pem",), ("-pwri_password", "sesame")):
        enveloped = cms.read_enveloped_data(openssl(tmp_path, *base, *more, stdin=PAYLOAD))
        assert (enveloped.recipients, enveloped.others) == ((), 1)


def _changes(identity: pki.Identity) -> dict[str, bytes]:
    """Everything that can go wrong from the use of the private key on."""
    recipients, key, iv = [identity.certificate], bytes(range(16)), bytes(16)
    good = scep_wire.encrypted("aes-128-cbc", key, iv, PAYLOAD)
    bad_padding = scep_wire.raw_encrypted("aes-128-cbc", key, iv, PAYLOAD[:64] + bytes(15) + b"\x11")
    zero_padding = scep_wire.raw_encrypted("aes-128-cbc", key, iv, bytes(16))
    return {
        "encrypted key of zeros": envelope(PAYLOAD, recipients, encrypted_key=bytes(256)),
        "encrypted key of noise": envelope(PAYLOAD, recipients, encrypted_key=b"\x21" * 256),
        "encrypted key too short": envelope(PAYLOAD, recipients, encrypted_key=b"\x21" * 255),
        "encrypted key too long": envelope(PAYLOAD, recipients, encrypted_key=b"\x21" * 257),
        "encrypted key above the modulus": envelope(PAYLOAD, recipients, encrypted_key=b"\xff" * 256),
        "encrypted key empty": envelope(PAYLOAD, recipients, encrypted_key=b""),
        "content key of another length": envelope(PAYLOAD, recipients, key=bytes(24), ciphertext=good),
        "content key of no length": envelope(PAYLOAD, recipients, key=b"", ciphertext=good),
        "another content key": envelope(PAYLOAD, recipients, key=bytes(16), ciphertext=good),
        "padding wrong": envelope(b"", recipients, key=key, iv=iv, ciphertext=bad_padding),
        "padding zero": envelope(b"", recipients, key=key, iv=iv, ciphertext=zero_padding),
        "ciphertext of half a block": envelope(b"", recipients, key=key, iv=iv, ciphertext=good[:-8]),
        "ciphertext empty": envelope(b"", recipients, key=key, iv=iv, ciphertext=b""),
        "initialisation vector too short": envelope(b"", recipients, key=key, iv=bytes(12), ciphertext=good),
        "no initialisation vector": envelope(b"", recipients, key=key, iv=iv, ciphertext=good).replace(
            tlv(0x04, iv), tlv(0x0C, iv)
        ),
    }


def test_everything_that_goes_wrong_behind_the_key_is_one_and_the_same_fault() -> None:
    """scep.md C31; RFC 8894 section 3.2.2 with RFC 3218: nothing tells wrong padding from wrong content."""
    identity = ra()
    found = set()
    for octets in _changes(identity).values():
        enveloped = cms.read_enveloped_data(octets)
        recipient = enveloped.recipients[0]
        check_algorithms(enveloped, recipient, tuple(CIPHERS))
        with pytest.raises(MalformedMessage) as caught:
            decrypt(enveloped, recipient, FileSigner(identity.private_key, "test"))
        found.add((caught.value.code, str(caught.value), caught.value.path))
    assert len(found) == 1


def test_wrong_key_costs_the_same_one_use_of_the_private_key() -> None:
    """scep.md C31."""
    identity = ra()
    counts = []
    for octets in (
        envelope(PAYLOAD, [identity.certificate]),
        envelope(PAYLOAD, [identity.certificate], encrypted_key=b"\x21" * 256),
        envelope(PAYLOAD, [identity.certificate], key=bytes(24), ciphertext=bytes(32)),
    ):
        signer = CountingSigner(identity)
        enveloped = cms.read_enveloped_data(octets)
        with contextlib.suppress(MalformedMessage):
            decrypt(enveloped, enveloped.recipients[0], signer)
        counts.append(signer.count)
    assert counts == [1, 1, 1]


class UnwrappedSigner(CountingSigner):
    """What the RSA operation gave for a key of another length, without doing it a thousand times."""

    def decrypt(self, ciphertext: bytes) -> bytes:
        return bytes(24)


def test_content_key_of_another_length_never_opens_anything_by_chance() -> None:
    """scep.md C31: one in 256 random keys gives a padding that looks right."""
    identity = ra()
    enveloped = cms.read_enveloped_data(envelope(PAYLOAD, [identity.certificate]))
    for _ in range(2_000):
        with pytest.raises(MalformedMessage):
            decrypt(enveloped, enveloped.recipients[0], UnwrappedSigner(identity))


@pytest.mark.parametrize("kind", ["P-256", "Ed25519"])
def test_envelope_to_a_key_that_cannot_decrypt_is_refused(kind: str) -> None:
    certificate = parse_certificate(pki.Authority().issue(private_key=pki.shared_key(kind)).certificate_der)
    assert not is_rsa(certificate)
    with pytest.raises(ValueError, match="RSA"):
        envelop(PAYLOAD, certificate, "aes-128-cbc")
    assert is_rsa(parse_certificate(ra().certificate_der))


def test_key_transport_algorithm_of_another_kind_names_itself() -> None:
    identity = ra()
    octets = envelope(PAYLOAD, [identity.certificate], key_transport=algorithm("1.2.3.4"))
    with pytest.raises(MalformedMessage, match=r"1\.2\.3\.4") as caught:
        opened(octets, identity)
    assert caught.value.code is ReasonCode.MESSAGE_ALGORITHM
