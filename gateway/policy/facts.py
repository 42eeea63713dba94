"""What a decision needs to know beside the request: collected before, so that it can be replayed."""

from __future__ import annotations

from dataclasses import dataclass
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
class Facts:
    """``issuer_not_after`` is the end of the issuing CA's certificate, None where it is not known.

    ``key_known_to_others``: this key stands in a certificate of another identity; read only if the policy's
    ``needs_key_history`` says so. ``lists``: the content of the List documents at this moment.
    """

    now: datetime
    issuer_not_after: datetime | None = None
    previous: PreviousCertificate | None = None
    key_known_to_others: bool = False
    lists: ListLookup = EMPTY_LISTS
