"""One-line makers of keys, CSRs, certificates and CAs for tests; real cryptography, good and bad."""

from __future__ import annotations

from tests.support.authority import Authority, Identity, impostor, key_usage
from tests.support.keys import (
    CHALLENGE_PASSWORD,
    PrivateKey,
    base64_lines,
    csr,
    device_csr,
    general_name,
    key,
    key_pem,
    name,
    pem,
    shared_key,
    spki_der,
)
from tests.support.raw_csr import (
    CHANGE_SUBJECT_NAME,
    EXTENSION_REQUEST,
    attribute,
    broken_signature,
    change_subject_name,
    extension_request,
    oid,
    printable_name,
    tlv,
    unsorted_csr,
)
from tests.support.raw_csr import build as raw_csr
from tests.support.raw_csr import signed as raw_signed

__all__ = [
    "CHALLENGE_PASSWORD",
    "CHANGE_SUBJECT_NAME",
    "EXTENSION_REQUEST",
    "Authority",
    "Identity",
    "PrivateKey",
    "attribute",
    "base64_lines",
    "broken_signature",
    "change_subject_name",
    "csr",
    "device_csr",
    "extension_request",
    "general_name",
    "impostor",
    "key",
    "key_pem",
    "key_usage",
    "name",
    "oid",
    "pem",
    "printable_name",
    "raw_csr",
    "raw_signed",
    "shared_key",
    "spki_der",
    "tlv",
    "unsorted_csr",
]
