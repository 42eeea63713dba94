"""ACME orders on the one path, without ACME's own wire and tables; on each kind of database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.authn.sealing import seal
from gateway.model.enrolment import Correlation, EnrolmentRequest, Operation
from gateway.model.evidence import ACME_EAB, PresentedAccount, ProvenName, RemoteInfo
from gateway.model.ids import EndpointName, ProtocolName, new_id
from gateway.model.names import NameKind
from gateway.model.outcome import Outcome
from gateway.pki.csr import parse_csr, verify_possession
from gateway.store import certificates
from gateway.store.credentials import CredentialRow
from gateway.store.store import Store
from tests.support import pki
from tests.support.acme_policies import acme_endpoint, acme_policy
from tests.support.policies import ALL_KEYS
from tests.unit.enrolment.house import SERVER_KEY, ForeignCa, House, SetClock

ACME = ProtocolName("acme")
ACCOUNT = "a" * 44
LIFE_OF_AN_ORDER_S = 10 * 365 * 86_400
HMAC_KEY = b"h" * 32
_BY_FOREIGN: Any = {"issue": [{"backend": "foreign"}]}
_SLOW: Any = {"approval": {"required": 1, "expires": "1h", "retry_after": "5s"}}


class OrderHouse(House):
    """Endpoints ``acme`` (embedded CA), ``acme-foreign``, ``acme-slow`` (approval), ``acme-slow-foreign`` and
    ``acme-own-keys`` (no key of another account); names under test."""

    def __init__(self, directory: Path, store: Store, clock: SetClock, foreign: ForeignCa) -> None:
        super().__init__(
            directory,
            store,
            clock,
            foreign,
            acme_endpoint("acme"),
            acme_policy("acme-web", "acme", priority=110, reuse_authorization="12h"),
            acme_endpoint("acme-foreign", backend="foreign"),
            acme_policy("acme-by-foreign", "acme-foreign", priority=120, **_BY_FOREIGN),
            acme_endpoint("acme-slow"),
            acme_policy("acme-slowly", "acme-slow", priority=130, **_SLOW),
            acme_endpoint("acme-slow-foreign", backend="foreign"),
            acme_policy("acme-slowly-by-foreign", "acme-slow-foreign", priority=140, **_SLOW, **_BY_FOREIGN),
            acme_endpoint("acme-own-keys"),
            acme_policy("acme-own-keys", "acme-own-keys", priority=150, keys={**ALL_KEYS, "reuse": "deny"}),
        )

    async def external_account(self, name: str = "kid-1", **changes: Any) -> CredentialRow:
        """A MAC key that accounts can be bound with."""
        credential_id = new_id()
        return await self.credential(
            name,
            **{
                "id": credential_id,
                "kind": ACME_EAB,
                "protocol": "acme",
                "verifier": None,
                "sealed": seal(SERVER_KEY, credential_id, HMAC_KEY),
            }
            | changes,
        )

    def order(
        self,
        order_id: str,
        *names: str,
        endpoint: str = "acme",
        proven: Sequence[str] | None = None,
        private_key: pki.PrivateKey = None,
        grace_s: int | None = LIFE_OF_AN_ORDER_S,
        profile: str | None = None,
        account: PresentedAccount | None = None,
        with_cn: bool = True,
    ) -> EnrolmentRequest:
        """What finalizing an order makes of a CSR for its names; all are proven unless a test says which."""
        names = names or ("a.test",)
        cn = names[0] if with_cn else None
        csr = parse_csr(pki.csr(private_key or pki.key(), cn=cn, sans=names))
        return EnrolmentRequest(
            protocol=ACME,
            endpoint=EndpointName(endpoint),
            operation=Operation.ENROLL,
            correlation=Correlation((b"order", order_id.encode()), with_identity=False, grace_s=grace_s),
            identity=csr.identity,
            key=verify_possession(csr),
            remote=RemoteInfo("192.0.2.1"),
            presented=(account or presented(self.clock.now(), *(names if proven is None else proven)),),
            profile=profile,
            csr_der=csr.csr_der,
            transaction_id=order_id,
        )

    async def outcome_of(self, order_id: str, endpoint: str = "acme") -> Outcome | None:
        return await self.service.outcome_of(ACME, EndpointName(endpoint), (b"order", order_id.encode()))

    async def issued_count(self) -> int:
        page = await self.store.reader.read(certificates.search)
        return len(page.records)


def presented(
    at: datetime, *proven: str, credential_id: str | None = None, account_id: str = ACCOUNT
) -> PresentedAccount:
    """An account that has proven these DNS names by http-01."""
    names = tuple(ProvenName(NameKind.DNS, name, "http-01", at) for name in proven)
    return PresentedAccount(account_id, "t" * 43, "ops@a.test", names, credential_id)
