"""Good CMP messages of every kind, from OpenSSL and from our encoders: what fuzzing and mutations start from.

``python -m tests.support.cmp_seeds`` writes them into fuzz/corpus/cmp_message and fuzz/corpus/crmf.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

from fuzz.crmf import SECRET, SENDER_DER
from gateway.asn1 import cmp, cmp_support, crmf, crmf_encode
from gateway.asn1.cmp import BodyType, InfoTypeAndValue, PkiHeader
from gateway.asn1.crmf import CertTemplate, Control, PkMacValue, SigningKeyInput, SigningKeyPop
from gateway.cmp.protection import Draft, protect_with_secret, unprotected
from gateway.pki.mac_keys import MacKeys
from gateway.pki.message_mac import (
    Gmac,
    MacParameters,
    Pbmac1Parameters,
    PbmParameters,
    encode_mac_algorithm,
    hmac_with,
)
from tests.support import cmp_vectors, pki

_CORPUS = Path(__file__).resolve().parents[2] / "fuzz" / "corpus"
_NULL_DN = b"\xa4\x02\x30\x00"
_HEADER = PkiHeader(2, _NULL_DN, _NULL_DN, transaction_id=b"t" * 16, sender_nonce=b"n" * 16, free_text=("x",))
_ECDSA_SHA256 = pki.tlv(0x30, pki.oid("1.2.840.10045.4.3.2"))
_PBM = PbmParameters(b"s" * 16, "sha256", 100, hmac_with("sha256"))
_MACS: tuple[MacParameters, ...] = (
    Pbmac1Parameters(b"s" * 16, "sha256", 1000, 32, hmac_with("sha256")),
    PbmParameters(b"s" * 16, "sha256", 500, Gmac("2.16.840.1.101.3.4.1.9", 16, b"n" * 12)),
)


@functools.cache
def messages() -> tuple[bytes, ...]:
    """PKIMessages."""
    update = cmp_support.RootCaKeyUpdate(b"\x30\x00", b"\x30\x00", b"\x30\x00")
    crl_status = cmp_support.CrlStatus(pki.tlv(0xA0, pki.tlv(0x86, b"http://a/")), by_issuer=False)
    template = cmp_support.CertReqTemplate(
        CertTemplate(subject_der=b"\x30\x00"), (Control(crmf.RSA_KEY_LEN, b"\x02\x02\x08\x00"),)
    )
    values = {
        cmp_support.CA_CERTS: pki.tlv(0x30, b"\x30\x00"),
        cmp_support.ROOT_CA_KEY_UPDATE: cmp_support.encode_root_ca_key_update(update),
        cmp_support.CRL_STATUS_LIST: cmp_support.encode_crl_status_list([crl_status]),
        cmp_support.CERT_REQ_TEMPLATE: cmp_support.encode_cert_req_template(template),
        cmp_support.UNSUPPORTED_OIDS: cmp_support.encode_oids(["2.999"]),
    }
    infos = [InfoTypeAndValue(oid, value) for oid, value in values.items()]
    general = Draft(_HEADER, BodyType.GENP, cmp_support.encode_gen_msg(infos))
    nested = pki.tlv(0x30, cmp_vectors.read("ir-mac-q1"), cmp_vectors.read("genm-mac-q1"))
    return (
        *(cmp_vectors.read(name) for name in cmp_vectors.NAMES),
        *(asyncio.run(protect_with_secret(general, mac, SECRET, MacKeys())) for mac in _MACS),
        unprotected(Draft(_HEADER, BodyType.NESTED, nested)),
        *(unprotected(Draft(_HEADER, BodyType.IR, body_der)) for body_der in _own_requests()),
    )


@functools.cache
def requests() -> tuple[bytes, ...]:
    """CertReqMessages."""
    asking = (cmp.decode_message(cmp_vectors.read(name)) for name in cmp_vectors.NAMES)
    kinds = (BodyType.IR, BodyType.CR, BodyType.KUR)
    return (*(message.body_der for message in asking if message.body_type in kinds), *_own_requests())


@functools.cache
def _own_requests() -> tuple[bytes, ...]:
    """What OpenSSL does not write: signed inputs, controls, keys to be made."""
    private_key = pki.shared_key("P-256")
    spki_der = pki.spki_der(private_key)
    mac = asyncio.run(MacKeys().mac(_PBM, SECRET, spki_der))
    made = []
    for authenticator in (SENDER_DER, PkMacValue(encode_mac_algorithm(_PBM), mac)):
        octets = crmf_encode.encode_signing_key_input(authenticator, spki_der)
        signature = private_key.sign(octets, ECDSA(hashes.SHA256()))
        pop = SigningKeyPop(_ECDSA_SHA256, signature, SigningKeyInput(authenticator, spki_der, octets))
        made.append(_request(CertTemplate(public_key_der=spki_der), pop))
    old = crmf.CertId(SENDER_DER, 2**70)
    controls = (
        Control(crmf.REG_TOKEN, pki.tlv(0x0C, b"token")),
        Control(crmf.OLD_CERT_ID, crmf_encode.encode_cert_id(old)),
    )
    empty_key = pki.tlv(0x30, pki.tlv(0x30, pki.oid("1.2.840.113549.1.1.1"), b"\x05\x00"), b"\x03\x01\x00")
    wanted = CertTemplate(version=2, subject_der=SENDER_DER[2:], public_key_der=empty_key)
    made.append(_request(wanted, None, *controls))
    agreed = crmf.PrivateKeyPop(crmf.KeyUse.KEY_AGREEMENT, "encrCert", b"\x81\x01\x00")
    made.append(_request(CertTemplate(serial_number=7, issuer_uid=b"\x00\x01"), agreed))
    return tuple(made)


def _request(template: CertTemplate, pop: crmf.ProofOfPossession | None, *controls: Control) -> bytes:
    cert_request = crmf_encode.encode_cert_request(0, template, controls)
    return crmf_encode.encode_cert_req_messages(
        [crmf_encode.encode_cert_req_msg(cert_request, pop, controls)]
    )


def main() -> None:
    for name, seeds in (("cmp_message", messages()), ("crmf", requests())):
        directory = _CORPUS / name
        directory.mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            (directory / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)


if __name__ == "__main__":
    main()
