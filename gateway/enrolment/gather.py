"""Everything that a decision needs from the database, in one read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from gateway.authn.authenticate import Looked
from gateway.authn.claims import Claims, account_identity
from gateway.clock import to_epoch_s
from gateway.enrolment.correlation import correlation_hash
from gateway.model.certificate import CertificateRecord, CertificateStatus
from gateway.model.enrolment import EnrolmentRequest
from gateway.model.evidence import BASIC, SCEP_CHALLENGE
from gateway.model.ids import RequestId
from gateway.model.keys import ClientKey, KeyToCome
from gateway.model.outcome import State
from gateway.policy.renewal_check import RENEWING
from gateway.store import certificates, credentials, renewals, requests
from gateway.store.requests import RequestRow

AccountKeyQuery = Callable[[Connection], bool]
_CERTIFIED = frozenset({State.ISSUED, State.UNCONFIRMED})


@dataclass(frozen=True, slots=True)
class Earlier:
    """A request with the same correlation; ``certificate`` and ``chain_der`` if it was issued."""

    row: RequestRow
    certificate: CertificateRecord | None = None
    chain_der: tuple[bytes, ...] = ()

    @property
    def certificate_good(self) -> bool:
        return self.certificate is not None and self.certificate.status is CertificateStatus.GOOD


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was found for the claims. ``identity`` is what the evidence will say if every claim stands up.

    ``unconfirmed_until``: until when another renewal of the same certificate may still be confirmed.
    """

    looked: Looked
    identity: str
    correlation: str
    earlier: Earlier | None
    renewed: CertificateRecord | None
    same_key: tuple[CertificateRecord, ...] = ()
    key_compromised: bool = False
    key_of_account: bool = False
    unconfirmed_until: datetime | None = None


def gather(
    connection: Connection,
    request: EnrolmentRequest,
    claims: Claims,
    *,
    now: datetime,
    with_key_history: bool,
    account_keys: Sequence[AccountKeyQuery] = (),
) -> Gathered:
    """Read by keys only. ``with_key_history``: look up every earlier certificate of the key too.
    ``account_keys`` are asked whether the key is an account's."""
    looked = _look_up(connection, claims)
    renewed = _renewed(connection, request, looked.certificate)
    identity = _claimed_identity(claims, looked)
    correlation = correlation_hash(request, identity)
    key = request.key
    spki_sha256 = key.public_key.spki_sha256 if isinstance(key, ClientKey) else None
    # Each look is a transaction of its own. This one comes before that for the earlier request: what is
    # recorded in between may be this very message's, which must be found then.
    unconfirmed_until = find_unconfirmed(connection, request, now)
    return Gathered(
        looked,
        identity,
        correlation,
        # Before there is a key there was no request either: that look-up is spared.
        None if isinstance(key, KeyToCome) else find_earlier(connection, correlation),
        renewed,
        certificates.by_spki(connection, spki_sha256) if spki_sha256 and with_key_history else (),
        spki_sha256 is not None and certificates.key_compromised(connection, spki_sha256),
        any(is_account_key(connection) for is_account_key in account_keys),
        unconfirmed_until,
    )


def _look_up(connection: Connection, claims: Claims) -> Looked:
    password, certificate, account = claims.password, claims.certificate, claims.account
    challenge, mac = claims.challenge, claims.mac
    external_id = account.credential_id if account is not None else None
    return Looked(
        credentials.by_name(connection, BASIC, password.user) if password is not None else None,
        certificates.by_sha256(connection, certificate.leaf.sha256) if certificate is not None else None,
        credentials.get(connection, external_id) if external_id is not None else None,
        credentials.by_verifier(connection, SCEP_CHALLENGE, challenge.verifier) if challenge else None,
        credentials.get(connection, mac.credential_id) if mac is not None else None,
    )


def _claimed_identity(claims: Claims, looked: Looked) -> str:
    """In the order in which ``Authenticator.verify`` puts them."""
    parts = []
    if claims.certificate is not None:
        parts.append(claims.certificate.identity)
    if looked.credential is not None:
        parts.append(f"basic:{looked.credential.id}")
    if claims.account is not None:
        parts.append(account_identity(claims.account))
    if looked.challenge is not None:
        parts.append(f"challenge:{looked.challenge.id}")
    if looked.mac is not None:
        parts.append(f"mac:{looked.mac.id}")
    return "+".join(parts)


def find_earlier(connection: Connection, correlation: str) -> Earlier | None:
    """The request that holds this correlation, whatever its state."""
    return _with_certificate(connection, requests.by_correlation(connection, correlation))


def find_recorded(connection: Connection, request_id: RequestId) -> Earlier | None:
    """The request with this id, whatever its state."""
    return _with_certificate(connection, requests.get(connection, request_id))


def _with_certificate(connection: Connection, row: RequestRow | None) -> Earlier | None:
    if row is None:
        return None
    if row.state not in _CERTIFIED or row.certificate_sha256 is None:
        return Earlier(row)
    issued = certificates.by_sha256(connection, row.certificate_sha256)
    chain = certificates.chain(connection, issued.chain_sha256) if issued is not None else ()
    return Earlier(row, issued, chain)


def find_unconfirmed(connection: Connection, request: EnrolmentRequest, now: datetime) -> datetime | None:
    """Until when another renewal of the renewed certificate may be confirmed; None: there is none.

    Asked for the transactions of a protocol only: no other one has confirmations.
    """
    if not renews_in_transaction(request):
        return None
    return renewals.unconfirmed(connection, hashlib.sha256(request.renews_der or b"").hexdigest(), now)


def renews_in_transaction(request: EnrolmentRequest) -> bool:
    """Whether this is a renewal in a transaction of its protocol (RFC 9810 section 5.3.5)."""
    renewing = request.renews_der is not None and request.operation in RENEWING
    return renewing and not request.correlation.with_identity


def _renewed(
    connection: Connection, request: EnrolmentRequest, presented: CertificateRecord | None
) -> CertificateRecord | None:
    if request.renews_der is None or request.operation not in RENEWING:
        return None  # what an ACME order says it replaces is for the record alone
    sha256 = hashlib.sha256(request.renews_der).hexdigest()
    if presented is not None and presented.sha256 == sha256:
        return presented
    return certificates.by_sha256(connection, sha256)


def answers(row: RequestRow, now_s: int) -> bool:
    """Whether a closed request still answers repeats of its message."""
    return row.closed_at is None or (row.answers_until is not None and to_epoch_s(row.answers_until) >= now_s)
