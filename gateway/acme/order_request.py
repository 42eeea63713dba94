"""Orders in the words of the enrolment model: what policy is asked at newOrder, what is sent at finalize."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from gateway.acme.exchange import ACME, Exchange
from gateway.acme.identifiers import Identifier, from_text
from gateway.acme.order_csr import OrderCsr
from gateway.acme.order_state import OrderView, order_parts
from gateway.acme.tables.accounts import AccountRow
from gateway.acme.tables.authorizations import AuthorizationRow
from gateway.model.enrolment import Correlation, EnrolmentRequest, Operation, RequestedIdentity
from gateway.model.evidence import PresentedAccount, ProvenName
from gateway.model.keys import KeyToCome
from gateway.model.names import DistinguishedName, NameKind

# An order gives one certificate, however late its finalization comes again.
_ORDER_GRACE_S = int(timedelta(days=3650).total_seconds())
_NO_CORRELATION = Correlation((b"order",), with_identity=False)


def names_request(
    exchange: Exchange,
    account: AccountRow,
    identifiers: Iterable[Identifier],
    *,
    profile: str | None,
    not_before: datetime | None,
    not_after: datetime | None,
) -> EnrolmentRequest:
    """What a new order asks for, before there is a key. For ``Enrolments.preview`` only."""
    return EnrolmentRequest(
        protocol=ACME,
        endpoint=exchange.endpoint,
        operation=Operation.ENROLL,
        correlation=_NO_CORRELATION,
        identity=RequestedIdentity(
            DistinguishedName(), tuple([identifier.general_name for identifier in identifiers])
        ),
        key=KeyToCome(),
        remote=exchange.remote,
        presented=(presented_account(account),),
        profile=profile,
        not_before=not_before,
        not_after=not_after,
    )


def certificate_request(
    exchange: Exchange,
    account: AccountRow,
    view: OrderView,
    csr: OrderCsr,
    replaced_der: bytes | None,
) -> EnrolmentRequest:
    """What a finalization asks for. All those of one order are one request (``order_parts``)."""
    order = view.order
    return EnrolmentRequest(
        protocol=ACME,
        endpoint=exchange.endpoint,
        operation=Operation.ENROLL,
        correlation=Correlation(order_parts(order.id), with_identity=False, grace_s=_ORDER_GRACE_S),
        identity=csr.identity,
        key=csr.key,
        remote=exchange.remote,
        presented=(presented_account(account, view.authorizations),),
        profile=order.profile,
        csr_der=csr.csr_der,
        renews_der=replaced_der,
        not_before=order.not_before,
        not_after=order.not_after,
        transaction_id=order.id,
    )


def presented_account(account: AccountRow, proven: Sequence[AuthorizationRow] = ()) -> PresentedAccount:
    """The account as a credential, with the names of these valid authorizations as proven."""
    return PresentedAccount(
        account_id=account.id,
        thumbprint=account.thumbprint,
        label=account.label,
        proven=tuple([_proven_name(row) for row in proven]),
        credential_id=account.credential_id,
    )


def identifiers_of(texts: Iterable[str]) -> tuple[Identifier, ...]:
    """The identifiers of an order's row."""
    return tuple([from_text(text) for text in texts])


def _proven_name(row: AuthorizationRow) -> ProvenName:
    return ProvenName(
        kind=NameKind(row.kind),
        value=f"*.{row.name}" if row.wildcard else row.name,
        method=row.method or "",
        at=row.validated_at or row.created_at,
    )
