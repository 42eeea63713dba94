"""GetCACaps says what the endpoint does, no more and no less."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.scep.capabilities import capabilities, capabilities_body
from gateway.scep.options import ScepOptions


def listed(**options: Any) -> tuple[str, ...]:
    return capabilities(ScepOptions.model_validate(options))


def test_default_keywords_are_those_of_the_standard_and_one_for_strongswan() -> None:
    """scep.md C5, B15."""
    assert listed() == ("AES", "POSTPKIOperation", "Renewal", "SHA-256", "SHA-512", "SCEPStandard", "SHA-384")


@pytest.mark.parametrize(
    ("options", "there", "not_there"),
    [
        ({"ciphers": ["aes-128-cbc", "des-ede3-cbc"]}, {"AES", "DES3"}, set()),
        ({"ciphers": ["des-ede3-cbc"]}, {"DES3"}, {"AES", "SCEPStandard"}),
        ({"ciphers": ["aes-256-cbc"]}, set(), {"AES", "SCEPStandard"}),
        ({"digests": ["sha512"]}, {"SHA-512"}, {"SHA-256", "SHA-1", "SHA-384", "SCEPStandard"}),
        ({"digests": ["sha256", "sha1"]}, {"SHA-1", "SHA-256"}, {"SHA-384", "SHA-512"}),
        ({"extra_capabilities": []}, {"AES"}, {"SHA-384"}),
        ({"extra_capabilities": ["Update", "AES"]}, {"Update"}, set()),
        ({"hidden_capabilities": ["scepstandard"]}, {"AES"}, {"SCEPStandard"}),
    ],
)
def test_keyword_is_listed_exactly_where_it_is_true(
    options: dict[str, Any], there: set[str], not_there: set[str]
) -> None:
    """scep.md C5."""
    found = listed(**options)
    assert len(found) == len(set(found))
    assert there <= set(found)
    assert not not_there & set(found)


def test_strongswan_reads_sha_384_or_it_does_not_use_aes() -> None:
    """scep.md B15: strongSwan 5.9.8 looks for AES under the bit of SHA-384."""
    assert "SHA-384" in listed()


def test_body_has_one_keyword_per_line() -> None:
    """scep.md C4, RFC 8894 3.5.2: empty where there is none."""
    assert capabilities_body(("AES", "SHA-256")) == b"AES\nSHA-256\n"
    assert capabilities_body(()) == b""
