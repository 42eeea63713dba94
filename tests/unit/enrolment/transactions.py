"""Transactions and confirmations on the one path, without the wire of SCEP or CMP; on each kind of database.

The sample front end lends its protocol's name: the path treats all of them alike.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.enrolment.issued import IssuedCertificates
from gateway.model.certificate import CertificateRecord
from gateway.model.enrolment import Correlation, Differing, EnrolmentRequest, Operation
from gateway.model.evidence import RENEWAL_CERT, PresentedCertificate
from gateway.model.ids import EndpointName, ProtocolName
from gateway.model.outcome import Confirmation, Issued, Outcome
from gateway.store import audit
from gateway.store.store import Store
from tests.support import pki, policies
from tests.unit.enrolment.house import ForeignCa, House, SetClock

PROTOCOL = ProtocolName("sample")
CONFIRM_WITHIN_S = 300
GRACE_S = 900
_BY_FOREIGN: Any = {"issue": [{"backend": "foreign"}]}
_SUPERSEDE: Any = {"revoke_previous": "1h"}
_SLOW: Any = {"approval": {"required": 1, "expires": "1h", "retry_after": "600s"}}


def sha256_of(content: str) -> str:
    """How these tests name the content of a message."""
    return hashlib.sha256(content.encode()).hexdigest()


def _of_sample(*documents: policies.Document) -> tuple[policies.Document, ...]:
    for one in documents:
        (one if one["kind"] == "Endpoint" else one["match"])["protocol"] = PROTOCOL
    return documents


@dataclass(slots=True)
class Device:
    """A key that stays the same from message to message."""

    host: str = "a.test"
    private_key: pki.PrivateKey = field(default_factory=pki.key)


class TransactionHouse(House):
    """Endpoints ``direct`` (embedded CA), ``remote`` (foreign CA) and ``slow`` (approval) of a protocol with
    transactions; renewals and revocations at ``direct``, renewals that revoke at ``superseding``."""

    def __init__(self, directory: Path, store: Store, clock: SetClock, foreign: ForeignCa) -> None:
        revocations = policies.document(
            "Policy",
            "revocations",
            priority=230,
            match={"protocol": PROTOCOL, "endpoint": ["direct"], "operation": ["revoke"]},
            authenticate={"basic": {}},
        )
        super().__init__(
            directory,
            store,
            clock,
            foreign,
            *_of_sample(
                policies.endpoint("direct"),
                policies.enroll_policy("directly", "direct", priority=210),
                policies.renew_policy("again", "direct", priority=220),
                policies.endpoint("remote", backend="foreign"),
                policies.enroll_policy("remotely", "remote", priority=240, **_BY_FOREIGN),
                policies.endpoint("slow"),
                policies.enroll_policy("slowly", "slow", priority=250, **_SLOW),
                policies.endpoint("superseding"),
                policies.enroll_policy("superseded", "superseding", priority=260),
                policies.renew_policy("superseding", "superseding", priority=270, renewal=_SUPERSEDE),
            ),
            revocations,
        )
        self.certificates = IssuedCertificates(store, clock)

    def message(
        self,
        device: Device,
        content: str = "first",
        *,
        transaction: str = "t",
        endpoint: str = "direct",
        differing: Differing = Differing.REFUSE,
        confirm_within_s: int | None = CONFIRM_WITHIN_S,
        user: str = "device",
    ) -> EnrolmentRequest:
        """A message of a transaction, as a front end makes it."""
        request = self.request(device.host, user=user, endpoint=endpoint, private_key=device.private_key)
        return replace(
            request,
            protocol=PROTOCOL,
            correlation=Correlation(
                (transaction.encode(),),
                with_identity=False,
                grace_s=GRACE_S,
                content_sha256=sha256_of(content),
                differing=differing,
            ),
            confirm_within_s=confirm_within_s,
            transaction_id=transaction,
        )

    def renewal(self, device: Device, issued: Issued, transaction: str, **changes: Any) -> EnrolmentRequest:
        """A message that renews a certificate, signed with its key."""
        proof = PresentedCertificate((issued.certificate_der, *issued.chain_der), RENEWAL_CERT)
        return replace(
            self.message(device, transaction, transaction=transaction, **changes),
            operation=Operation.RENEW,
            presented=(proof,),
            renews_der=issued.certificate_der,
        )

    async def confirm(
        self,
        content: str = "confirmation",
        *,
        accepted: bool = True,
        transaction: str = "t",
        endpoint: str = "direct",
    ) -> Confirmation:
        return await self.service.confirm(
            PROTOCOL,
            EndpointName(endpoint),
            (transaction.encode(),),
            accepted=accepted,
            content_sha256=sha256_of(content),
        )

    async def outcome_of(self, transaction: str = "t", endpoint: str = "direct") -> Outcome | None:
        return await self.service.outcome_of(PROTOCOL, EndpointName(endpoint), (transaction.encode(),))

    async def certificate(self, issued: Outcome | None) -> CertificateRecord:
        assert isinstance(issued, Issued), issued
        record = await self.certificates.by_sha256(hashlib.sha256(issued.certificate_der).hexdigest())
        assert record is not None
        return record

    async def audited(self, *actions: str) -> list[dict[str, Any]]:
        """The audit events of these actions, oldest first."""
        lines = await self.store.reader.read(lambda connection: list(audit.export(connection)))
        return [event for event in map(json.loads, lines) if event["action"] in actions]
