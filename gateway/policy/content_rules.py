"""Compiled rules for what a certificate holds beside names: key, extensions, life and renewal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from gateway.model.enrolment import Extension
from gateway.model.keys import KeyType
from gateway.pki.weak_keys import KeyWeakness


class NewKey(StrEnum):
    """Whether a renewal must, may or must not bring a new key."""

    OPTIONAL = "optional"
    REQUIRED = "required"
    FORBIDDEN = "forbidden"


class MustStaple(StrEnum):
    """When the TLS feature extension is set (RFC 7633)."""

    NEVER = "never"
    IF_REQUESTED = "if-requested"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class KeyRule:
    """Admissible keys; the sizes are modulus bits.

    ``blocklists`` are List documents, ``blocked`` SHA-256 of public keys that are refused without them;
    ``debian_weak``: the lists are asked for the fingerprint of Debian's list too. ``one_subject``: a key may
    come again for the same subject only.
    """

    types: frozenset[KeyType]
    rsa_min: int
    rsa_max: int
    rsa_sizes: frozenset[int]  # empty: any size from rsa_min to rsa_max
    rsa_min_exponent: int
    curves: frozenset[str]
    signature_hashes: frozenset[str]
    refuse_known_key: bool
    allowed_text: str
    where: str = ""
    weaknesses: frozenset[KeyWeakness] = frozenset()
    refuse_ca_key: bool = False
    refuse_account_key: bool = False
    blocklists: tuple[str, ...] = ()
    blocked: frozenset[str] = frozenset()
    debian_weak: bool = False
    one_subject: bool = False


@dataclass(frozen=True, slots=True)
class ExtensionsRule:
    """What is set beside names. ``key_usage`` is by key type: bits that a type cannot do are left out.

    ``without``: OIDs of extensions that the CA would add of itself and must not.
    """

    key_usage: Mapping[KeyType, tuple[str, ...]]
    key_usage_all: tuple[str, ...]
    extended_key_usage: tuple[str, ...]
    extensions: tuple[Extension, ...]
    must_staple: MustStaple
    deny_other: bool
    where: str = ""
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ValidityRule:
    """``jitter``: a life of ``default`` is shorter by up to so much."""

    default: timedelta
    max: timedelta
    client_may_request: bool
    backdate: timedelta
    where: str = ""
    jitter: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class RenewalRule:
    """``window`` is the time before notAfter from which on renewal is allowed, ``window_percent`` the same as
    a part of the whole life; both None: at any time. ``ari``: whether clients are told of it (RFC 9773).
    ``revoke_previous``: so long after the new certificate the old one is revoked; None: never."""

    window: timedelta | None
    deny_name_change: bool
    new_key: NewKey
    copy_missing_san: bool
    where: str = ""
    window_percent: int | None = None
    ari: bool = True
    revoke_previous: timedelta | None = None
