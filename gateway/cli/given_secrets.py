"""Secrets that people choose, read from standard input."""

from __future__ import annotations

import sys

import typer

from gateway.cli.output import fail

MIN_PASSWORD_CHARACTERS = 12
MAX_SECRET_CHARACTERS = 255  # PKCS #9 bounds a challenge password so (RFC 2985 section 5.4.1)


def read_password(word: str = "password") -> str:
    """A secret that a person chose. ``word`` is what it is called."""
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
