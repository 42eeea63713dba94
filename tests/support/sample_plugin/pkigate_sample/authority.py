"""The sample CA proper: a self-made P-256 root, real certificates, a durable journal. No sockets."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from pkigate_sample.wire import from_b64, time_of, to_b64

SAN_OID = x509.ObjectIdentifier("2.5.29.17")
USAGE_FIELDS = {
    "digitalSignature": "digital_signature",
    "nonRepudiation": "content_commitment",
    "contentCommitment": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
    "keyCertSign": "key_cert_sign",
    "cRLSign": "crl_sign",
    "encipherOnly": "encipher_only",
    "decipherOnly": "decipher_only",
}


@dataclass(slots=True)
class Switches:
    """What the CA does wrong or slowly; see README.md."""

    delay_ms: int = 0
    lose_before: int = 0
    lose_after: int = 0
    refuse: str = ""
    pending: int = 0
    lie: str = ""
    retry: str = "idempotent"

    def set(self, values: dict[str, Any]) -> None:
        known = {each.name for each in fields(self)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"{name!r} is no switch; known are {', '.join(sorted(known))}")
            setattr(self, name, value)


@dataclass(slots=True)
class Journal:
    """Lines of JSON, each on the disk before ``add`` returns; replayed at the start."""

    path: Path
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)  # the latest line of each order
    issued_count: dict[str, int] = field(default_factory=dict)
    revoked: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> Journal:
        journal = cls(path)
        whole = 0
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break  # a kill in the middle of a line: that order was never answered
                journal._apply(json.loads(line))
                whole += len(line)
            os.truncate(path, whole)
        return journal

    def add(self, entry: dict[str, Any]) -> None:
        with self.path.open("ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._apply(entry)

    def _apply(self, entry: dict[str, Any]) -> None:
        if entry["kind"] == "revoked":
            self.revoked.setdefault(entry["serial"], entry["reason"])
            return
        self.orders[entry["order_id"]] = entry
        if entry["kind"] == "issued":
            self.issued_count[entry["order_id"]] = self.issued_count.get(entry["order_id"], 0) + 1


class Authority:
    """Keys, certificate and journal in one directory."""

    def __init__(self, state: Path) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.switches = Switches()
        self.journal = Journal.open(state / "journal.jsonl")
        self._key, self.root = _root(state)

    def root_der(self) -> bytes:
        return self.root.public_bytes(serialization.Encoding.DER)

    def issue(self, order_id: str, plan: dict[str, Any]) -> dict[str, Any]:
        """The answer to an order, already in the journal."""
        known = self.journal.orders.get(order_id)
        if known is not None and self.switches.retry == "idempotent":
            return self._answer(known)
        if time_of(plan["not_after"]) > self.root.not_valid_after_utc:
            return {
                "status": "refused",
                "code": "validity",
                "message": "longer than the CA's own certificate",
            }
        if self.switches.refuse:
            return {"status": "refused", "code": "sample", "message": self.switches.refuse}
        if self.switches.pending:
            entry = {"kind": "pending", "order_id": order_id, "plan": plan, "polls": self.switches.pending}
        else:
            entry = self._issued(order_id, plan)
        self.journal.add(entry)
        return self._answer(entry)

    def poll(self, handle: str) -> dict[str, Any]:
        entry = self.journal.orders.get(handle)
        if entry is None:
            return {"status": "refused", "code": "unknown", "message": f"no order {handle}"}
        if entry["kind"] == "pending":
            polls = entry["polls"] - 1
            entry = self._issued(handle, entry["plan"]) if polls <= 0 else {**entry, "polls": polls}
            self.journal.add(entry)
        return self._answer(entry)

    def find(self, order_id: str, spki_b64: str) -> dict[str, Any]:
        entry = self.journal.orders.get(order_id)
        if entry is None or entry["plan"]["spki"] != spki_b64:
            return {"status": "unknown"}
        return self._answer(entry)

    def revoke(self, serial: str, reason: str) -> dict[str, Any]:
        if serial not in self.journal.revoked:
            self.journal.add({"kind": "revoked", "serial": serial, "reason": reason})
        return {"status": "ok"}

    def _answer(self, entry: dict[str, Any]) -> dict[str, Any]:
        if entry["kind"] == "pending":
            return {"status": "pending", "handle": entry["order_id"], "retry_after_s": 1}
        return {"status": "issued", "certificate": entry["certificate"], "chain": [to_b64(self.root_der())]}

    def _issued(self, order_id: str, plan: dict[str, Any]) -> dict[str, Any]:
        certificate = self._sign(_with_lie(plan, self.switches.lie))
        encoded = to_b64(certificate.public_bytes(serialization.Encoding.DER))
        return {"kind": "issued", "order_id": order_id, "plan": plan, "certificate": encoded}

    def _sign(self, plan: dict[str, Any]) -> x509.Certificate:
        key: Any = serialization.load_der_public_key(from_b64(plan["spki"]))
        subject = _name(plan["subject"])
        builder = x509.CertificateBuilder(
            issuer_name=self.root.subject,
            subject_name=subject,
            public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=time_of(plan["not_before"]),
            not_valid_after=time_of(plan["not_after"]),
        ).add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        if plan["key_usage"]:
            builder = builder.add_extension(_key_usage(plan["key_usage"]), critical=True)
        if plan["extended_key_usage"]:
            oids = [x509.ObjectIdentifier(oid) for oid in plan["extended_key_usage"]]
            builder = builder.add_extension(x509.ExtendedKeyUsage(oids), critical=False)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key), critical=False
        ).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        if plan["sans"]:
            value = _sequence(b"".join(from_b64(san) for san in plan["sans"]))
            builder = builder.add_extension(
                x509.UnrecognizedExtension(SAN_OID, value), critical=not plan["subject"]
            )
        for oid, critical, value in plan["extensions"]:
            own = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), from_b64(value))
            builder = builder.add_extension(own, critical=critical)
        return builder.sign(self._key, hashes.SHA256())


def _with_lie(plan: dict[str, Any], lie: str) -> dict[str, Any]:
    """What is signed instead of the plan."""
    if lie == "wrong-key":
        other = ec.generate_private_key(ec.SECP256R1()).public_key()
        spki = other.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return {**plan, "spki": to_b64(spki)}
    if lie == "wrong-name":
        return {**plan, "subject": [[["2.5.4.3", "somebody-else.test", 12]]], "sans": []}
    if lie == "longer-validity":
        return {**plan, "not_after": (time_of(plan["not_after"]) + timedelta(days=365)).isoformat()}
    if lie:
        raise ValueError(f"{lie!r} is no lie that this CA knows")
    return plan


def _name(rdns: list[list[list[Any]]]) -> x509.Name:
    return x509.Name(
        [
            x509.RelativeDistinguishedName(
                [
                    x509.NameAttribute(x509.ObjectIdentifier(oid), value, _ASN1Type(tag), _validate=False)
                    for oid, value, tag in rdn
                ]
            )
            for rdn in rdns
        ]
    )


def _key_usage(names: list[str]) -> x509.KeyUsage:
    return x509.KeyUsage(**{each: each in {USAGE_FIELDS[n] for n in names} for each in USAGE_FIELDS.values()})


def _sequence(content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((0x30, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x30, 0x80 | len(octets))) + octets + content


def _root(state: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key_path, certificate_path = state / "root.key.pem", state / "root.pem"
    if certificate_path.exists():
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{key_path} holds no EC key")
        return key, x509.load_pem_x509_certificate(certificate_path.read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Sample remote CA {os.urandom(4).hex()}")])
    now = datetime.now(UTC).replace(microsecond=0)
    certificate = (
        x509.CertificateBuilder(
            issuer_name=name,
            subject_name=name,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(days=1),
            not_valid_after=now + timedelta(days=3650),
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(["keyCertSign", "cRLSign"]), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    key_path.chmod(0o600)
    temporary = state / ".root.pem"
    temporary.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    temporary.rename(certificate_path)
    return key, certificate
