"""Make seeds with the producers of the tests: ``python -m fuzz.seeds [NAME...]`` writes ``corpus/NAME/*``.

Files are named by their content, so nothing is overwritten. Keys are new at each run; what is encrypted is
encrypted to the RA of ``tests/unit/scep/vectors``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from cryptography import x509

from tests.support import acme_signing, ber, pki
from tests.support.scep_wire import PkiMessage, certificate_id, envelope, self_signed

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "fuzz" / "corpus"
SCEP_VECTORS = ROOT / "tests" / "unit" / "scep" / "vectors"
PKI_VECTORS = ROOT / "tests" / "unit" / "pki" / "vectors"
KINDS = ("P-256", "RSA-2048", "Ed25519")
SANS = ("a.test", "ip:192.0.2.1", "email:a@b.test", "uri:https://a.test/")


def _ra() -> x509.Certificate:
    return x509.load_pem_x509_certificate((SCEP_VECTORS / "ra.pem").read_bytes())


def scep_messages() -> Iterator[bytes]:
    for vector in sorted(SCEP_VECTORS.glob("*.der")):
        yield vector.read_bytes()
    rsa, ec = (self_signed(pki.shared_key(kind)) for kind in ("RSA-2048", "P-256"))
    csr = pki.csr(rsa.private_key, sans=SANS, challenge=b"sesame")
    good = PkiMessage(rsa, envelope(csr, [_ra()])).build()
    yield good
    yield ber.reencode(good, ber.like_apple)
    inner = ber.reencode(envelope(csr, [_ra()], cipher="aes-256-cbc"), ber.like_apple_envelope)
    yield PkiMessage(rsa, inner, by_key=True).build()
    yield PkiMessage(ec, envelope(csr, [_ra()], by_key=True), in_order=False, digest="sha384").build()
    yield PkiMessage(rsa, envelope(csr, [_ra()], cipher="des-ede3-cbc"), padding="pss").build()
    yield PkiMessage(rsa, envelope(certificate_id(_ra()), [_ra()]), message_type="21").build()
    yield PkiMessage(rsa, b"", message_type="20", sender_nonce=None).build()


def enveloped() -> Iterator[bytes]:
    for cipher in ("aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "des-ede3-cbc", "des-cbc"):
        yield envelope(b"payload" * 9, [_ra()], cipher=cipher)
    yield envelope(b"payload", [_ra(), self_signed(pki.shared_key("RSA-2048")).certificate], by_key=False)
    yield ber.reencode(envelope(b"payload" * 50, [_ra()]), ber.like_apple_envelope)
    yield envelope(b"payload", [_ra()], encrypted_key=b"\x21" * 256)
    yield envelope(b"payload", [_ra()], ciphertext=b"\x21" * 31)


def _always(form: ber.Form) -> ber.Rule:
    return lambda _path, _tag: form


def ber_elements() -> Iterator[bytes]:
    csr, string = pki.csr(pki.shared_key("P-256"), sans=SANS), pki.tlv(0x04, b"octets" * 60)
    for form in (ber.Form.KEEP, ber.Form.LONG, ber.Form.INDEFINITE):
        yield ber.reencode(csr, _always(form))
    for form in (ber.Form.PIECES, ber.Form.DEFINITE_PIECES):
        yield ber.reencode(string, _always(form))
    yield b"\x30\x80" * 40 + b"\0\0" * 40


def scep_queries() -> Iterator[bytes]:
    message = base64.b64encode(PkiMessage(self_signed(pki.shared_key("P-256")), b"").build())
    plain = message.decode()
    for text in (quote(plain), plain, plain.replace("=", "%3D"), quote(quote(plain)), plain.rstrip("=")):
        yield b"operation=PKIOperation&message=" + text.encode()
    lines = "\n".join(plain[at : at + 64] for at in range(0, len(plain), 64))
    yield b"operation=PKIOperation&message=" + quote(lines).encode()
    yield b"operation=PKIOperation&message=" + base64.urlsafe_b64encode(base64.b64decode(message))
    yield b"operation=GetCACert&message=CAIdentifier"
    yield b"OPERATION=%22GetCACaps%22"


def csrs() -> Iterator[bytes]:
    for kind in (*KINDS, "ML-DSA-44"):
        yield pki.csr(pki.shared_key(kind), sans=SANS, challenge=b"sesame")
    yield pki.unsorted_csr(pki.shared_key("P-256"), cn="d", challenge="sesame", sans=SANS[:1])
    change = pki.change_subject_name(pki.name("new"), ["new.test"])
    yield pki.raw_csr(pki.shared_key("P-256"), attributes=(change,))
    for vector in sorted(PKI_VECTORS.glob("*.csr")):
        if vector.read_bytes()[:1] == b"\x30":
            yield vector.read_bytes()


def certificates() -> Iterator[bytes]:
    authority = pki.Authority(cn="Root")
    for kind in KINDS:
        yield authority.issue(sans=SANS, private_key=pki.shared_key(kind)).certificate_der
    yield self_signed(pki.shared_key("RSA-2048")).certificate_der
    for vector in sorted(PKI_VECTORS.glob("*.crt")):
        if vector.read_bytes()[:1] == b"\x30":
            yield vector.read_bytes()


def names() -> Iterator[bytes]:
    yield pki.name("device-1", C="DE", O="Örg").public_bytes()
    yield pki.printable_name("device-1")
    general = x509.SubjectAlternativeName([pki.general_name(text) for text in SANS])
    yield general.public_bytes()
    other = pki.tlv(0xA0, pki.oid("1.3.6.1.4.1.311.20.2.3"), pki.tlv(0xA0, b"\x0c\x01a"))
    yield pki.tlv(0x30, pki.tlv(0xA4, pki.name("dir").public_bytes()), other, b"\x88\x02\x2a\x03")


def est_bodies() -> Iterator[bytes]:
    csr = pki.csr(pki.shared_key("P-256"))
    yield pki.base64_lines(csr)
    yield pki.base64_lines(csr, None)
    yield pki.pem("CERTIFICATE REQUEST", csr)
    yield csr
    yield pki.base64_lines((PKI_VECTORS / "openssl-certs-only.p7b").read_bytes(), newline=b"\r\n")


def csr_attributes() -> Iterator[bytes]:
    challenge, request = pki.oid("1.2.840.113549.1.9.7"), "1.2.840.113549.1.9.14"
    extension = pki.tlv(0x30, pki.oid("2.5.29.17"), pki.tlv(0x04, pki.tlv(0x30, b"\x82\x00")))
    yield pki.tlv(0x30)
    yield pki.tlv(0x30, challenge, pki.attribute("1.2.840.10045.2.1", pki.oid("1.3.132.0.34")))
    yield pki.tlv(0x30, challenge, pki.attribute(request, pki.tlv(0x30, extension)))
    template = pki.tlv(0x30, b"\2\1\0", pki.tlv(0x30), pki.tlv(0xA0), pki.tlv(0xA1))
    yield template
    yield pki.tlv(0x30, pki.attribute("1.2.840.113549.1.9.16.2.61", template))


def jws_messages() -> Iterator[bytes]:
    for kind in KINDS:
        for kid in (None, "https://acme.test/acme/account/1"):
            url = "https://acme.test/acme/new-account"
            yield acme_signing.request_body(
                pki.shared_key(kind), {"contact": ["mailto:a@b.test"]}, url=url, nonce="AAAA", kid=kid
            )


def json_objects() -> Iterator[bytes]:
    for kind in KINDS:
        yield json.dumps(acme_signing.jwk_of(pki.shared_key(kind))).encode()
    identifiers = [{"type": "dns", "value": "*.a.test"}, {"type": "ip", "value": "2001:db8::1"}]
    yield json.dumps({"identifiers": identifiers, "notAfter": "2027-01-01T00:00:00Z"}).encode()
    yield '{"a": [1e5, -0.5, null, true, "\\ud83d\\ude00", "ä"]}'.encode()


def proxy_fields() -> Iterator[bytes]:
    certificate = pki.Authority().issue().certificate_der
    text = base64.b64encode(certificate)
    yield b":" + text + b":\n:" + text + b":, :" + text + b":"
    yield quote(pki.pem("CERTIFICATE", certificate)).encode()
    yield text
    yield b'Hash=1;Cert="' + quote(pki.pem("CERTIFICATE", certificate)).encode() + b'";Subject="CN=x",By=y'
    yield b"192.0.2.7, [2001:db8::1], unknown"


def http_answers() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntoken"
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ntoken\r\n0\r\nA: b\r\n\r\n"
    yield b"HTTP/1.0 404 Not Found\r\n\r\nnothing"
    yield b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 302 Found\r\nLocation: https://b.test/%7E?q\r\n\r\n"
    yield b"HTTP/1.1 301 Moved\r\nLocation: ../else\r\nContent-Length: 0\r\n\r\n"


SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "ber": ber_elements,
    "certificate": certificates,
    "cms_enveloped_data": enveloped,
    "cms_signed_data": scep_messages,
    "csr": csrs,
    "csrattrs": csr_attributes,
    "est_body": est_bodies,
    "http_answer": http_answers,
    "jws": jws_messages,
    "names": names,
    "proxy_headers": proxy_fields,
    "scep_get_message": scep_queries,
    "scep_message": scep_messages,
    "strict_json": json_objects,
}


def main() -> None:
    for name in sys.argv[1:] or SEEDS:
        directory = CORPUS / name
        directory.mkdir(parents=True, exist_ok=True)
        for octets in SEEDS[name]():
            (directory / hashlib.sha256(octets).hexdigest()[:16]).write_bytes(octets)


if __name__ == "__main__":
    main()
