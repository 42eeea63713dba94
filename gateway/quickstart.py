"""quickstart.json and the start banner: what a newcomer, a script or a test needs to reach the gateway.

The only place where demo credentials stand in clear. They are derived from the server key, so every start
writes the same ones.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.durable_file import sync_directory, write_durably
from gateway.errors import ConfigurationError

VERSION = 1
EST_DEMO_USER = "demo"
EAB_DEMO_KEY_IDENTIFIER = "demo"
DEMO_NAMES = ("*.test", "*.example", "*.internal", "localhost")
STANDARD_HTTP_PORT = 80
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
class QuickStart:
    """Content of quickstart.json; a part is None where it does not work on this gateway.

    ``root_pem`` is absolute, ``issuing`` describes the issuing CA (subject, sha256, pem), ``crl`` is its URL.
    ``names`` are what the default policies allow; empty where others decide.
    """

    https: str | None
    http: str | None
    root_pem: Path
    issuing: Mapping[str, str]
    crl: str | None
    names: tuple[str, ...] = DEMO_NAMES
    est: EstAccess | None = None
    acme: AcmeAccess | None = None

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
            "names": list(self.names) or None,
            "acme": None if self.acme is None else self.acme.document(),
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


def demo_hmac_key(server_key: bytes, label: str) -> bytes:
    """The demo MAC key of one protocol: 32 derived bytes."""
    return HKDF(SHA256(), 32, salt=None, info=b"pkigate demo MAC " + label.encode()).derive(server_key)


def base64url(value: bytes) -> str:
    """Without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


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


def remove(path: Path) -> None:
    """Remove the file of an earlier start, so that its presence means: ready now."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    sync_directory(path.parent)


def banner(quick_start: QuickStart, *, quickstart_file: Path, data_directory: Path, version: str) -> str:
    """What `pkigate serve` prints once it is ready: addresses, the first client command, where things lie.

    It holds no secret, since standard output often ends in a journal: the command reads quickstart.json.
    """
    lines = ["", f"pkigate {version} is ready.", ""]
    for name, value in (("https", quick_start.https), ("http", quick_start.http)):
        if value is not None:
            lines.append(f"  {name:<9} {value}")
    lines.append(f"  {'data':<9} {data_directory}")
    lines.append(f"  {'root CA':<9} {quick_start.root_pem}")
    lines.append(f"  {'details':<9} {quickstart_file}")
    if quick_start.est is not None:
        allowed = (
            f"names under {', '.join(quick_start.names)}"
            if quick_start.names
            else "if your policies allow device-1.test"
        )
        lines += [
            "",
            f"  First certificate by EST, {allowed} (copy, paste, run):",
            "",
            est_command(quick_start, quickstart_file=quickstart_file),
        ]
    if quick_start.acme is not None and quick_start.acme.http01_port != STANDARD_HTTP_PORT:
        lines += [
            "",
            "  First certificate by ACME, with certbot where it is installed (needs no root):",
            "",
            acme_command(quick_start),
        ]
    lines += ["", "  Stop with Ctrl-C. A second start keeps everything.", ""]
    return "\n".join(lines)


def acme_command(quick_start: QuickStart) -> str:
    """One shell command by which certbot gets a certificate for ``web-1.test``, in lab mode.

    It leaves everything in the directory ``certbot`` below the current one. Raises ValueError where ACME does
    not work.
    """
    if quick_start.acme is None:
        raise ValueError("ACME does not work on this gateway")
    return (
        f"REQUESTS_CA_BUNDLE={shlex.quote(str(quick_start.root_pem))} certbot certonly \\\n"
        f"--server {quick_start.acme.directory} \\\n"
        "--config-dir certbot --work-dir certbot --logs-dir certbot -n --agree-tos \\\n"
        "--register-unsafely-without-email "
        f"--standalone --http-01-port {quick_start.acme.http01_port} -d web-1.test"
    )


def est_command(quick_start: QuickStart, *, quickstart_file: Path) -> str:
    """One shell command that fetches the CA certificates and enrols ``device-1.test`` with curl and openssl.

    It leaves cacerts.pem, device-1.key and device-1.pem in the current directory. Raises ValueError where
    EST does not work.
    """
    if quick_start.est is None:
        raise ValueError("EST does not work on this gateway")
    root = shlex.quote(str(quick_start.root_pem))
    url = quick_start.est.url
    password = f'sed -n \'s/.*"password": "\\([^"]*\\)".*/\\1/p\' {shlex.quote(str(quickstart_file))}'
    get_ca = (
        f"curl -sSf --cacert {root} {url}/cacerts | openssl base64 -d | "
        "openssl pkcs7 -inform DER -print_certs -out cacerts.pem"
    )
    make_csr = (
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout device-1.key "
        "-subj /CN=device-1.test -addext subjectAltName=DNS:device-1.test -outform DER 2>/dev/null | "
        "openssl base64 > device-1.p10"
    )
    enroll = (
        f'curl -sS --fail-with-body --cacert {root} -u "{quick_start.est.user}:$({password})" '
        "-H 'Content-Type: application/pkcs10' --data-binary @device-1.p10 "
        f"-o device-1.p7 {url}/simpleenroll || {{ cat device-1.p7; false; }}"
    )
    unpack = "openssl base64 -d -in device-1.p7 | openssl pkcs7 -inform DER -print_certs -out device-1.pem"
    show = "openssl x509 -in device-1.pem -noout -subject -issuer -dates -ext subjectAltName"
    return " && \\\n".join([get_ca, make_csr, f"{{ {enroll}; }}", unpack, show])
