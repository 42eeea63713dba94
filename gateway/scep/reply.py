"""CertRep (RFC 8894 section 3.3.2): the answers to requests; no I/O.

What a SUCCESS carries is made by ``gateway.pki.cms``: ``certs_only`` or ``crls_only``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gateway.frontend import MessageIdentity
from gateway.scep.message import MessageRules, SignedMessage


@dataclass(frozen=True, slots=True)
class Success:
    """``content_der`` is a degenerate SignedData; it is encrypted to the signer of the request only."""

    content_der: bytes = field(repr=False)
    cipher: str  # that of the request


@dataclass(frozen=True, slots=True)
class Failure:
    """``fail_info`` is a number of RFC 8894 table 5; without ``text`` no failInfoText is sent."""

    fail_info: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Pending:
    """The request waits: poll for it (section 3.3.2.3)."""


def can_be_answered(message: SignedMessage) -> bool:
    """Whether a SUCCESS can be encrypted to the signer's key: RSA only. To be asked before anything is issued."""
    raise NotImplementedError


def write_reply(
    message: SignedMessage,
    identity: MessageIdentity,
    content: Success | Failure | Pending,
    rules: MessageRules,
    *,
    empty_content: Literal["empty", "omit"] = "empty",
) -> bytes:
    """The CertRep as DER: one signature by ``identity``, a fresh senderNonce, the request's as recipientNonce.

    It is signed with the request's digest where that is taken, else with the first that is. Raises ValueError
    for a SUCCESS to a signer that ``can_be_answered`` denies.
    """
    raise NotImplementedError
