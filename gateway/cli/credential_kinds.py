"""What is particular to each kind of credential that ``pkigate credential add`` makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import typer

from gateway.cli.credential_arguments import (
    challenge_name,
    checked_reference,
    checked_user,
    key_identifier,
)
from gateway.model.evidence import ACME_EAB, BASIC, CMP_SECRET, SCEP_CHALLENGE, CredentialKind

CHALLENGE_LIFE = timedelta(hours=1)  # of a one-time challenge, unless --expires says otherwise


@dataclass(frozen=True, slots=True)
class Kind:
    """``options`` are those of ``add`` that not every kind has; ``checked_name`` reads ``name_option``.

    ``protocol`` None: the one on the command line. ``name_word`` and ``secret_word`` are for people.
    """

    kind: CredentialKind
    protocol: str | None
    options: frozenset[str]
    name_option: str
    checked_name: Callable[[str | None], str]
    name_word: str
    secret_word: str


_USER = Kind(
    BASIC,
    None,
    frozenset({"--user", "--password-stdin"}),
    "--user",
    checked_user,
    "user",
    "secret",
)
KINDS: Mapping[str, Kind] = {
    ACME_EAB: Kind(
        ACME_EAB,
        "acme",
        frozenset({"--name", "--profiles", "--prevalidated"}),
        "--name",
        key_identifier,
        "key identifier",
        "HMAC key",
    ),
    SCEP_CHALLENGE: Kind(
        SCEP_CHALLENGE,
        "scep",
        frozenset({"--name", "--profiles", "--static", "--secret-stdin"}),
        "--name",
        challenge_name,
        "name",
        "challenge",
    ),
    CMP_SECRET: Kind(
        CMP_SECRET,
        "cmp",
        frozenset({"--ref", "--profiles", "--secret-stdin"}),
        "--ref",
        checked_reference,
        "reference",
        "secret",
    ),
}
STORED_KINDS = (BASIC, *(kind.kind for kind in KINDS.values()))
_INSTEAD = {kind.protocol: name for name, kind in KINDS.items()}


@dataclass(frozen=True, slots=True)
class Draft:
    """A credential before it has its secret. ``uses`` None: as often as wanted."""

    kind: Kind
    protocol: str
    name: str
    endpoints: tuple[str, ...] | None
    names: tuple[str, ...] | None
    profiles: tuple[str, ...] | None
    prevalidated: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime | None
    uses: int | None


def kind_of(argument: str) -> Kind:
    """The kind that the first argument of ``add`` means. Raises BadParameter.

    Every installed front end may look at a user name and secret; its policies say whether it does.
    """
    from gateway.plugins import load_plugins

    if argument in KINDS:
        return KINDS[argument]
    if argument in _INSTEAD:
        instead = _INSTEAD[argument]
        text = f"{argument.upper()} knows no user names; write {instead} instead"
        raise typer.BadParameter(text, param_hint="PROTOCOL")
    known = sorted({*load_plugins().frontends} - {*_INSTEAD})
    if argument not in known:
        text = f"no front end for {argument!r} is installed; write {' or '.join([*known, *KINDS])}"
        raise typer.BadParameter(text, param_hint="PROTOCOL")
    return _USER


def refuse_foreign_options(kind: Kind, given: Mapping[str, object]) -> None:
    """Complain about options that mean nothing for this kind of credential. Raises BadParameter."""
    for option, value in given.items():
        if value is None or value is False or option in kind.options:
            continue
        owners = [name for name, one in KINDS.items() if option in one.options]
        text = f"is for {' or '.join(owners)} only" if kind is _USER else f"is not for {kind.kind}"
        raise typer.BadParameter(text, param_hint=option)


def counted_uses(kind: Kind, uses: int | None, *, static: bool) -> int | None:
    """A challenge is a one-time one unless it is said to be static. Raises BadParameter."""
    if static and uses is not None:
        raise typer.BadParameter("a static challenge has no count of uses", param_hint="--uses")
    return 1 if kind.kind == SCEP_CHALLENGE and uses is None and not static else uses


def check_given_secret(kind: Kind, *, static: bool) -> None:
    """People give static challenges only. Raises BadParameter."""
    if kind.kind == SCEP_CHALLENGE and not static:
        text = "a one-time challenge is always generated; add --static to give one yourself"
        raise typer.BadParameter(text, param_hint="--secret-stdin")
