"""A house with endpoints of every kind of front door, and external accounts to open them with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.authn.sealing import seal
from gateway.model.certificate import CertificateRecord, CertificateStatus, RevocationReason
from gateway.model.evidence import ACME_EAB
from gateway.model.ids import new_id
from gateway.store import certificates, credentials
from gateway.store.credentials import CredentialRow
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.support import acme_policies, acme_signing, pki, policies
from tests.unit.acme.house import SERVER_KEY, Client, House, SetClock

TERMS = "https://ca.test/terms"
ENDPOINTS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "other": {},
    "terms": {"terms_of_service": TERMS, "website": "https://ca.test/", "renewal_info": False},
    "new-only": {"eab": "new-accounts"},
    "bound": {"eab": "always"},
    "few": {"limits": {"accounts_per_address": {"count": 1, "per": "1h"}}, "max_contacts": 2},
}


@dataclass(frozen=True, slots=True)
class MacKey:
    """What somebody was given to open an account with."""

    name: str
    hmac_key: bytes

    def binding(self, client: Client, **changes: object) -> dict[str, str]:
        """The externalAccountBinding of this client's newAccount."""
        url = f"{client.root}/new-account"
        return acme_signing.external_binding(
            self.name, acme_signing.b64u(self.hmac_key), client.key, url, changes=changes
        )


def opened(directory: Path, store: Store, clock: SetClock) -> House:
    """A house with all ``ENDPOINTS``."""
    return House(directory, store, clock, *_documents(ENDPOINTS))


def change_options(house: House, endpoint: str, **options: object) -> None:
    """Activate a bundle in which one endpoint has these options besides its own."""
    bundle = house.bundle.current
    key = next(key for key in bundle.endpoints if key[1] == endpoint)
    compiled = bundle.endpoints[key]
    model = type(compiled.options)
    changed = model.model_validate({**compiled.options.model_dump(), **options})
    endpoints = {**bundle.endpoints, key: replace(compiled, options=changed)}
    house.bundle.current = replace(bundle, endpoints=endpoints)


async def mac_key(
    store: Store,
    clock: SetClock,
    *,
    name: str = "device-7",
    uses: int | None = None,
    endpoints: Sequence[str] | None = None,
    expires_at: datetime | None = None,
) -> MacKey:
    """Give out an external account."""
    credential_id, secret = new_id(), b"m" * 32
    row = CredentialRow(
        id=credential_id,
        kind=ACME_EAB,
        name=name,
        created_at=clock.now(),
        protocol="acme",
        endpoints=None if endpoints is None else tuple(endpoints),
        sealed=seal(SERVER_KEY, credential_id, secret),
        uses_left=uses,
        expires_at=expires_at,
    )
    unit = Unit()
    credentials.insert(unit, row)
    await store.recorder.commit(unit)
    return MacKey(name, secret)


async def compromise(store: Store, clock: SetClock, key: pki.PrivateKey) -> None:
    """Make it known that a certificate of this key was revoked for keyCompromise."""
    spki_der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    record = CertificateRecord(
        sha256="1" * 64,
        issuer_key_sha256="2" * 64,
        serial_hex="1",
        subject="CN=a.test",
        sans=("dns:a.test",),
        spki_sha256=hashlib.sha256(spki_der).hexdigest(),
        not_before=clock.now(),
        not_after=clock.now(),
        certificate_der=b"0",
        chain_sha256=certificates.chain_sha256(()),
        request_id=new_id(),
        protocol="est",
        endpoint="default",
        identity="basic:x",
        policy="p",
        bundle_sha256="3" * 64,
        backend="embedded",
        status=CertificateStatus.REVOKED,
        revoked_at=clock.now(),
        revocation_reason=RevocationReason.KEY_COMPROMISE,
    )
    unit = Unit()
    certificates.insert(unit, record, ())
    await store.recorder.commit(unit)


def _documents(endpoints: Mapping[str, Mapping[str, Any]]) -> tuple[policies.Document, ...]:
    documents = [acme_policies.acme_endpoint(name, **options) for name, options in endpoints.items()]
    return (*documents, acme_policies.acme_policy("web-servers", list(endpoints), priority=10))
