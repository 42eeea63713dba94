"""What certificate requests ask for, and proofs of possession by signature.

RFC 4211 sections 4 and 5, cmp.md C52 to C60.
"""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from pyasn1_alt_modules import rfc4211

from gateway.asn1 import crmf, crmf_encode
from gateway.asn1.cmp import decode_message
from gateway.asn1.crmf import CertId, CertTemplate, Control, PkMacValue, SigningKeyInput, SigningKeyPop
from gateway.errors import MalformedMessage
from gateway.model.evidence import SecretBytes
from gateway.model.keys import ClientKey, KeyType, Pop
from gateway.model.names import NameKind
from gateway.model.reasons import ReasonCode
from gateway.pki.crmf_request import CrmfRequest, read_request, verify_possession
from gateway.pki.mac_keys import MacKeys
from gateway.pki.message_mac import MacLimits, PbmParameters, encode_mac_algorithm, hmac_with
from tests.support import cmp_pyasn1, cmp_vectors, pki

KEY, OTHER_KEY = pki.shared_key("P-256"), pki.key("P-256")
SPKI = pki.spki_der(KEY)
ECDSA_SHA256 = pki.tlv(0x30, pki.oid("1.2.840.10045.4.3.2"))
ECDSA_SHA1 = pki.tlv(0x30, pki.oid("1.2.840.10045.4.1"))
SUBJECT = pki.name("device-1", O="Örg").public_bytes()
SENDER = pki.tlv(0xA4, SUBJECT)
FULL = CertTemplate(subject_der=SUBJECT, public_key_der=SPKI)
KEY_ONLY = CertTemplate(public_key_der=SPKI)
SECRET = SecretBytes(b"shared secret")
PBM = PbmParameters(b"s" * 16, "sha256", 500, hmac_with("sha256"))


def sign(octets: bytes, key: Any = KEY, hashed: hashes.HashAlgorithm | None = None) -> bytes:
    return key.sign(octets, ECDSA(hashed or hashes.SHA256()))


def request(template: CertTemplate, pop: crmf.ProofOfPossession | None, *controls: Control) -> CrmfRequest:
    encoded = crmf_encode.encode_cert_req_msg(crmf_encode.encode_cert_request(0, template, controls), pop)
    cmp_pyasn1.read(encoded, rfc4211.CertReqMsg())
    return read_request(crmf.decode_cert_req_msg(encoded))


def signed(template: CertTemplate, key: Any = KEY, algorithm_der: bytes = ECDSA_SHA256) -> CrmfRequest:
    return request(
        template, SigningKeyPop(algorithm_der, sign(crmf_encode.encode_cert_request(0, template), key))
    )


def with_input(
    authenticator: bytes | PkMacValue, template: CertTemplate, spki_der: bytes = SPKI
) -> CrmfRequest:
    octets = crmf_encode.encode_signing_key_input(authenticator, spki_der)
    cmp_pyasn1.read(octets, rfc4211.POPOSigningKeyInput())
    pop_input = SigningKeyInput(authenticator, spki_der, octets)
    return request(template, SigningKeyPop(ECDSA_SHA256, sign(octets), pop_input))


async def verify(
    asked: CrmfRequest, *, sender_der: bytes | None = None, secret: SecretBytes | None = None
) -> ClientKey:
    return await verify_possession(
        asked, sender_der=sender_der, secret=secret, keys=MacKeys(), limits=MacLimits()
    )


async def refusal(asked: CrmfRequest, code: ReasonCode, **proven: Any) -> str:
    with pytest.raises(MalformedMessage) as caught:
        await verify(asked, **proven)
    assert caught.value.code is code
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "key_type", "hash_name"),
    [
        ("ir-mac-q1", KeyType.EC, "sha256"),
        ("ir-rsa-implicit-q1", KeyType.RSA, "sha512"),
        ("ir-ed25519-q1", KeyType.ED25519, None),
        ("kur-signed-q1", KeyType.EC, "sha256"),
        ("cr-rsa-signed-q1", KeyType.EC, "sha384"),
    ],
)
async def test_proof_by_openssl_is_verified(name: str, key_type: KeyType, hash_name: str | None) -> None:
    (message,) = crmf.decode_cert_req_messages(decode_message(cmp_vectors.read(name)).body_der)
    key = await verify(read_request(message))
    assert (key.pop, key.public_key.type, key.signature_hash) == (Pop.SIGNATURE, key_type, hash_name)


