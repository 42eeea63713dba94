"""An issuing CA that is added to the policies of a gateway in use: made, published and trusted."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.request
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.pki.cms import read_certs_only
from tests.support import pki, policies
from tests.support.answers import issued
from tests.support.devices import enroll_device
from tests.support.gateway import Gateway

Start = Callable[..., Gateway]


def _policies(*issuing: dict[str, str], enrols: str | None = None) -> dict[str, str]:
    """``enrols``: the issuing CA of first certificates, by its profile."""
    route = {"backend": "embedded"} if enrols is None else {"backend": "embedded", "profile": enrols}
    text = policies.bundle(
        policies.endpoint("default"),
        policies.own_certificates(),
        policies.enroll_policy("enroll", "default", priority=1, issue=[route]),
        policies.renew_policy("renew", "default", priority=2),
    )["bundle.yaml"]
    plain = '"type": "embedded"'
    assert plain in text
    options = json.dumps({"issuing": issuing}) if issuing else "{}"
    return {"bundle.yaml": text.replace(plain, f'{plain}, "options": {options}', 1)}


def _fetched(gateway: Gateway, path: str) -> bytes:
    facts = gateway.quickstart
    base = facts["https"] if path.startswith("/.well-known") else facts["http"]
    context = ssl.create_default_context(cafile=str(gateway.root_pem)) if base.startswith("https") else None
    with urllib.request.urlopen(base + path, timeout=60, context=context) as answer:
        content: bytes = answer.read()
    return content


def _cacerts(gateway: Gateway) -> list[x509.Certificate]:
    body = base64.b64decode(_fetched(gateway, "/.well-known/est/cacerts"))
    return [x509.load_der_x509_certificate(one) for one in read_certs_only(body)]


def test_data_directory_of_an_earlier_version_gets_the_new_ca_at_its_next_start(start_gateway: Start) -> None:
    """design.md "Endpoints": an RSA issuing CA beside the P-256 one, in directories that exist already."""
    gateway = start_gateway(policies=_policies())
    early = enroll_device(gateway.est_client(), "early.test")
    before = {file.name: file.read_bytes() for file in (gateway.data / "ca" / "embedded").iterdir()}
    cacerts = _cacerts(gateway)
    gateway.stop()

    gateway.policies = _policies({"name": "issuing"}, {"name": "scep", "key": "rsa-2048"}, enrols="scep")
    gateway.start()
    after = {file.name: file.read_bytes() for file in (gateway.data / "ca" / "embedded").iterdir()}
    assert set(after) - set(before) == {"scep.pem", "scep.key.pem"}
    assert {name: after[name] for name in before} == before

    new = x509.load_der_x509_certificate(_fetched(gateway, "/ca/embedded-scep.cer"))
    root = x509.load_pem_x509_certificate(gateway.root_pem.read_bytes())
    new.verify_directly_issued_by(root)
    key = new.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    crl = x509.load_der_x509_crl(_fetched(gateway, "/crl/embedded-scep.crl"))
    assert crl.issuer == new.subject
    assert crl.is_signature_valid(key)

    assert _cacerts(gateway) == cacerts  # EST goes on with the default issuing CA alone
    assert gateway.quickstart["ca"]["issuing"]["name"] == "embedded-issuing"
    late = enroll_device(gateway.est_client(), "late.test")
    late.certificate.verify_directly_issued_by(new)
    for host, identity in (("early.test", early), ("late.test", late)):  # the trust store holds both CAs
        client = gateway.est_client(user=None, identity=identity)
        issued(client.simple_reenroll(pki.device_csr(identity.private_key, host)))
