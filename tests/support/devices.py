"""Devices that get their certificates as real ones do."""

from __future__ import annotations

import itertools

from tests.support import pki
from tests.support.answers import issued
from tests.support.est_client import EstClient

_numbers = itertools.count(1)


def device_name(prefix: str = "device") -> str:
    """A host name under .test that nothing else in this process uses."""
    return f"{prefix}-{next(_numbers)}.test"


def enroll_device(client: EstClient, host: str | None = None) -> pki.Identity:
    """Enrol a new P-256 key and give what the device then has."""
    private_key = pki.key()
    answer = client.simple_enroll(pki.device_csr(private_key, host or device_name()))
    return pki.Identity(issued(answer), private_key)
