"""quickstart.json: what a newcomer, a script or a test needs to reach the gateway.

The only place where demo credentials stand in clear. They are derived from the server key, so every start
writes the same ones.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.durable_file import sync_directory, write_durably
from gateway.errors import ConfigurationError
from gateway.model.names import ATTRIBUTE_NAMES, DistinguishedName

VERSION = 1
EST_DEMO_USER = "demo"
EAB_DEMO_KEY_IDENTIFIER = "demo"
SCEP_DEMO_NAME = "demo"
CMP_DEMO_REFERENCE = "demo"
DEMO_NAMES = ("*.test", "*.example", "*.internal", "localhost")
_DEMO_SECRET_BYTES = 18
_ESCAPED, _ESCAPE = re.compile(r"[/+\\]"), r"\\\g<0>"


@dataclass(frozen=True, slots=True)
class EstAccess:
    """How a client enrols by EST. ``url`` ends in the endpoint, without the operation (RFC 7030 3.2.2)."""

    url: str
    user: str
    password: str

    def __repr__(self) -> str:
        return f"EstAccess(url={self.url!r}, user={self.user!r}, password=...)"


@dataclass(frozen=True, slots=True)
class AcmeAccess:
    """How a client enrols by ACME (RFC 8555). The ports are where challenges are looked at; the key of the
    demo external account is base64url, as clients take it (RFC 8555 section 7.3.4)."""

    directory: str
    http01_port: int
    tls_alpn01_port: int
    eab: tuple[str, str] | None = None  # key identifier, HMAC key

    def __repr__(self) -> str:
        return f"AcmeAccess(directory={self.directory!r}, eab=...)"

    def document(self) -> dict[str, object]:
        found: dict[str, object] = {
            "directory": self.directory,
            "http01_port": self.http01_port,
            "tls_alpn01_port": self.tls_alpn01_port,
        }
        if self.eab is not None:
            found["eab"] = {"kid": self.eab[0], "hmac_key": self.eab[1]}
        return found


@dataclass(frozen=True, slots=True)
class ScepAccess:
    """How a client enrols by SCEP (RFC 8894): the URL without its query, and a static challengePassword."""

    url: str
    challenge: str

    def __repr__(self) -> str:
        return f"ScepAccess(url={self.url!r}, challenge=...)"


@dataclass(frozen=True, slots=True)
class CmpAccess:
    """How a client enrols by CMP (RFC 9810): a reference with its secret protect the messages.

    ``recipient`` is the issuing CA's name as `openssl cmp -recipient` takes it: ``/O=pkigate/CN=...``.
    """

    url: str
    recipient: str
    ref: str
    secret: str

    def __repr__(self) -> str:
        return f"CmpAccess(url={self.url!r}, recipient={self.recipient!r}, ref={self.ref!r}, secret=...)"


@dataclass(frozen=True, slots=True)
class QuickStart:
    """Content of quickstart.json; a part is None where it does not work on this gateway.

    ``root_pem`` is absolute, ``issuing`` describes the issuing CA (subject, sha256, pem), ``crl`` is its URL.
    ``names`` are what the default policies allow; empty where others decide. By ``database``, its kind,
    commands notice that they were pointed at another one.
    """

    https: str | None
    http: str | None
    root_pem: Path
    issuing: Mapping[str, str]
    crl: str | None
    names: tuple[str, ...] = DEMO_NAMES
    database: str | None = None  # sqlite or postgresql
    est: EstAccess | None = None
    acme: AcmeAccess | None = None
    scep: ScepAccess | None = None
    cmp: CmpAccess | None = None

    def document(self) -> dict[str, object]:
        """The JSON document, without the keys that do not work."""
        ca: dict[str, object] = {"issuing": dict(self.issuing)}
        if self.crl is not None:
            ca["crl"] = self.crl
        found: dict[str, object | None] = {
            "version": VERSION,
            "https": self.https,
            "http": self.http,
            "root_pem": str(self.root_pem),
            "database": self.database,
            "ca": ca,
            "names": list(self.names) or None,
            "acme": None if self.acme is None else self.acme.document(),
            "est": None if self.est is None else asdict(self.est),
            "scep": None if self.scep is None else asdict(self.scep),
            "cmp": None if self.cmp is None else asdict(self.cmp),
        }
        return {key: value for key, value in found.items() if value is not None}


def demo_secret(server_key: bytes, label: str) -> str:
    """The demo secret of one protocol: 144 derived bits as 24 characters of base64url."""
    info = b"pkigate demo " + label.encode()
    derived = HKDF(SHA256(), _DEMO_SECRET_BYTES, salt=None, info=info).derive(server_key)
    return base64.urlsafe_b64encode(derived).decode()


def demo_hmac_key(server_key: bytes, label: str) -> bytes:
    """The demo MAC key of one protocol: 32 derived bytes."""
    return HKDF(SHA256(), 32, salt=None, info=b"pkigate demo MAC " + label.encode()).derive(server_key)


def base64url(value: bytes) -> str:
    """Without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def openssl_name(name: DistinguishedName) -> str:
    """A name as openssl's options take it: ``/O=pkigate/CN=...``, what parts it escaped by a backslash."""
    rdns = (
        "+".join(f"{ATTRIBUTE_NAMES.get(one.oid, one.oid)}={_ESCAPED.sub(_ESCAPE, one.value)}" for one in rdn)
        for rdn in name.rdns
    )
    return "/" + "/".join(rdns)


def demo_wanted(setting: str, addresses: Iterable[str]) -> bool:
    """Whether demo credentials are to exist, by the setting ``demo_credentials`` and all listen addresses.

    Raises ConfigurationError if they would be reachable from other machines without the setting's consent.
    """
    if setting == "off":
        return False
    open_to_others = [address for address in addresses if not ipaddress.ip_address(address).is_loopback]
    if open_to_others and setting != "allow-non-loopback":
        raise ConfigurationError(
            f"demo credentials would be reachable on {', '.join(sorted(set(open_to_others)))}; "
            "set demo_credentials: off or PKIGATE_DEMO_CREDENTIALS=off (then make credentials with `pkigate "
            "credential add`), or allow-non-loopback to let everyone who learns them have certificates"
        )
    return True


def write(path: Path, quick_start: QuickStart) -> None:
    """Write quickstart.json in one step, mode 0600."""
    write_durably(path, (json.dumps(quick_start.document(), indent=2) + "\n").encode())


def database_in(path: Path) -> str | None:
    """The kind of database of the gateway that is ready there; None without one, or if it cannot be told."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    found = document.get("database") if isinstance(document, dict) else None
    return found if isinstance(found, str) else None


def remove(path: Path) -> None:
    """Remove the file of an earlier start, so that its presence means: ready now."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    sync_directory(path.parent)
