"""quickstart.json and the start banner: what a newcomer, a script or a test needs to reach the gateway.

The only place where demo credentials stand in clear. They are derived from the server key, so every start
writes the same ones.
"""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.durable_file import sync_directory, write_durably
from gateway.errors import ConfigurationError

VERSION = 1
EST_DEMO_USER = "demo"
DEMO_NAMES = ("*.test", "*.example", "*.internal", "localhost")
_DEMO_SECRET_BYTES = 18


@dataclass(frozen=True, slots=True)
class EstAccess:
    """How a client enrols by EST. ``url`` ends in the endpoint, without the operation (RFC 7030 3.2.2)."""

    url: str
    user: str
    password: str

    def __repr__(self) -> str:
        return f"EstAccess(url={self.url!r}, user={self.user!r}, password=...)"


@dataclass(frozen=True, slots=True)
class QuickStart:
    """Content of quickstart.json; a part is None where it does not work on this gateway.

    ``root_pem`` is absolute, ``issuing`` describes the issuing CA (subject, sha256, pem), ``crl`` is its URL.
    """

    https: str | None
    http: str | None
    root_pem: Path
    issuing: Mapping[str, str]
    crl: str | None
    names: tuple[str, ...] = DEMO_NAMES
    est: EstAccess | None = None

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
            "ca": ca,
            "names": list(self.names),
            "est": None
            if self.est is None
            else {"url": self.est.url, "user": self.est.user, "password": self.est.password},
        }
        return {key: value for key, value in found.items() if value is not None}


def demo_secret(server_key: bytes, label: str) -> str:
    """The demo secret of one protocol: 144 derived bits as 24 characters of base64url."""
    info = b"pkigate demo " + label.encode()
    derived = HKDF(SHA256(), _DEMO_SECRET_BYTES, salt=None, info=info).derive(server_key)
    return base64.urlsafe_b64encode(derived).decode()


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
            "set demo_credentials: off (then make credentials with `pkigate credential add`), "
            "or demo_credentials: allow-non-loopback to let everyone who learns them have certificates"
        )
    return True


def write(path: Path, quick_start: QuickStart) -> None:
    """Write quickstart.json in one step, mode 0600."""
    write_durably(path, (json.dumps(quick_start.document(), indent=2) + "\n").encode())


def remove(path: Path) -> None:
    """Remove the file of an earlier start, so that its presence means: ready now."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    sync_directory(path.parent)
