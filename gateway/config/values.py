"""What stands behind the keys of ``pkigate.yaml``: types with words for what is wrong with a value."""

from __future__ import annotations

import ipaddress
import os
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,39}$"
WILDCARD_ADDRESSES = frozenset({"0.0.0.0", "::"})  # noqa: S104  compared with, not bound
MAX_WORKERS = 256
HTTPS_LISTENER = "https"
HTTP_LISTENER = "http"

Item = TypeVar("Item")


def default_data_directory() -> Path:
    """``/var/lib/pkigate`` for root, else ``$XDG_DATA_HOME/pkigate`` (``~/.local/share/pkigate``)."""
    if os.geteuid() == 0:
        return Path("/var/lib/pkigate")
    data_home = os.environ.get("XDG_DATA_HOME")
    return Path(data_home) / "pkigate" if data_home else Path.home() / ".local" / "share" / "pkigate"


def _ip_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as exc:
        raise ValueError("is no IP address; write 127.0.0.1, ::1, 0.0.0.0 (all IPv4) or :: (all)") from exc


def _base_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is no base URL; write for example https://pki.example.com")
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError("a base URL has no path, query or user; write for example https://pki.example.com")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _network(given: object) -> object:
    if not isinstance(given, str):
        return given
    try:
        return ipaddress.ip_network(given)
    except ValueError as exc:
        raise ValueError(
            f"{given!r} is no network ({exc}); write 10.0.0.0/8, or an address for one host"
        ) from exc


def _worker_setting(given: object) -> object:
    text = str(given)
    if text == "auto":
        return text
    # pydantic's own union would complain twice, once for each alternative.
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_WORKERS):
        raise ValueError(
            f"{given!r} is no number of workers; write auto, or a number from 1 to {MAX_WORKERS}"
        )
    return int(text)


def not_empty(given: tuple[Item, ...]) -> tuple[Item, ...]:
    """At least one. Raises ValueError."""
    if not given:
        raise ValueError("the list is empty; write at least one")
    return given


def tls_form(given: object) -> str:
    """Tells a word from a section with files."""
    return "word" if isinstance(given, str) else "files"


def _secret_reference(text: str) -> str:
    scheme, _, name = text.partition(":")
    if scheme not in {"file", "env", "cred"} or not name:
        # The text itself is not repeated: it may be the secret.
        raise ValueError("is no secret reference; write file:PATH, env:NAME or cred:NAME, never the secret")
    return text


def _database_url(text: str) -> str:
    scheme = text.partition("://")[0]
    if scheme not in {"sqlite", "postgresql", "postgresql+psycopg"} or "://" not in text:
        raise ValueError(
            "is no database URL; write sqlite:////absolute/path.sqlite3 or postgresql://USER@HOST/DATABASE"
        )
    return text


IpAddress = Annotated[str, AfterValidator(_ip_address)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
SecretReference = Annotated[str, AfterValidator(_secret_reference)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Port = Annotated[int, Field(ge=0, le=65535)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Workers = Annotated[Literal["auto"] | int, BeforeValidator(_worker_setting)]
AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]


class Section(BaseModel):
    """A part of the configuration: no unknown keys, never changed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