def test_request_of_openssl_asks_for_subject_names_and_extensions() -> None:
    (message,) = crmf.decode_cert_req_messages(decode_message(cmp_vectors.read("ir-mac-q1")).body_der)
    asked = read_request(message)
    assert str(asked.identity.subject) == "O=Vectors,CN=device-1"
    assert [(san.kind, san.value) for san in asked.identity.sans] == [
        (NameKind.DNS, "device-1.test"),
        (NameKind.IP, "192.0.2.7"),
    ]
    assert asked.identity.extensions == ()
    assert (asked.misplaced, asked.old_cert_id, asked.subject_given) == ((), None, True)


def test_key_update_request_names_the_old_certificate() -> None:
    """cmp.md C60."""
    (message,) = crmf.decode_cert_req_messages(decode_message(cmp_vectors.read("kur-signed-q1")).body_der)
    device = x509.load_der_x509_certificate(cmp_vectors.certificate_der("device"))
    old = read_request(message).old_cert_id
    assert old is not None
    assert old.serial_number == device.serial_number
    assert old.issuer_der.endswith(device.issuer.public_bytes())


async def test_each_octet_of_a_signed_request_counts() -> None:
    """The signature is over the certReq as received."""
    octets = cmp_vectors.read("ir-mac-q1")
    body = decode_message(octets).body_der
    (message,) = crmf.decode_cert_req_messages(body)
    start = body.index(message.cert_req_der)
    refused = 0
    for position in range(start + 4, start + len(message.cert_req_der)):
        changed = body[:position] + bytes((body[position] ^ 1,)) + body[position + 1 :]
        try:
            (mutant,) = crmf.decode_cert_req_messages(changed)
            asked = read_request(mutant)
            if asked.public_key is None:
                continue
            await verify(asked)
        except MalformedMessage:
            refused += 1
            continue
        raise AssertionError(f"octet {position} does not count")
    assert refused > 150


async def test_signature_by_another_key_is_refused() -> None:
    """cmp.md C53."""
    await refusal(signed(FULL, OTHER_KEY), ReasonCode.CSR_SIGNATURE)


async def test_signature_with_sha1_is_refused() -> None:
    """cmp.md C36."""
    octets = crmf_encode.encode_cert_request(0, FULL)
    asked = request(FULL, SigningKeyPop(ECDSA_SHA1, sign(octets, hashed=hashes.SHA1())))
    await refusal(asked, ReasonCode.KEY_SIGNATURE_HASH)


async def test_signature_algorithm_of_another_kind_of_key_is_refused() -> None:
    """cmp.md C53: alg and public key mismatch."""
    rsa = pki.tlv(0x30, pki.oid("1.2.840.113549.1.1.11"), b"\x05\x00")
    text = await refusal(signed(FULL, algorithm_der=rsa), ReasonCode.CSR_SIGNATURE)
    assert "does not fit" in text


async def test_missing_proof_and_an_authoritys_word_are_left_to_policy() -> None:
    """cmp.md C53, C54."""
    assert (await verify(request(FULL, None))).pop is Pop.NONE
    assert (await verify(request(FULL, crmf.RaVerified()))).pop is Pop.RA_VERIFIED


