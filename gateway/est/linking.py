"""Linking identity and proof of possession (RFC 7030 section 3.5): is the CSR made for this TLS session?"""

from __future__ import annotations

import binascii
import hmac
from typing import Literal

from gateway.http.message import TlsPeer
from gateway.model.evidence import Linking

_WHITE_SPACE = b" \t\r\n"


def linking_of(
    challenge_password: bytes | None, tls: TlsPeer | None, tls13: Literal["exporter", "ignore"] = "exporter"
) -> Linking:
    """Compare the CSR's challengePassword with base64 of the session's channel binding, in constant time.

    TLS 1.2 has tls-unique (RFC 5929). RFC 9266 leaves that undefined for TLS 1.3, where tls-exporter stands
    for it. Behind a proxy there is no session to compare with.
    """
    if challenge_password is None:
        return Linking.ABSENT
    if tls is None or tls.source != "tls":
        return Linking.UNAVAILABLE
    if tls.version == "TLSv1.3":
        if tls13 == "ignore":
            return Linking.ABSENT
        name, linked = "tls-exporter", Linking.TLS_EXPORTER
    else:
        name, linked = "tls-unique", Linking.TLS_UNIQUE
    binding = tls.binding(name)
    if not binding:
        return Linking.UNAVAILABLE
    expected = binascii.b2a_base64(binding, newline=False)
    sent = challenge_password.translate(None, _WHITE_SPACE)
    return linked if hmac.compare_digest(sent, expected) else Linking.MISMATCH
