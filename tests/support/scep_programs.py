"""Other people's SCEP clients against the shipped policies (scep.md part E)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from cryptography import x509

from tests.support.gateway import ROOT, Gateway

T = TypeVar("T")
_FIRST = "authenticate:\n  challenge: {accept: [static, dynamic]}\n"


def shipped(*, approval: bool = False) -> Mapping[str, str]:
    """The default bundle, maybe with a person's approval of first certificates."""
    text = (ROOT / "policies" / "default.yaml").read_text()
    assert text.count(_FIRST) == 1
    if approval:
        slow = "approval: {required: 1, expires: 1h, retry_after: 1s}\n"
        text = text.replace(_FIRST, _FIRST + slow)
        granted = "{decision: allow, backend: embedded, profile: scep, subject: CN=printer 4}"
        assert text.count(granted) == 1
        text = text.replace(granted, granted.replace("allow", "pend"))
    return {"default.yaml": text}


def access(gateway: Gateway) -> tuple[str, str]:
    """URL and challenge of quickstart.json."""
    found = gateway.quickstart["scep"]
    return found["url"], found["challenge"]


def certificate(path: Path) -> x509.Certificate:
    """The first certificate of a PEM file."""
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def until(found: Callable[[], T | None], what: str, within_s: float = 90) -> T:
    """What is there at last; fails with ``what`` after so many seconds."""
    deadline = time.monotonic() + within_s
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def approve(gateway: Gateway, host: str) -> None:
    """Wait for the request for this host, and approve it as a person does."""
    gateway.cli("request", "approve", until(lambda: _waiting(gateway, host), f"no request for {host}"))


def _waiting(gateway: Gateway, host: str) -> str | None:
    listed = gateway.cli_json("request", "list", "--state", "awaiting-approval", "--protocol", "scep")
    return next((str(row["id"]) for row in listed["requests"] if host in str(row)), None)