@pytest.mark.parametrize("use", crmf.KeyUse)
@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("thisMessage", b"\x80\x01\x00"),
        ("encrCert", b"\x81\x01\x00"),
        ("challengeResp", b"\x81\x01\x01"),
        ("dhMAC", b"\x82\x01\x00"),
    ],
)
async def test_proof_for_keys_that_cannot_sign_is_refused_by_name(
    use: crmf.KeyUse, method: str, value: bytes
) -> None:
    asked = request(FULL, crmf.PrivateKeyPop(use, method, value))
    text = await refusal(asked, ReasonCode.CSR_POSSESSION)
    assert use in text
    assert method in text


async def test_signature_over_request_without_subject_is_taken() -> None:
    """OpenSSL signs the certReq even without a subject in it; that binds more than a poposkInput."""
    asked = signed(KEY_ONLY)
    assert not asked.subject_given
    assert (await verify(asked)).pop is Pop.SIGNATURE


async def test_signed_input_with_the_proven_sender_is_taken() -> None:
    """RFC 4211 section 4.1, case 2."""
    asked = with_input(SENDER, KEY_ONLY)
    assert (await verify(asked, sender_der=SENDER)).pop is Pop.SIGNATURE
    same_otherwise_encoded = pki.tlv(0xA4, pki.name("DEVICE-1", O="Örg").public_bytes())
    assert (await verify(asked, sender_der=same_otherwise_encoded)).pop is Pop.SIGNATURE


@pytest.mark.parametrize(
    "sender_der",
    [None, pki.tlv(0xA4, pki.name("device-2").public_bytes()), b"\x82\x03a.b"],
    ids=["no sender", "another", "another kind"],
)
async def test_signed_input_with_a_sender_that_is_not_proven_is_refused(sender_der: bytes | None) -> None:
    await refusal(with_input(SENDER, KEY_ONLY), ReasonCode.CSR_POSSESSION, sender_der=sender_der)


async def public_key_mac(secret: SecretBytes, octets: bytes = SPKI) -> PkMacValue:
    return PkMacValue(encode_mac_algorithm(PBM), await MacKeys().mac(PBM, secret, octets))


async def test_signed_input_with_a_mac_over_the_key_is_taken() -> None:
    """RFC 4211 section 4.1, case 1: the shared secret stands for the identity."""
    asked = with_input(await public_key_mac(SECRET), KEY_ONLY)
    assert (await verify(asked, secret=SECRET)).pop is Pop.SIGNATURE


async def test_signed_input_with_a_wrong_mac_is_refused() -> None:
    right = with_input(await public_key_mac(SECRET), KEY_ONLY)
    await refusal(right, ReasonCode.CSR_POSSESSION, secret=SecretBytes(b"another"))
    await refusal(right, ReasonCode.CSR_POSSESSION, secret=None)
    other_key = with_input(await public_key_mac(SECRET, pki.spki_der(OTHER_KEY)), KEY_ONLY)
    await refusal(other_key, ReasonCode.CSR_POSSESSION, secret=SECRET)
    no_mac = with_input(PkMacValue(ECDSA_SHA256, b"x"), KEY_ONLY)
    await refusal(no_mac, ReasonCode.CSR_POSSESSION, secret=SECRET)


async def test_signed_input_beside_subject_and_key_is_refused() -> None:
    """RFC 4211 appendix B: poposkInput must be omitted then; a stolen one would fit any subject."""
    await refusal(with_input(SENDER, FULL), ReasonCode.CSR_POSSESSION, sender_der=SENDER)


async def test_signed_input_with_another_key_than_the_template_is_refused() -> None:
    asked = with_input(SENDER, KEY_ONLY, pki.spki_der(OTHER_KEY))
    await refusal(asked, ReasonCode.CSR_POSSESSION, sender_der=SENDER)


@pytest.mark.parametrize(
    ("template", "misplaced"),
    [
        (CertTemplate(version=2), ()),
        (CertTemplate(version=0), ("version",)),
        (CertTemplate(version=3), ("version",)),
        (CertTemplate(serial_number=1), ("serialNumber",)),
        (CertTemplate(signing_alg_der=ECDSA_SHA256), ("signingAlg",)),
        (CertTemplate(issuer_uid=b"\x00"), ("issuerUID",)),
        (CertTemplate(subject_uid=b"\x00", serial_number=0), ("serialNumber", "subjectUID")),
    ],
)
def test_fields_that_are_the_cas_are_named(template: CertTemplate, misplaced: tuple[str, ...]) -> None:
    """cmp.md C57."""
    assert request(template, None).misplaced == misplaced


