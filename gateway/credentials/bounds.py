"""What a new credential may be called and bounded by, each in the form that is stored and compared.

All raise UnfitValue.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Mapping, Sequence

from gateway.errors import GatewayError, MalformedMessage
from gateway.model.evidence import GROUP_PATTERN
from gateway.model.permissions import Permission
from gateway.model.reasons import ReasonCode

MAX_NAME_CHARACTERS = 128
MAX_ENDPOINTS = 100
MAX_GROUPS = 64
MAX_LABELS = 32
MAX_LABEL_CHARACTERS = 255
MAX_USES = 2**31 - 1  # what the column holds
_ENDPOINT = re.compile(r"[a-z0-9-]{1,40}")
_PROFILE = re.compile(r"[^\s,]{1,64}")  # policies may call a profile anything
_GROUP = re.compile(GROUP_PATTERN)
_LABEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")  # a word of expressions: account.label.site
_KEY_IDENTIFIER = re.compile(rf"[A-Za-z0-9._~][A-Za-z0-9._~-]{{0,{MAX_NAME_CHARACTERS - 1}}}")


class UnfitValue(GatewayError):
    """A value that no credential can have. ``path`` names it: ``name``, ``endpoints``, ``expires``..."""

    default_code = ReasonCode.MESSAGE_JSON


def key_identifier(name: str | None) -> str:
    if name is None:
        return secrets.token_hex(12)
    if not _KEY_IDENTIFIER.fullmatch(name):
        raise UnfitValue(
            f"a key identifier has 1 to {MAX_NAME_CHARACTERS} letters, digits or . _ ~ - and does not begin "
            "with -",
            path="name",
        )
    return name


def challenge_name(name: str | None) -> str:
    if name is None:
        return f"challenge-{secrets.token_hex(6)}"
    return _checked_name(name, "name")


def token_name(name: str | None) -> str:
    if name is None:
        raise UnfitValue("say what the token is called, for example enrolment-portal", path="name")
    return _checked_name(name, "name")


def checked_reference(reference: str | None) -> str:
    if reference is None:
        raise UnfitValue("say the reference, for example device-17", path="ref")
    return _checked_name(reference, "ref")


def _checked_name(name: str, field: str) -> str:
    if not name or name != name.strip() or not name.isprintable() or len(name) > MAX_NAME_CHARACTERS:
        raise UnfitValue(
            f"it has 1 to {MAX_NAME_CHARACTERS} printable characters and no blank at its ends", path=field
        )
    return name


def checked_user(user: str | None) -> str:
    if user is None:
        raise UnfitValue("say the user name", path="user")
    # RFC 7617 section 2: a user-id holds neither a colon nor control characters.
    if not user or ":" in user or not user.isprintable() or len(user) > MAX_NAME_CHARACTERS:
        raise UnfitValue(
            f"a user name has 1 to {MAX_NAME_CHARACTERS} printable characters and no colon", path="user"
        )
    if user != user.strip():
        raise UnfitValue("a user name neither begins nor ends with a blank", path="user")
    return user


def checked_endpoints(endpoints: Sequence[str] | None) -> tuple[str, ...] | None:
    if endpoints is not None and len(endpoints) > MAX_ENDPOINTS:
        raise UnfitValue(
            f"{len(endpoints)} endpoints are too many; {MAX_ENDPOINTS} at most", path="endpoints"
        )
    for endpoint in endpoints or ():
        if not _ENDPOINT.fullmatch(endpoint):
            raise UnfitValue(
                f"{endpoint!r} is no endpoint; write its name, for example default", path="endpoints"
            )
    return _each_once(endpoints, "endpoints")


def checked_profiles(profiles: Sequence[str] | None) -> tuple[str, ...] | None:
    for profile in profiles or ():
        if not _PROFILE.fullmatch(profile):
            raise UnfitValue(f"{profile!r} is no profile; write its name as policies do", path="profiles")
    return _each_once(profiles, "profiles")


def checked_permissions(permissions: Sequence[str] | None) -> tuple[str, ...]:
    known = ", ".join(Permission)
    if not permissions:
        raise UnfitValue(f"say what the token may do: {known}", path="permissions")
    for permission in permissions:
        if permission not in set(Permission):
            raise UnfitValue(f"{permission!r} is no permission; there are {known}", path="permissions")
    return tuple(dict.fromkeys(permissions))


def checked_suffixes(entries: Sequence[str] | None, field: str) -> tuple[str, ...] | None:
    """DNS suffixes, IP addresses and networks, each in the form that policy compares."""
    return _each_once(None if entries is None else [_suffix(entry, field) for entry in entries], field)


def checked_groups(groups: Sequence[str] | None) -> tuple[str, ...]:
    if groups is not None and len(groups) > MAX_GROUPS:
        raise UnfitValue(f"{len(groups)} groups are too many; {MAX_GROUPS} at most", path="groups")
    for group in groups or ():
        if not _GROUP.fullmatch(group):
            raise UnfitValue(
                f"{group[:80]!r} is no group; write 1 to 64 letters, digits or . _ -, for example web-team",
                path="groups",
            )
    return tuple(dict.fromkeys(groups or ()))


def checked_labels(labels: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    """By name. A value is 1 to 255 printable characters: it goes into names of certificates."""
    if labels is not None and len(labels) > MAX_LABELS:
        raise UnfitValue(f"{len(labels)} labels are too many; {MAX_LABELS} at most", path="labels")
    for name, value in (labels or {}).items():
        if not _LABEL_NAME.fullmatch(name):
            raise UnfitValue(
                f"{name[:80]!r} is no label; its name is a letter and up to 39 letters, digits or _, for "
                "example site",
                path="labels",
            )
        blank = not value or value != value.strip()
        if blank or not value.isprintable() or len(value) > MAX_LABEL_CHARACTERS:
            raise UnfitValue(
                f"the value of {name} has 1 to {MAX_LABEL_CHARACTERS} printable characters and no blank at "
                "its ends",
                path="labels",
            )
    return tuple(sorted((labels or {}).items()))


def checked_uses(uses: int | None) -> int | None:
    if uses is not None and not 1 <= uses <= MAX_USES:
        raise UnfitValue(f"{uses} is no count of uses; write 1 to {MAX_USES}", path="uses")
    return uses


def _each_once(entries: Sequence[str] | None, field: str) -> tuple[str, ...] | None:
    if entries is None:
        return None
    if not entries:
        # Somebody who wants nothing allowed must not get everything.
        raise UnfitValue("the list is empty; name at least one, or leave it out for no bound", path=field)
    return tuple(dict.fromkeys(entries))


def _suffix(part: str, field: str) -> str:
    from gateway.pki.name_syntax import normal_dns  # brings more than a command line needs to begin

    if part[-1:].isdigit() or ":" in part:
        try:
            network = ipaddress.ip_network(part)
        except ValueError as exc:
            raise UnfitValue(
                f"{part!r} is no address or network: {exc}; write for example 192.0.2.7 or 10.1.0.0/16",
                path=field,
            ) from exc
        return str(network.network_address) if "/" not in part else str(network)
    # People write *.example, .example and example and mean the same suffix.
    bare = part.removeprefix("*").removeprefix(".")
    try:
        return normal_dns(bare)
    except MalformedMessage as exc:
        raise UnfitValue(f"{exc}; write for example devices.example", path=field) from exc
