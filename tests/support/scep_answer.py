"""CertReps (RFC 8894 section 3.3.2) read with asn1crypto and cryptography, by nothing of the gateway's own.

Whatever a CertRep must have is asserted whenever one is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from asn1crypto import cms, core
from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.support import scep_wire
from tests.support.authority import Identity

SUCCESS, FAILURE, PENDING = 0, 2, 3
BAD_ALG, BAD_MESSAGE_CHECK, BAD_REQUEST, BAD_TIME, BAD_CERT_ID = range(5)
_HASHES: dict[str, Any] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
_KNOWN = {
    scep_wire.CONTENT_TYPE,
    scep_wire.MESSAGE_DIGEST,
    scep_wire.TRANSACTION_ID,
    scep_wire.MESSAGE_TYPE,
    scep_wire.PKI_STATUS,
    scep_wire.FAIL_INFO,
    scep_wire.FAIL_INFO_TEXT,
    scep_wire.SENDER_NONCE,
    scep_wire.RECIPIENT_NONCE,
    "1.2.840.113549.1.9.5",  # signingTime
}


class _Values(core.SetOf):
    _child_spec = core.Any


class _Attribute(core.Sequence):
    _fields = [("type", core.ObjectIdentifier), ("values", _Values)]  # noqa: RUF012  # asn1crypto's way


class _Attributes(core.SetOf):
    _child_spec = _Attribute


@dataclass(frozen=True, slots=True)
class CertRep:
    """A CertRep whose signature, digest and attributes were checked.

    ``certificates`` and ``crls`` are those inside the envelope of a SUCCESS, in their order.
    """

    status: int
    fail_info: int | None
    fail_info_text: str
    transaction_id: bytes
    transaction_id_tag: int
    sender_nonce: bytes
    recipient_nonce: bytes | None
    signer: x509.Certificate
    digest: str
    content: bytes | None = field(repr=False)  # None where eContent is absent
    attached: int  # certificates in the outer SignedData
    cipher: str = ""
    key_wraps: tuple[bytes, ...] = field(default=(), repr=False)  # the encryptedKeys of the envelope
    certificates: tuple[x509.Certificate, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()


def read_cert_rep(octets: bytes, responders: Sequence[x509.Certificate], opener: Identity | None) -> CertRep:
    """Check what every CertRep must have (RFC 8894 sections 3.2 and 3.3.2) and open it for ``opener``."""
    info = cms.ContentInfo.load(octets, strict=True)
    assert info["content_type"].native == "signed_data"
    signed = info["content"]
    assert signed["encap_content_info"]["content_type"].native == "data"
    (signer_info,) = signed["signer_infos"]
    certificate = _responder(signer_info, responders)
    encapsulated = signed["encap_content_info"]["content"]
    content = None if isinstance(encapsulated, core.Void) else bytes(encapsulated.native)
    digest = signer_info["digest_algorithm"]["algorithm"].native
    found = _attributes(signer_info, certificate, digest)
    hasher = hashes.Hash(_HASHES[digest]())
    hasher.update(content or b"")
    assert found[scep_wire.MESSAGE_DIGEST].native == hasher.finalize()
    assert found[scep_wire.MESSAGE_TYPE].native == "3"
    return _reply(found, signed, certificate, digest, content, opener)


def _responder(signer_info: Any, responders: Sequence[x509.Certificate]) -> x509.Certificate:
    sid = signer_info["sid"].chosen
    for certificate in responders:
        if (
            sid["serial_number"].native == certificate.serial_number
            and sid["issuer"].dump() == certificate.issuer.public_bytes()
        ):
            return certificate
    raise AssertionError("the CertRep is signed by none of the CA's certificates")


def _attributes(signer_info: Any, certificate: x509.Certificate, digest: str) -> dict[str, Any]:
    """The signed attributes by OID, each once with one value, after their signature was checked."""
    signed_set = b"\x31" + signer_info["signed_attrs"].dump()[1:]
    public_key = certificate.public_key()
    assert isinstance(public_key, rsa.RSAPublicKey)
    public_key.verify(signer_info["signature"].native, signed_set, PKCS1v15(), _HASHES[digest]())
    attributes = _Attributes.load(signed_set, strict=True)
    oids = [each["type"].dotted for each in attributes]
    assert len(oids) == len(set(oids)), "an attribute stands twice in the CertRep"
    assert set(oids) <= _KNOWN, oids
    assert all(len(each["values"]) == 1 for each in attributes)
    written = [each.dump() for each in attributes]
    assert written == sorted(written), "signed attributes are not in DER's order"
    return {each["type"].dotted: each["values"][0].parse() for each in attributes}


def _reply(
    found: dict[str, Any],
    signed: Any,
    certificate: x509.Certificate,
    digest: str,
    content: bytes | None,
    opener: Identity | None,
) -> CertRep:
    status = int(_printable(found[scep_wire.PKI_STATUS]))
    fail_info = found.get(scep_wire.FAIL_INFO)
    assert (fail_info is not None) is (status == FAILURE), "failInfo stands in a FAILURE, nowhere else"
    fail_text = found.get(scep_wire.FAIL_INFO_TEXT)
    assert fail_text is None or (isinstance(fail_text, core.UTF8String) and status == FAILURE)
    sender_nonce = found[scep_wire.SENDER_NONCE].native
    assert len(sender_nonce) == 16
    recipient_nonce = found.get(scep_wire.RECIPIENT_NONCE)
    transaction_id = found[scep_wire.TRANSACTION_ID]
    certificates = signed["certificates"]
    opened: dict[str, Any] = {}
    if status == SUCCESS:
        assert content
        if opener is not None:
            opened = open_envelope(content, opener)
    else:
        assert not content, "only a SUCCESS has an envelope"
    return CertRep(
        status=status,
        fail_info=None if fail_info is None else int(_printable(fail_info)),
        fail_info_text="" if fail_text is None else str(fail_text.native),
        transaction_id=transaction_id.contents,
        transaction_id_tag=transaction_id.dump()[0],
        sender_nonce=sender_nonce,
        recipient_nonce=None if recipient_nonce is None else recipient_nonce.native,
        signer=certificate,
        digest=digest,
        content=content,
        attached=0 if isinstance(certificates, core.Void) else len(certificates),
        **opened,
    )


def _printable(value: Any) -> str:
    assert isinstance(value, core.PrintableString)
    return str(value.native)


def open_envelope(content: bytes, opener: Identity) -> dict[str, Any]:
    """Decrypt the pkcsPKIEnvelope and read the degenerate SignedData in it: cipher, key, what it carries."""
    info = cms.ContentInfo.load(content, strict=True)
    assert info["content_type"].native == "enveloped_data"
    enveloped = info["content"]
    (recipient,) = [each.chosen for each in enveloped["recipient_infos"]]
    rid = recipient["rid"].chosen
    assert rid["serial_number"].native == opener.certificate.serial_number
    assert rid["issuer"].dump() == opener.certificate.issuer.public_bytes()
    wrapped = recipient["encrypted_key"].native
    encrypted = enveloped["encrypted_content_info"]
    algorithm = encrypted["content_encryption_algorithm"]
    (name,) = (k for k, v in scep_wire.CIPHERS.items() if v[0] == algorithm["algorithm"].dotted)
    key = opener.private_key.decrypt(wrapped, PKCS1v15())
    plaintext = _decrypted(name, key, algorithm["parameters"].native, encrypted["encrypted_content"].native)
    degenerate = cms.ContentInfo.load(plaintext, strict=True)["content"]
    assert len(degenerate["signer_infos"]) == 0
    assert isinstance(degenerate["encap_content_info"]["content"], core.Void)
    return {
        "cipher": name,
        "key_wraps": (wrapped,),
        "certificates": tuple(
            x509.load_der_x509_certificate(each.chosen.dump())
            for each in _present(degenerate, "certificates")
        ),
        "crls": tuple(x509.load_der_x509_crl(each.chosen.dump()) for each in _present(degenerate, "crls")),
    }


def _present(degenerate: Any, name: str) -> list[Any]:
    return [] if isinstance(degenerate[name], core.Void) else list(degenerate[name])


def _decrypted(name: str, key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    _, octets, block = scep_wire.CIPHERS[name]
    assert len(key) == octets
    cipher: Any = algorithms.AES(key) if block == 16 else TripleDES((key * 3)[:24])
    decryptor = Cipher(cipher, modes.CBC(iv)).decryptor()
    unpadder = padding.PKCS7(8 * block).unpadder()
    return unpadder.update(decryptor.update(ciphertext) + decryptor.finalize()) + unpadder.finalize()


def certs_only(octets: bytes) -> list[x509.Certificate]:
    """The certificates of a degenerate SignedData in their order (RFC 8894 section 3.4)."""
    signed = cms.ContentInfo.load(octets, strict=True)["content"]
    assert len(signed["signer_infos"]) == 0
    assert len(signed["digest_algorithms"]) == 0
    assert isinstance(signed["encap_content_info"]["content"], core.Void)
    return [x509.load_der_x509_certificate(each.chosen.dump()) for each in signed["certificates"]]


def issued(reply: CertRep) -> x509.Certificate:
    """The certificate of a SUCCESS."""
    assert reply.status == SUCCESS, (reply.status, reply.fail_info, reply.fail_info_text)
    return reply.certificates[0]


def refused(reply: CertRep, fail_info: int, code: str = "") -> str:
    """Check a FAILURE and give its failInfoText, which names the reason code and hides everything else."""
    assert (reply.status, reply.fail_info) == (FAILURE, fail_info), reply.fail_info_text
    assert f"[{code}" in reply.fail_info_text, reply.fail_info_text
    assert len(reply.fail_info_text) < 2000
    assert "Traceback" not in reply.fail_info_text
    return reply.fail_info_text
