"""A look into the gateway's database behind its back, with the plain drivers."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from typing import Any


def rows(database_url: str, query: str) -> Sequence[tuple[Any, ...]]:
    """Run one SELECT on ``sqlite:///PATH`` or ``postgresql://...``."""
    if database_url.startswith("sqlite:///"):
        connection: Any = sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=30)
    else:
        import psycopg

        connection = psycopg.connect(database_url.replace("postgresql+psycopg://", "postgresql://"))
    try:
        found: Sequence[tuple[Any, ...]] = connection.execute(query).fetchall()
    finally:
        connection.close()
    return found


def certificates(database_url: str) -> dict[str, tuple[str, bytes]]:
    """SHA-256 of the stored DER (computed here) to the row's SPKI hash and DER."""
    found = rows(database_url, "SELECT spki_sha256, certificate_der FROM certificate")
    return {hashlib.sha256(bytes(der)).hexdigest(): (spki, bytes(der)) for spki, der in found}


def certificate_count(database_url: str) -> int:
    count: int = rows(database_url, "SELECT count(*) FROM certificate")[0][0]
    return count
