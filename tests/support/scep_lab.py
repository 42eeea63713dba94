"""A gateway with one SCEP endpoint per rule, and the devices that talk to it."""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import database, pki, policies
from tests.support import gateway as gateways
from tests.support.gateway import Gateway
from tests.support.scep_client import Device, ScepServer

CHALLENGE = "the challenge of the whole line"
_REASON_ID = re.compile(r"PG-[0-9A-Z]{8}")
_CAS = [{"name": "issuing"}, {"name": "scep", "key": "rsa-2048"}]
KEYS: dict[str, Any] = {"rsa": {"min": 2048, "max": 4096}, "ec": ["P-256"], "reuse": "allow"}
_ISSUE = [{"backend": "embedded", "profile": "scep"}]


@functools.cache
def rsa_key(label: str) -> pki.PrivateKey:
    """One RSA-2048 key of this name for the whole test process."""
    return pki.key("RSA-2048")


def endpoint(name: str, *, grace: str = "10m", ca: str = "scep", **options: Any) -> policies.Document:
    made = policies.endpoint(name, grace=grace, **options)
    return {**made, "protocol": "scep", "ca": ca}


def first(name: str, endpoint_name: str, priority: int, **parts: Any) -> policies.Document:
    """A policy for first certificates, by challenge unless ``authenticate`` says otherwise."""
    usual: dict[str, Any] = {"authenticate": {"challenge": {}}, "keys": KEYS, "issue": _ISSUE}
    made = policies.enroll_policy(name, endpoint_name, priority=priority, **{**usual, **parts})
    made["match"]["protocol"] = "scep"
    return made


def again(name: str, endpoint_name: str, priority: int, **parts: Any) -> policies.Document:
    """A policy for renewals with either key."""
    made = policies.renew_policy(
        name, endpoint_name, priority=priority, **{"keys": KEYS, "issue": _ISSUE, **parts}
    )
    made["match"]["protocol"] = "scep"
    return made


def bundle(*documents: policies.Document, cas: list[dict[str, Any]] | None = None) -> Mapping[str, str]:
    """The documents with the embedded CA as SCEP needs it: an RSA CA beside the usual one."""
    text = policies.bundle(policies.own_certificates(), *documents)["bundle.yaml"]
    plain = '"type": "embedded"'
    assert plain in text
    return {
        "bundle.yaml": text.replace(plain, f'{plain}, "options": {json.dumps({"issuing": cas or _CAS})}', 1)
    }


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One row of the record; ``decision`` and ``remote`` as the documents that they are."""

    id: str
    state: str
    protocol: str
    endpoint: str
    operation: str
    identity: str
    remote: dict[str, Any]
    decision: dict[str, Any]
    csr_der: bytes | None

    @property
    def code(self) -> str:
        """The code of the first reason."""
        return str(self.decision["reasons"][0]["code"])


@dataclass(slots=True)
class ScepLab:
    """The gateway, and what its tests ask of it."""

    gateway: Gateway
    vendor: pki.Authority
    _challenge: str = ""
    _servers: dict[str, ScepServer] = field(default_factory=dict)
    _others: list[ScepServer] = field(default_factory=list)

    def url(self, name: str = "default") -> str:
        return f"{self.gateway.quickstart['http']}/scep/{name}"

    def server(self, name: str = "default") -> ScepServer:
        """The endpoint over one connection for the whole module."""
        if name not in self._servers:
            self._servers[name] = ScepServer(self.url(name)).learned()
        return self._servers[name]

    def new_server(self, name: str = "default", source: str = "127.0.0.1") -> ScepServer:
        """The endpoint over a connection of its own, from this address."""
        self._others.append(ScepServer(self.url(name), source, self.server(name).responders))
        return self._others[-1]

    def close(self) -> None:
        for server in (*self._servers.values(), *self._others):
            server.close()

    def device(self, name: str = "default", key: str = "device", cn: str = "") -> Device:
        return Device(self.server(name), rsa_key(key), cn)

    @property
    def challenge(self) -> str:
        """A static challenge that is good everywhere."""
        if not self._challenge:
            self._challenge = self.new_challenge("--static")
        return self._challenge

    def new_challenge(self, *more: str) -> str:
        """A new challenge: for one use unless ``more`` says otherwise."""
        return str(self.gateway.cli_json("credential", "add", "scep-challenge", *more)["challenge"])

    # -- the record: by SQL, since a command takes a second --

    def row(self, text: str) -> RecordedRequest:
        """The request that a failInfoText or a plain text names by its reason id."""
        found = _REASON_ID.search(text)
        assert found, f"no reason id in {text!r}"
        (row,) = self._requests(f"reason_id = '{found.group()}'")
        return row

    def rows(self, device: Device) -> list[RecordedRequest]:
        """All requests of the device's transaction, oldest first."""
        return self._requests(f"transaction_id = '{device.transaction_id}'")

    def _requests(self, condition: str) -> list[RecordedRequest]:
        columns = "id, state, protocol, endpoint, operation, identity, remote, decision, csr_der"
        query = f"SELECT {columns} FROM request WHERE {condition} ORDER BY pk"
        return [
            RecordedRequest(*row[:6], json.loads(row[6]), json.loads(row[7] or "{}"), row[8])
            for row in database.rows(self.gateway.sql_url, query)
        ]

    def certificates(self, device: Device) -> int:
        """How many were ever issued to a device's name."""
        return self.count("certificate", f"subject = 'CN={device.cn}'")

    def count(self, table: str, condition: str) -> int:
        """How many rows of the record fulfil a condition in SQL."""
        query = f"SELECT count(*) FROM {table} WHERE {condition}"
        return int(database.rows(self.gateway.sql_url, query)[0][0])

    # -- people --

    def revoke(self, device: Device) -> None:
        serial = f"{device.signer.certificate.serial_number:x}"
        self.gateway.cli("cert", "revoke", serial, "--reason", "cessationOfOperation")

    def approve(self, device: Device) -> None:
        self.gateway.cli("request", "approve", self._waiting(device))

    def reject(self, device: Device, note: str) -> None:
        self.gateway.cli("request", "reject", self._waiting(device), "--note", note)

    def _waiting(self, device: Device) -> str:
        (row,) = (row for row in self.rows(device) if row.state == "awaiting-approval")
        return row.id


@contextlib.contextmanager
def running_lab(
    directory: Path, *documents: policies.Document, vendor: pki.Authority | None = None, **options: Any
) -> Iterator[ScepLab]:
    """A started gateway with these documents."""
    with gateways.running(directory, **{"policies": bundle(*documents), **options}) as gateway:
        lab = ScepLab(gateway, vendor or pki.Authority("Vendor Root"))
        try:
            yield lab
        finally:
            lab.close()
