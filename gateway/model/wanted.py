"""What policy expects of a request, advertised as it is enforced (RFC 9908, RFC 9810 5.3.19.16)."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model.keys import KeyType


@dataclass(frozen=True, slots=True)
class WantedKey:
    """One admissible kind of key; ``size_bits`` for RSA, ``curve`` for EC."""

    type: KeyType
    size_bits: int | None = None
    curve: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """The union of what the policies that could be selected ask for, in order of their priority.

    ``subject_attributes`` are OIDs that the CSR must carry, ``san_kinds`` NameKind values that it may carry,
    ``key_usage`` and ``extended_key_usage`` what will be set whatever the CSR says.
    """

    keys: tuple[WantedKey, ...] = ()
    signature_hashes: tuple[str, ...] = ()
    subject_attributes: tuple[str, ...] = ()
    san_kinds: tuple[str, ...] = ()
    san_required: bool = False
    key_usage: tuple[str, ...] = ()
    extended_key_usage: tuple[str, ...] = ()
    linking_required: bool = False
