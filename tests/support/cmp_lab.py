"""A gateway with one CMP endpoint per rule, and those who ask it, for the wire tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.support import cmp_bodies, cmp_wire, database, pki, policies
from tests.support import gateway as gateways
from tests.support.cmp_client import CmpClient, Reply, Transaction
from tests.support.cmp_wire import Pbm, Pbmac1, Protection, Signed
from tests.support.devices import device_name
from tests.support.gateway import Gateway

CMC_RA = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")
IMPLICIT = cmp_wire.infos(cmp_wire.info(cmp_wire.IMPLICIT_CONFIRM, cmp_wire.NULL))
_OWN = {"signature": {"trust": "own", "names": "own"}}
_numbers = itertools.count(1)


def cmp_endpoint(name: str, **options: Any) -> policies.Document:
    return policies.document("Endpoint", name, protocol="cmp", backend="embedded", options=options)


def enroll_policy(
    name: str, endpoint: str, priority: int, authenticate: policies.Document, **parts: Any
) -> policies.Document:
    return _policy(name, endpoint, ["enroll"], priority, authenticate, **parts)


def renew_policy(name: str, endpoint: str, priority: int, **parts: Any) -> policies.Document:
    renewal = {"renewal-cert": {"trust": "own"}}
    parts.setdefault("renewal", {"missing_san": "copy"})  # as in the default bundle
    return _policy(name, endpoint, ["renew", "rekey"], priority, renewal, **parts)


def revoke_policy(
    name: str, endpoint: str, priority: int, authenticate: policies.Document
) -> policies.Document:
    match = {"protocol": "cmp", "endpoint": [endpoint], "operation": "revoke"}
    return policies.document("Policy", name, priority=priority, match=match, authenticate=authenticate)


def _policy(
    name: str,
    endpoint: str,
    operations: Sequence[str],
    priority: int,
    authenticate: policies.Document,
    **parts: Any,
) -> policies.Document:
    made = policies.enroll_policy(name, endpoint, priority=priority, authenticate=authenticate, **parts)
    made["match"] = {"protocol": "cmp", "endpoint": [endpoint], "operation": list(operations)}
    return made


def everything(name: str, first_priority: int, **options: Any) -> list[policies.Document]:
    """An endpoint for every operation: MAC or own certificate for new ones, renewal and revocation by own."""
    return [
        cmp_endpoint(name, **options),
        enroll_policy(f"{name}-mac", name, first_priority, {"mac": {}}),
        enroll_policy(f"{name}-signed", name, first_priority + 1, _OWN),
        renew_policy(f"{name}-again", name, first_priority + 2),
        revoke_policy(f"{name}-revoke", name, first_priority + 3, {"signature": {"trust": "own"}}),
    ]


def profiled(endpoint: str, first_priority: int) -> list[policies.Document]:
    """A policy for the profile ``short-lived``, and one for all else."""
    short = enroll_policy("short", endpoint, first_priority, {"mac": {}}, validity={"default": "7d"})
    short["match"]["profile"] = "short-lived"
    return [short, enroll_policy("long", endpoint, first_priority + 1, {"mac": {}})]


def _documents(lab: Foreign) -> list[policies.Document]:
    factory, authority = {"signature": {"trust": "factory"}}, {"signature": {"trust": "ras", "ra": True}}
    with_usage = {"signature": {"trust": "ras", "ra": True, "extended_key_usage": ["cmcRA"]}}
    slow = {"required": 1, "expires": "1h", "retry_after": "1s"}
    asked = {"default": "90d", "max": "90d", "client_may_request": True}
    return [
        policies.own_certificates(),
        policies.trust_store("factory", lab.factory.certificate_pem, lab.line.certificate_pem),
        policies.trust_store("ras", lab.authorities.certificate_pem),
        *everything("default", 10),
        *everything("strict", 20, strictness="strict"),
        *everything("certconf-only", 30, implicit_confirm=False),
        *everything("quick", 40, confirm_within_s=10),
        *everything("bounded", 50, mac={"max_iterations": 1000, "min_iterations": 400, "hmac_sha1": False}),
        *everything("clockless", 60, message_time_skew_s=0),
        *everything("small", 70, max_body_bytes=4096),
        *everything("silent", 80, unprotected_errors=True),
        *everything("short", 90, short_identifiers=True),
        cmp_endpoint("mac-only"),
        enroll_policy("mac-only", "mac-only", 100, {"mac": {}}),
        cmp_endpoint("factory"),
        enroll_policy("factory", "factory", 110, factory),
        cmp_endpoint("ra"),
        enroll_policy("ra", "ra", 120, authority),
        revoke_policy("ra-revoke", "ra", 121, with_usage),
        cmp_endpoint("approval"),
        enroll_policy("approval", "approval", 130, {"mac": {}}, approval=slow),
        renew_policy("approval-again", "approval", 131, approval=slow),
        cmp_endpoint("hasty"),
        enroll_policy("hasty", "hasty", 132, {"mac": {}}, approval={**slow, "expires": "1s"}),
        cmp_endpoint("profiled"),
        *profiled("profiled", 134),
        cmp_endpoint("wishes"),
        enroll_policy("wishes", "wishes", 140, {"mac": {}}, validity=asked),
        cmp_endpoint("closed"),
        policies.document(
            "TrustStore",
            "own-and-factory",
            backends=["embedded"],
            certificates=[lab.factory.certificate_pem.decode(), lab.line.certificate_pem.decode()],
        ),
        cmp_endpoint("matrix"),
        enroll_policy("matrix-mac", "matrix", 150, {"mac": {}}),
        enroll_policy("matrix-signed", "matrix", 151, {"signature": {"trust": "own-and-factory"}}),
        renew_policy("matrix-again", "matrix", 152),
        revoke_policy("matrix-revoke", "matrix", 153, {"signature": {"trust": "own"}}),
    ]


@dataclass(frozen=True)
class Foreign:
    """CAs that are not the gateway's: devices' maker with a line, and that of registration authorities."""

    factory: pki.Authority
    line: pki.Authority
    authorities: pki.Authority

    @classmethod
    def made(cls) -> Foreign:
        factory = pki.Authority("Factory Root")
        return cls(factory, factory.sub("Factory Line 1"), pki.Authority("RA Root"))


@dataclass(frozen=True)
class CmpLab:
    """The gateway, a reference with its secret that is good everywhere, and clients of any endpoint."""

    gateway: Gateway
    foreign: Foreign
    reference: str
    secret: bytes
    _clients: list[CmpClient] = field(default_factory=list)

    @property
    def mac(self) -> Pbm:
        return Pbm(self.reference, self.secret)

    @property
    def mac1(self) -> Pbmac1:
        return Pbmac1(self.reference, self.secret)

    def client(
        self, endpoint: str = "default", protection: Protection | None = None, **more: Any
    ) -> CmpClient:
        """A client over the one kept connection of this lab."""
        if not self._clients:
            self._clients.append(CmpClient(self.gateway.quickstart["http"], self.mac))
        path = f"/.well-known/cmp/p/{endpoint}"
        return self._clients[0].having(protection=protection or self.mac, path=path, **more)

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def new_secret(self, *options: str) -> Pbm:
        """A reference of its own (``pkigate credential add cmp-secret``)."""
        reference = f"ref-{next(_numbers)}"
        made = self.gateway.cli_json("credential", "add", "cmp-secret", "--ref", reference, *options)
        return Pbm(reference, made["secret"].encode())

    def device(
        self, host: str | None = None, endpoint: str = "default", protection: Protection | None = None
    ) -> pki.Identity:
        """A device with a certificate of the gateway, by implicit confirmation."""
        private_key, host = pki.key(), host or device_name("cmp")
        reply = self.client(endpoint, protection).send(
            "ir", cmp_bodies.requests(cmp_bodies.request(private_key, host)), generalInfo=IMPLICIT
        )
        assert reply.outcome == "accepted", reply.statuses
        return pki.Identity(reply.certificate, private_key)

    def authority(self, *, usage: bool = True, **more: Any) -> Signed:
        """A registration authority that endpoint ``ra`` trusts."""
        purposes = [CMC_RA] if usage else None
        identity = self.foreign.authorities.issue(cn="ra-1", extended_key_usage=purposes, **more)
        return Signed(identity)

    def factory_device(self, **more: Any) -> Signed:
        return Signed(self.foreign.line.issue(cn=more.pop("cn", device_name("factory")), **more))

    def expired(self) -> Signed:
        ends = timedelta(hours=-1)
        return Signed(self.foreign.line.issue(cn="old", starts=timedelta(days=-2), ends=ends))

    # -- what was recorded --

    def states(self, host: str) -> list[str]:
        """States of the requests that name this host, oldest first."""
        query = f"SELECT state FROM request WHERE subject LIKE '%{host}%' OR sans LIKE '%{host}%' ORDER BY pk"
        return [str(state) for (state,) in database.rows(self.gateway.sql_url, query)]

    def certificate_count(self) -> int:
        return database.certificate_count(self.gateway.sql_url)

    def revoke(self, certificate: x509.Certificate) -> None:
        """As an administrator does."""
        fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
        self.gateway.cli("cert", "revoke", fingerprint)

    def status_of(self, certificate: x509.Certificate) -> tuple[str, str | None]:
        """Status and revocation reason of one of our certificates."""
        query = (
            "SELECT status, revocation_reason FROM certificate "
            f"WHERE serial_hex = '{certificate.serial_number:x}'"
        )
        ((status, reason),) = database.rows(self.gateway.sql_url, query)
        return str(status), reason


def ir(private_key: pki.PrivateKey, host: str | None, **more: Any) -> bytes:
    """The content of an ir, cr or kur with one request."""
    return cmp_bodies.requests(cmp_bodies.request(private_key, host, **more))


def ask(client: CmpClient, name: str = "ir", host: str | None = None, **changes: Any) -> Reply:
    """Ask for a certificate for a new key and host; ``changes`` overrule the header."""
    return client.send(name, ir(pki.key(), host or device_name("cmp")), **changes)


def begun(client: CmpClient, host: str | None = None, **changes: Any) -> tuple[Transaction, x509.Certificate]:
    """A transaction whose certificate waits for its certConf."""
    transaction = client.transaction()
    reply = transaction.send("ir", ir(pki.key(), host or device_name("cmp")), **changes)
    assert reply.outcome == "accepted", reply.statuses
    return transaction, reply.certificate


@contextmanager
def cmp_lab(directory: Path, **options: Any) -> Iterator[CmpLab]:
    foreign = Foreign.made()
    bundle = policies.bundle(*_documents(foreign))
    with gateways.running(directory, policies=bundle, **options) as gateway:
        made = gateway.cli_json("credential", "add", "cmp-secret", "--ref", "lab")
        lab = CmpLab(gateway, foreign, "lab", made["secret"].encode())
        try:
            yield lab
        finally:
            lab.close()
