"""Debian's openssl as another signer: what it signs passes, and means the same (acme.md C18, C26)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from gateway.acme.errors import AcmeError
from gateway.acme.jws import parse_jws, verify_jws
from tests.support import acme_signing, pki
from tests.support.acme_signing import b64u
from tests.support.jws_mutants_keys import KINDS

URL = "https://acme.test/acme/new-account"
_PSS = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_mgf1_md:sha256", "-sigopt")
_COMMANDS = {
    "ES256": ("dgst", "-sha256", "-sign", "key.pem", "input"),
    "ES384": ("dgst", "-sha384", "-sign", "key.pem", "input"),
    "ES512": ("dgst", "-sha512", "-sign", "key.pem", "input"),
    "RS256": ("dgst", "-sha256", "-sign", "key.pem", "input"),
    "PS256": ("dgst", "-sha256", *_PSS, "rsa_pss_saltlen:32", "-sign", "key.pem", "input"),
    "EdDSA": ("pkeyutl", "-sign", "-rawin", "-inkey", "key.pem", "-in", "input"),
}
_COORDINATE_OCTETS = {"ES256": 32, "ES384": 48, "ES512": 66}


def _signed_by_openssl(directory: Path, algorithm: str, *command: str) -> bytes:
    key = pki.shared_key(KINDS[algorithm])
    header = acme_signing.protected_header(key, URL, "AAAA", None, {"alg": algorithm})
    message = acme_signing.flattened(header, b"{}", b"")
    (directory / "key.pem").write_bytes(pki.key_pem(key))
    (directory / "input").write_bytes(f"{message['protected']}.{message['payload']}".encode())
    done = subprocess.run(("openssl", *command), cwd=directory, capture_output=True, check=True, timeout=120)
    signature = done.stdout
    if algorithm in _COORDINATE_OCTETS:
        numbers, octets = decode_dss_signature(signature), _COORDINATE_OCTETS[algorithm]
        signature = b"".join(number.to_bytes(octets, "big") for number in numbers)
    return json.dumps(message | {"signature": b64u(signature)}).encode()


@pytest.mark.parametrize("algorithm", sorted(_COMMANDS))
def test_signature_of_openssl_is_accepted(tmp_path: Path, algorithm: str) -> None:
    """acme.md C18"""
    parsed = parse_jws(_signed_by_openssl(tmp_path, algorithm, *_COMMANDS[algorithm]))
    assert parsed.jwk is not None
    assert verify_jws(parsed, parsed.jwk).alg == algorithm


@pytest.mark.parametrize("salt", ["20", "0"])
def test_pss_with_another_salt_length_is_refused(tmp_path: Path, salt: str) -> None:
    """RFC 7518 section 3.5: the salt is as long as the hash."""
    command = ("dgst", "-sha256", *_PSS, f"rsa_pss_saltlen:{salt}", "-sign", "key.pem", "input")
    parsed = parse_jws(_signed_by_openssl(tmp_path, "PS256", *command))
    assert parsed.jwk is not None
    with pytest.raises(AcmeError):
        verify_jws(parsed, parsed.jwk)


def test_rs256_over_sha384_is_refused(tmp_path: Path) -> None:
    """acme.md C27"""
    command = ("dgst", "-sha384", "-sign", "key.pem", "input")
    parsed = parse_jws(_signed_by_openssl(tmp_path, "RS256", *command))
    assert parsed.jwk is not None
    with pytest.raises(AcmeError):
        verify_jws(parsed, parsed.jwk)
