"""Old devices, by the policies of docs/scep.md beside the shipped ones (scep.md C22, C32, C36)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support import pki
from tests.support.documents import yaml_block
from tests.support.gateway import ROOT
from tests.support.scep_answer import BAD_ALG, issued, refused
from tests.support.scep_client import PKCS_REQ, RENEWAL_REQ, Device
from tests.support.scep_lab import KEYS, ScepLab, endpoint, first, rsa_key, running_lab

_SHA1_TOO = ["sha256", "sha1"]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScepLab]:
    """``old`` as in the document; ``half-endpoint`` and ``half-policy`` say sha1 on one side only."""
    halves = (
        endpoint("half-endpoint", digests=_SHA1_TOO),
        first("half-endpoint", "half-endpoint", 400),
        endpoint("half-policy"),
        first("half-policy", "half-policy", 410, keys={**KEYS, "csr_signature": _SHA1_TOO}),
    )
    bundle = {
        "default.yaml": (ROOT / "policies" / "default.yaml").read_text(),
        "halves.yaml": "".join(f"---\n{json.dumps(one)}\n" for one in halves),
        "old.yaml": yaml_block("scep.md", "des-cbc"),
    }
    with running_lab(tmp_path_factory.mktemp("old"), policies=bundle) as started:
        yield started


def _device(lab: ScepLab, name: str) -> Device:
    device = lab.device(name)
    if name == "old":
        device.cn = device.cn.replace(".test", ".old.example")
    return device


def _csr(device: Device, challenge: str | None, hash_name: str, private_key: Any = None) -> bytes:
    attributes = [pki.extension_request((x509.SubjectAlternativeName([x509.DNSName(device.cn)]), False))]
    if challenge is not None:
        attributes.append(pki.attribute(pki.CHALLENGE_PASSWORD, pki.tlv(0x13, challenge.encode())))
    return pki.raw_csr(
        private_key or device.private_key,
        subject_der=pki.name(device.cn).public_bytes(),
        attributes=attributes,
        hash_name=hash_name,
    )


@pytest.mark.parametrize("cipher", ["des-cbc", "des-ede3-cbc"])
@pytest.mark.parametrize("message_type", [RENEWAL_REQ, PKCS_REQ], ids=["RenewalReq", "PKCSReq"])
def test_device_that_knows_nothing_but_sha1_enrols_and_renews(
    old: ScepLab, cipher: str, message_type: str
) -> None:
    """scep.md C22, C32, C33, C36: CSR, message and answer; the certificate is signed as everybody's is."""
    device = _device(old, "old")
    parts: dict[str, Any] = {"cipher": cipher, "digest": "sha1"}
    reply = device.send(device.message(_csr(device, old.new_challenge(), "sha1"), **parts))
    enrolled = device.signing_with(pki.Identity(issued(reply), device.private_key))
    new_key = rsa_key("renewed")
    renewed = enrolled.send(enrolled.message(_csr(device, None, "sha1", new_key), message_type, **parts))
    assert issued(renewed).public_key() == new_key.public_key()
    for answer in (reply, renewed):
        assert (answer.digest, answer.cipher) == ("sha1", cipher)
        assert isinstance(issued(answer).signature_hash_algorithm, SHA256)


@pytest.mark.parametrize(
    ("name", "hash_name", "told"),
    [
        ("half-endpoint", "sha1", "allowed are sha256, sha384, sha512"),
        ("half-policy", "sha1", "is broken; use SHA-256 or better"),
        ("default", "sha1", "is broken; use SHA-256 or better"),
        ("old", "md5", "is broken; use SHA-256 or better"),
    ],
)
def test_csr_is_refused_where_endpoint_and_policy_do_not_both_name_its_hash(
    old: ScepLab, name: str, hash_name: str, told: str
) -> None:
    """scep.md C36: and nothing is used up by it."""
    device, challenge = _device(old, name), old.new_challenge()
    text = refused(
        device.send(device.message(_csr(device, challenge, hash_name))), BAD_ALG, "key.signature-hash"
    )
    assert f"is signed with {hash_name}" in text
    assert told in text
    assert old.row(text).state == "refused"
    assert old.certificates(device) == 0
    issued(device.send(device.message(_csr(device, challenge, "sha256"))))
