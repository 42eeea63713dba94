"""What a decision needs to know beside the request: collected before, so that it can be replayed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gateway.model.names import DistinguishedName, GeneralName
from gateway.policy.lists import EMPTY_LISTS, ListLookup


@dataclass(frozen=True, slots=True)
class PreviousCertificate:
    """The certificate that is to be renewed. ``issued_here``: the database knows it as ours."""

    subject: DistinguishedName
    sans: tuple[GeneralName, ...]
    spki_sha256: str
    not_before: datetime
    not_after: datetime
    issued_here: bool


@dataclass(frozen=True, slots=True)
class CertifiedNames:
    """Whom an earlier certificate names, as texts; ``sans`` like ``dns:a.test``."""

    subject: str
    sans: frozenset[str]


@dataclass(frozen=True, slots=True)
class Facts:
    """``issuer_not_after`` is the end of the issuing CA's certificate, None where it is not known.
    ``issuer_ends``: by backend and profile, where a policy has several to choose from; then those count.

    ``key_known_to_others``: this key stands in a certificate of another identity; read only if the policy's
    ``needs_key_history`` says so, as ``key_stands_in``: subject and alternative names of every certificate of
    it. ``key_of_ca``: it is that of one of our CAs. ``key_of_account``: it is that of an ACME account; read
    only if the policy's ``needs_account_keys`` says so. ``lists``: the content of the List documents at this
    moment.
    """

    now: datetime
    issuer_not_after: datetime | None = None
    issuer_ends: Mapping[tuple[str, str | None], datetime] = field(default_factory=dict)
    previous: PreviousCertificate | None = None
    key_known_to_others: bool = False
    key_stands_in: tuple[CertifiedNames, ...] = ()
    key_of_ca: bool = False
    key_of_account: bool = False
    lists: ListLookup = EMPTY_LISTS
    limits_exceeded: bool = False  # one with on_exceed: pend; known only once a plan was made
