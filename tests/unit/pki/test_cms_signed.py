"""Signatures of SignedData: what OpenSSL signs is verified, what we sign OpenSSL and asn1crypto accept."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from asn1crypto import cms as asn1_cms
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.asn1 import cms
from gateway.errors import MalformedMessage
from gateway.model.reasons import ReasonCode
from gateway.pki.certificate import parse_certificate
from gateway.pki.cms_signed import find_certificate, sign, single_value, verify_signer
from gateway.pki.keyfile import FileSigner
from tests.support import ber, pki
from tests.support.raw_csr import attribute, oid, tlv
from tests.support.scep_wire import (
    CONTENT_TYPE,
    DATA,
    MESSAGE_DIGEST,
    MESSAGE_TYPE,
    PkiMessage,
    algorithm,
    self_signed,
)

ALL = ("sha256", "sha384", "sha512", "sha1")
CONTENT = b"what is signed" * 400


def openssl(directory: Path, *command: str, stdin: bytes = b"") -> bytes:
    completed = subprocess.run(
        ["openssl", *command], cwd=directory, input=stdin, capture_output=True, check=False, timeout=120
    )
    assert completed.returncode == 0, completed.stderr.decode()
    return completed.stdout


def write_identity(directory: Path, identity: pki.Identity) -> None:
    (directory / "s.pem").write_bytes(identity.certificate.public_bytes(Encoding.PEM))
    (directory / "k.pem").write_bytes(identity.key_pem)


def verify(octets: bytes, digests: tuple[str, ...] = ALL) -> bytes | None:
    """Verify the one signer by the certificate that it names; gives the content."""
    signed = cms.read_signed_data(octets)
    (signer,) = signed.signers
    verify_signer(signed, signer, find_certificate(signed.certificates_der, signer.sid), digests)
    return signed.content


@pytest.mark.parametrize("kind", ["RSA-2048", "P-256", "P-384"])
@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize(
    "options", [(), ("-keyid",), ("-stream", "-indef")], ids=["by issuer", "by key", "indefinite"]
)
def test_message_signed_by_openssl_is_verified(
    tmp_path: Path, kind: str, digest: str, options: tuple[str, ...]
) -> None:
    """scep.md C16, C19, C23."""
    identity = self_signed(pki.shared_key(kind))
    write_identity(tmp_path, identity)
    command = ("cms", "-sign", "-signer", "s.pem", "-inkey", "k.pem", "-nodetach", "-binary", "-md", digest)
    octets = openssl(tmp_path, *command, "-outform", "DER", *options, stdin=CONTENT)
    if options and "-stream" in options:
        assert octets[1] == 0x80
    assert verify(octets) == CONTENT


@pytest.mark.parametrize("salt", ["digest", "max", "20"])
def test_pss_signature_by_openssl_is_verified(tmp_path: Path, salt: str) -> None:
    """scep.md C23."""
    write_identity(tmp_path, self_signed(pki.shared_key("RSA-2048")))
    command = ["cms", "-sign", "-signer", "s.pem", "-inkey", "k.pem", "-nodetach", "-binary", "-md", "sha256"]
    command += ["-keyopt", "rsa_padding_mode:pss", "-keyopt", f"rsa_pss_saltlen:{salt}", "-outform", "DER"]
    assert verify(openssl(tmp_path, *command, stdin=CONTENT)) == CONTENT


@pytest.mark.parametrize("padding", ["pkcs1", "combined", "pss"])
@pytest.mark.parametrize("digest", ALL)
def test_each_way_to_name_an_rsa_signature_is_verified(padding: str, digest: str) -> None:
    """scep.md C23: rsaEncryption, shaXWithRSAEncryption and RSASSA-PSS."""
    identity = self_signed(pki.shared_key("RSA-2048"))
    assert verify(PkiMessage(identity, CONTENT, digest=digest, padding=padding).build()) == CONTENT


def test_attributes_out_of_order_are_verified_as_received() -> None:
    """scep.md C20: the signature covers the order as received."""
    identity = self_signed(pki.shared_key("RSA-2048"))
    octets = PkiMessage(identity, CONTENT, in_order=False).build()
    (signer,) = cms.read_signed_data(octets).signers
    found = [attribute.oid for attribute in signer.attributes]
    assert found != [
        a.oid for a in cms.read_signed_data(PkiMessage(identity, CONTENT).build()).signers[0].attributes
    ]
    assert verify(octets) == CONTENT


def test_attributes_sent_as_ber_but_signed_as_der_are_verified() -> None:
    """RFC 5652 section 5.4: the signature is over DER, whatever form the message has."""

    def rule(path: tuple[int, ...], tag: int) -> ber.Form:
        certificates = path[:4] == (1, 0, 3, 0)
        return ber.Form.KEEP if certificates or not tag & 0x20 else ber.Form.INDEFINITE

    octets = PkiMessage(self_signed(pki.shared_key("RSA-2048")), CONTENT).build()
    assert verify(ber.reencode(octets, rule)) == CONTENT


def test_attributes_sent_in_another_order_than_signed_are_verified() -> None:
    """RFC 5652 section 5.4: what is signed is DER, so sorted."""
    message = PkiMessage(self_signed(pki.shared_key("RSA-2048")), CONTENT)
    octets = message.build()
    in_order = b"".join(message._attributes())
    message.in_order = False
    assert verify(octets.replace(in_order, b"".join(message._attributes()))) == CONTENT


def test_message_like_those_of_apple_is_verified() -> None:
    """scep.md B1, C16."""
    octets = PkiMessage(self_signed(pki.shared_key("RSA-2048")), CONTENT).build()
    assert verify(ber.reencode(octets, ber.like_apple)) == CONTENT


@pytest.mark.parametrize("position", range(0, 256, 17))
def test_changed_signature_is_an_integrity_fault(position: int) -> None:
    """scep.md C21."""
    identity = self_signed(pki.shared_key("RSA-2048"))
    octets = bytearray(PkiMessage(identity, CONTENT).build())
    octets[-1 - position] ^= 0x10
    with pytest.raises(MalformedMessage) as caught:
        verify(bytes(octets))
    assert caught.value.code is ReasonCode.MESSAGE_INTEGRITY


@pytest.mark.parametrize(
    "change",
    [
        {"stated_digest": b"\0" * 32},
        {"stated_digest": b""},
        {"signature": b""},
        {"signature": b"\0" * 256},
        {"signature": b"\1" * 1000},
        {"content_type": "1.2.840.113549.1.7.3"},
    ],
)
def test_content_that_was_not_signed_is_an_integrity_fault(change: dict[str, object]) -> None:
    """scep.md C21: a messageDigest, a content type or a signature that is of something else."""
    identity = self_signed(pki.shared_key("RSA-2048"))
    message = PkiMessage(identity, CONTENT)
    if "content_type" in change:
        message.attributes = PkiMessage(identity, CONTENT)._attributes()
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(MalformedMessage) as caught:
        verify(message.build())
    assert caught.value.code is ReasonCode.MESSAGE_INTEGRITY


@pytest.mark.parametrize(("digest", "digests"), [("sha1", ("sha256",)), ("sha384", ("sha256", "sha512"))])
def test_digest_that_is_not_taken_names_those_that_are(digest: str, digests: tuple[str, ...]) -> None:
    """scep.md C22."""
    identity = self_signed(pki.shared_key("RSA-2048"))
    with pytest.raises(MalformedMessage, match=f"{digest}; {', '.join(digests)}") as caught:
        verify(PkiMessage(identity, CONTENT, digest=digest).build(), digests)
    assert caught.value.code is ReasonCode.MESSAGE_ALGORITHM


def test_md5_is_refused_even_where_somebody_lists_it() -> None:
    """scep.md C22: MD5 never."""
    identity = self_signed(pki.shared_key("RSA-2048"))
    for padding in ("pkcs1", "combined"):
        with pytest.raises(MalformedMessage) as caught:
            verify(PkiMessage(identity, CONTENT, digest="md5", padding=padding).build(), ("md5", "sha256"))
        assert caught.value.code is ReasonCode.MESSAGE_ALGORITHM


def test_weak_hash_hidden_in_the_signature_algorithm_is_refused() -> None:
    """scep.md C22: digestAlgorithm SHA-256, but the signature itself by sha1WithRSAEncryption."""
    identity = self_signed(pki.shared_key("RSA-2048"))
    octets = PkiMessage(identity, CONTENT, padding="combined").build()
    sha256, sha1 = algorithm("1.2.840.113549.1.1.11", b"\5\0"), algorithm("1.2.840.113549.1.1.5", b"\5\0")
    head, _, tail = octets.rpartition(sha256)
    with pytest.raises(MalformedMessage, match="sha1") as caught:
        verify(head + sha1 + tail, ("sha256",))
    assert caught.value.code is ReasonCode.MESSAGE_ALGORITHM


@pytest.mark.parametrize(
    "dotted", ["1.2.840.10045.4.3.2", "1.2.840.10040.4.3", "1.2.3.4.5.6.7", "1.3.101.112"]
)
def test_signature_algorithm_that_does_not_fit_the_key_is_refused(dotted: str) -> None:
    identity = self_signed(pki.shared_key("RSA-2048"))
    octets = PkiMessage(identity, CONTENT).build()
    message = cms.read_signed_data(octets)
    (signer,) = message.signers
    changed = cms.SignerInfo(
        signer.sid,
        signer.digest,
        signer.attributes,
        signer.signed_set,
        cms.AlgorithmIdentifier(dotted),
        signer.signature,
    )
    with pytest.raises(MalformedMessage) as caught:
        verify_signer(message, changed, parse_certificate(identity.certificate_der), ALL)
    assert caught.value.code is ReasonCode.MESSAGE_ALGORITHM


def test_attribute_that_stands_there_twice_or_has_two_values_is_malformed() -> None:
    """scep.md C20."""
    one = cms.Attribute(MESSAGE_TYPE, (b"\x13\x0219",))
    assert single_value((one,), MESSAGE_TYPE) == b"\x13\x0219"
    assert single_value((one,), CONTENT_TYPE) is None
    for attributes in (
        (one, one),
        (cms.Attribute(MESSAGE_TYPE, one.values * 2),),
        (cms.Attribute(MESSAGE_TYPE, ()),),
    ):
        with pytest.raises(MalformedMessage, match="once, with one value"):
            single_value(attributes, MESSAGE_TYPE)


@pytest.mark.parametrize("missing", [CONTENT_TYPE, MESSAGE_DIGEST])
def test_missing_attribute_of_cms_is_malformed(missing: str) -> None:
    """RFC 5652 section 5.3."""
    message = PkiMessage(self_signed(pki.shared_key("RSA-2048")), CONTENT)
    message.attributes = [each for each in message._attributes() if oid(missing) not in each]
    with pytest.raises(MalformedMessage, match="must be there"):
        verify(message.build())


def test_certificate_is_found_by_its_identifier_wherever_it_stands() -> None:
    """scep.md C19: not by position; the others may be anything."""
    identity = self_signed(pki.shared_key("RSA-2048"))
    others = [self_signed(pki.shared_key("P-256"), f"other-{n}").certificate_der for n in range(3)]
    nonsense = [tlv(0x30, b"\5\0"), tlv(0x30), tlv(0x30, tlv(0x30, b"\2\1\5"))]
    for by_key in (False, True):
        certificates = [*others, *nonsense, identity.certificate_der]
        octets = PkiMessage(identity, CONTENT, by_key=by_key, certificates=certificates).build()
        assert verify(octets) == CONTENT
        without = PkiMessage(identity, CONTENT, by_key=by_key, certificates=others)
        with pytest.raises(MalformedMessage, match="certificate of its signer"):
            verify(without.build())


def test_certificate_without_key_identifier_is_found_by_the_hash_of_its_key() -> None:
    """RFC 5280 section 4.2.1.2, method 1."""
    with_id = self_signed(pki.shared_key("RSA-2048"))
    identity = self_signed(pki.shared_key("RSA-2048"), subject_id=False)
    octets = PkiMessage(with_id, CONTENT, by_key=True, certificates=[identity.certificate_der]).build()
    assert verify(octets) == CONTENT


def test_issuer_written_in_another_string_type_is_the_same_issuer() -> None:
    """scep.md C19: names match by RFC 5280 section 7.1 where their octets do not."""
    identity = self_signed(pki.shared_key("RSA-2048"), "device-1")
    octets = PkiMessage(identity, CONTENT).build()
    utf8, printable = b"\x0c\x08device-1", b"\x13\x08DEVICE-1"
    head, _, tail = octets.rpartition(utf8)
    assert verify(head + printable + tail) == CONTENT


@pytest.mark.parametrize("kind", ["RSA-2048", "P-256"])
@pytest.mark.parametrize("digest", ALL)
@pytest.mark.parametrize("content", [CONTENT, b"", None], ids=["content", "empty", "absent"])
def test_what_we_sign_is_verified_by_openssl(
    tmp_path: Path, kind: str, digest: str, content: bytes | None
) -> None:
    """scep.md C28: eContent empty and absent too."""
    identity = self_signed(pki.shared_key(kind))
    write_identity(tmp_path, identity)
    octets = sign(
        content,
        ((MESSAGE_TYPE, b"\x13\x013"),),
        certificate_der=identity.certificate_der,
        signer=FileSigner(identity.private_key, "test"),
        digest=digest,
    )
    detached = ("-content", "/dev/null") if content is None else ()
    command = (
        "cms",
        "-verify",
        "-inform",
        "DER",
        "-CAfile",
        "s.pem",
        "-binary",
        "-purpose",
        "any",
        *detached,
    )
    assert openssl(tmp_path, *command, stdin=octets) == (content or b"")
    assert verify(octets) == content


def test_what_we_sign_reads_the_same_in_asn1crypto() -> None:
    """Certificates in the given order, attributes in DER's; RFC 5652 section 5.1."""
    identity = self_signed(pki.shared_key("RSA-2048"))
    others = [self_signed(pki.shared_key("P-256"), cn).certificate_der for cn in ("z", "a", "m")]
    octets = sign(
        CONTENT,
        ((MESSAGE_TYPE, b"\x13\x013"),),
        certificate_der=identity.certificate_der,
        signer=FileSigner(identity.private_key, "test"),
        certificates_der=[others[0], identity.certificate_der, *others[1:]],
    )
    info = asn1_cms.ContentInfo.load(octets, strict=True)
    signed = info["content"]
    (signer,) = signed["signer_infos"]
    assert (signed["version"].native, signer["version"].native) == ("v1", "v1")
    assert signed["encap_content_info"]["content"].native == CONTENT
    found = [each.chosen.dump() for each in signed["certificates"]]
    assert found == [others[0], identity.certificate_der, *others[1:]]
    assert signer["sid"].chosen["serial_number"].native == identity.certificate.serial_number
    attributes = [each.dump() for each in signer["signed_attrs"]]
    assert attributes == sorted(attributes)
    assert attribute(MESSAGE_TYPE, b"\x13\x013") in attributes
    assert {each["type"].dotted for each in signer["signed_attrs"]} == {
        CONTENT_TYPE,
        MESSAGE_DIGEST,
        MESSAGE_TYPE,
    }
    assert signed["encap_content_info"]["content_type"].dotted == DATA