async def test_request_without_key_or_with_an_empty_one_asks_for_a_key_pair() -> None:
    """cmp.md C83."""
    none = request(CertTemplate(subject_der=SUBJECT), None)
    assert (none.public_key, none.wanted_key_alg_der) == (None, None)
    algorithm = pki.tlv(0x30, pki.oid("1.2.840.10045.2.1"), pki.oid("1.2.840.10045.3.1.7"))
    empty = request(CertTemplate(public_key_der=pki.tlv(0x30, algorithm, b"\x03\x01\x00")), None)
    assert (empty.public_key, empty.wanted_key_alg_der) == (None, algorithm)
    await refusal(empty, ReasonCode.CSR_POSSESSION)


def test_empty_subject_is_told_from_an_absent_one() -> None:
    """cmp.md C52."""
    empty = crmf.decode_template(crmf_encode.encode_template(CertTemplate(subject_der=b"\x30\x00")))
    assert read_request(crmf.CertReqMsg(0, empty, b"")).subject_given
    assert not request(CertTemplate(), None).subject_given


def test_extensions_are_split_into_names_and_others() -> None:
    csr = x509.load_der_x509_csr(
        pki.csr(KEY, sans=("a.test",), extensions=((pki.key_usage("digital_signature"), True),))
    )
    builder = rfc4211.CertTemplate()
    for extension in csr.extensions:
        item = cmp_pyasn1.rfc5280.Extension()
        item["extnID"] = extension.oid.dotted_string
        item["critical"] = extension.critical
        item["extnValue"] = extension.value.public_bytes()
        builder["extensions"].append(item)
    template_der = cmp_pyasn1.der(builder)
    message = crmf.CertReqMsg(0, crmf.decode_template(template_der), b"")
    identity = read_request(message).identity
    assert [san.value for san in identity.sans] == ["a.test"]
    assert [(extension.oid, extension.critical) for extension in identity.extensions] == [("2.5.29.15", True)]


@pytest.mark.parametrize(
    ("template", "code"),
    [
        (CertTemplate(subject_der=pki.tlv(0x30, b"\x31\x00")), ReasonCode.NAME_MALFORMED),
        (CertTemplate(public_key_der=pki.tlv(0x30, ECDSA_SHA256)), ReasonCode.MESSAGE_ASN1),
        (CertTemplate(public_key_der=SPKI[:-1] + bytes((SPKI[-1] ^ 1,))), ReasonCode.KEY_CURVE),
        (CertTemplate(extensions_der=b"\x30\x00"), ReasonCode.MESSAGE_ASN1),
        (CertTemplate(extensions_der=pki.tlv(0x30, ECDSA_SHA256)), ReasonCode.MESSAGE_ASN1),
    ],
    ids=["name", "no key", "point off the curve", "no extension", "an extension that is none"],
)
def test_unreadable_part_of_a_template_is_refused(template: CertTemplate, code: ReasonCode) -> None:
    with pytest.raises(MalformedMessage) as caught:
        read_request(crmf.CertReqMsg(0, template, b""))
    assert caught.value.code is code


def test_unreadable_old_certificate_is_refused() -> None:
    control = Control(crmf.OLD_CERT_ID, b"\x30\x00")
    with pytest.raises(MalformedMessage):
        request(FULL, None, control)


def test_old_certificate_written_by_us_is_read() -> None:
    cert_id = CertId(SENDER, 77)
    control = Control(crmf.OLD_CERT_ID, crmf_encode.encode_cert_id(cert_id))
    assert request(FULL, None, control).old_cert_id == cert_id
