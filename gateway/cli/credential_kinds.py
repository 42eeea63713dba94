"""What is particular to each kind of credential that ``pkigate credential add`` makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import typer

from gateway.credentials.draft import PROTOCOLS
from gateway.model.evidence import ACME_EAB, API_TOKEN, BASIC, CMP_SECRET, SCEP_CHALLENGE, CredentialKind


@dataclass(frozen=True, slots=True)
class Kind:
    """``options`` are those of ``add`` that not every kind has; ``name_option`` gives its name.

    ``name_word`` and ``secret_word`` are for people.
    """

    kind: CredentialKind
    options: frozenset[str]
    name_option: str
    name_word: str
    secret_word: str


_USER = Kind(
    BASIC, frozenset({"--user", "--password-stdin", "--names", "--uses"}), "--user", "user", "secret"
)
KINDS: Mapping[str, Kind] = {
    ACME_EAB: Kind(
        ACME_EAB,
        frozenset({"--name", "--profiles", "--prevalidated", "--names", "--uses"}),
        "--name",
        "key identifier",
        "HMAC key",
    ),
    SCEP_CHALLENGE: Kind(
        SCEP_CHALLENGE,
        frozenset({"--name", "--profiles", "--static", "--secret-stdin", "--names", "--uses"}),
        "--name",
        "name",
        "challenge",
    ),
    CMP_SECRET: Kind(
        CMP_SECRET,
        frozenset({"--ref", "--profiles", "--secret-stdin", "--names", "--uses"}),
        "--ref",
        "reference",
        "secret",
    ),
    API_TOKEN: Kind(API_TOKEN, frozenset({"--name", "--allow"}), "--name", "name", "token"),
}
STORED_KINDS = (BASIC, *(kind.kind for kind in KINDS.values()))
_INSTEAD = {PROTOCOLS[name]: name for name in KINDS}


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


def check_given_secret(kind: Kind, *, static: bool) -> None:
    """People give static challenges only. Raises BadParameter."""
    if kind.kind == SCEP_CHALLENGE and not static:
        text = "a one-time challenge is always generated; add --static to give one yourself"
        raise typer.BadParameter(text, param_hint="--secret-stdin")
