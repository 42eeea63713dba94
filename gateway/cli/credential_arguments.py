"""What ``pkigate credential add`` is given, checked and as it is stored. All raise BadParameter."""

from __future__ import annotations

import ipaddress
import re
import secrets
import sys

import typer

from gateway.cli.output import fail
from gateway.errors import MalformedMessage

MIN_PASSWORD_CHARACTERS = 12
MAX_SECRET_CHARACTERS = 255  # PKCS #9 bounds a challenge password so (RFC 2985 section 5.4.1)
MAX_NAME_CHARACTERS = 128
_ENDPOINT = re.compile(r"[a-z0-9-]{1,40}")
_PROFILE = re.compile(r"[^\s,]{1,64}")  # policies may call a profile anything
_KEY_IDENTIFIER = re.compile(rf"[A-Za-z0-9._~][A-Za-z0-9._~-]{{0,{MAX_NAME_CHARACTERS - 1}}}")


def key_identifier(name: str | None) -> str:
    if name is None:
        return secrets.token_hex(12)
    if not _KEY_IDENTIFIER.fullmatch(name):
        raise typer.BadParameter(
            f"a key identifier has 1 to {MAX_NAME_CHARACTERS} letters, digits or . _ ~ - and does not begin "
            "with -",
            param_hint="--name",
        )
    return name


def challenge_name(name: str | None) -> str:
    if name is None:
        return f"challenge-{secrets.token_hex(6)}"
    return _checked_name(name, "--name")


def checked_reference(reference: str | None) -> str:
    if reference is None:
        raise typer.BadParameter("say the reference, for example device-17", param_hint="--ref")
    return _checked_name(reference, "--ref")


def _checked_name(name: str, option: str) -> str:
    if not name or name != name.strip() or not name.isprintable() or len(name) > MAX_NAME_CHARACTERS:
        raise typer.BadParameter(
            f"it has 1 to {MAX_NAME_CHARACTERS} printable characters and no blank at its ends",
            param_hint=option,
        )
    return name


def checked_user(user: str | None) -> str:
    if user is None:
        raise typer.BadParameter("say the user name", param_hint="--user")
    # RFC 7617 section 2: a user-id holds neither a colon nor control characters.
    if not user or ":" in user or not user.isprintable() or len(user) > MAX_NAME_CHARACTERS:
        raise typer.BadParameter(
            f"a user name has 1 to {MAX_NAME_CHARACTERS} printable characters and no colon",
            param_hint="--user",
        )
    if user != user.strip():
        raise typer.BadParameter("a user name neither begins nor ends with a blank", param_hint="--user")
    return user


def checked_endpoints(endpoints: list[str] | None) -> tuple[str, ...] | None:
    for endpoint in endpoints or ():
        if not _ENDPOINT.fullmatch(endpoint):
            raise typer.BadParameter(
                f"{endpoint!r} is no endpoint; write its name, for example default", param_hint="--endpoint"
            )
    return tuple(dict.fromkeys(endpoints)) if endpoints else None


def checked_profiles(profiles: list[str] | None) -> tuple[str, ...] | None:
    if not profiles:
        return None
    found = [part.strip() for part in ",".join(profiles).split(",")]
    for profile in found:
        if not _PROFILE.fullmatch(profile):
            raise typer.BadParameter(
                f"{profile!r} is no profile; write its name as policies do", param_hint="--profiles"
            )
    return tuple(dict.fromkeys(found))


def checked_bound(entries: list[str] | None, option: str) -> tuple[str, ...] | None:
    """DNS suffixes, IP addresses and networks, each in the form that policy compares."""
    if not entries:
        return None
    return tuple(dict.fromkeys(_bound(part.strip(), option) for part in ",".join(entries).split(",")))


def _bound(part: str, option: str) -> str:
    from gateway.pki.name_syntax import normal_dns

    if part[-1:].isdigit() or ":" in part:
        try:
            network = ipaddress.ip_network(part)
        except ValueError as exc:
            raise typer.BadParameter(
                f"{part!r} is no address or network: {exc}; write for example 192.0.2.7 or 10.1.0.0/16",
                param_hint=option,
            ) from exc
        return str(network.network_address) if "/" not in part else str(network)
    # People write *.example, .example and example and mean the same suffix.
    bare = part.removeprefix("*").removeprefix(".")
    try:
        return normal_dns(bare)
    except MalformedMessage as exc:
        raise typer.BadParameter(f"{exc}; write for example devices.example", param_hint=option) from exc


def read_password(word: str = "password") -> str:
    """A secret that a person chose, from standard input. ``word`` is what it is called."""
    if sys.stdin.isatty():
        password: str = typer.prompt(word.capitalize(), hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    if len(password) < MIN_PASSWORD_CHARACTERS:
        raise fail(f"the {word} is shorter than {MIN_PASSWORD_CHARACTERS} characters; choose a longer one")
    return password


def read_secret(word: str) -> str:
    """As ``read_password``, for what clients must be able to send in a message."""
    secret = read_password(word)
    if len(secret) > MAX_SECRET_CHARACTERS or not secret.isprintable():
        raise fail(f"the {word} must be printable and at most {MAX_SECRET_CHARACTERS} characters long")
    return secret
