"""A good signed ACME request, and what a mutant of it is (see ``jws_mutants``)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.acme_signing import protected_header, signed
from tests.support.keys import PrivateKey

Answer = tuple[int, str]  # HTTP status, problem type without its URN
MALFORMED = frozenset({(400, "malformed")})
BAD_ALGORITHM = frozenset({(400, "badSignatureAlgorithm")})
BAD_NONCE = frozenset({(400, "badNonce")})
UNAUTHORIZED = frozenset({(403, "unauthorized")})
NO_ACCOUNT = frozenset({(400, "malformed"), (400, "accountDoesNotExist")})
UNSUPPORTED_MEDIA = frozenset({(415, "malformed")})
TOO_LARGE = frozenset({(413, "malformed")})


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: ``key`` (P-256) signs for the account ``kid`` at ``url``, which wants a ``kid``;
    requests with a ``jwk`` go to ``new_account_url``. ``payload`` is a good one for ``url``."""

    key: PrivateKey
    kid: str
    url: str
    new_account_url: str
    payload: bytes = b'{"identifiers":[{"type":"dns","value":"a.test"}]}'

    def header(self, nonce: str, /, **changes: object) -> dict[str, object]:
        """The good protected header; a change to None takes a member away."""
        return protected_header(self.key, self.url, nonce, self.kid, changes)

    def key_header(self, nonce: str, /, **changes: object) -> dict[str, object]:
        """The good protected header of a newAccount request."""
        return protected_header(self.key, self.new_account_url, nonce, None, changes)

    def flattened(self, nonce: str, /, **changes: object) -> dict[str, str]:
        """The good message, but for changes of its protected header, which are signed."""
        return signed(self.key, self.header(nonce, **changes), self.payload)


Body = Callable[[Target, str], bytes]


@dataclass(frozen=True, slots=True)
class Mutant:
    """``body(target, nonce)`` makes it; ``by_key`` says that it goes to ``new_account_url``."""

    name: str
    body: Body
    answers: frozenset[Answer]
    by_key: bool = False
    place: str = "codec"
    content_type: str | None = "application/jose+json"

    def url(self, target: Target) -> str:
        return target.new_account_url if self.by_key else target.url


def good(target: Target, nonce: str) -> bytes:
    """What every mutant is made from."""
    return json.dumps(target.flattened(nonce)).encode()


def message(change: Callable[[dict[str, Any]], Any]) -> Body:
    """A change of the three members of the good message."""
    return lambda target, nonce: json.dumps(change(dict(target.flattened(nonce)))).encode()


def body(change: Callable[[bytes], bytes]) -> Body:
    """A change of the good message's bytes."""
    return lambda target, nonce: change(good(target, nonce))


def replaced(name: str, value: object) -> Body:
    """The good message with a member that is new or another one."""
    return message(lambda members: members | {name: value})


def spoiled(name: str, change: Callable[[str], str]) -> Body:
    """The good message with a member's text changed."""
    return message(lambda members: members | {name: change(members[name])})


def head_member(name: str, change: Callable[[Target, str], object]) -> Body:
    """The good message with another value of the protected header, made of target and nonce."""
    return lambda target, nonce: with_header(**{name: change(target, nonce)})(target, nonce)


def head(change: Callable[[bytes], bytes]) -> Body:
    """A change of the protected header's bytes, which are signed afterwards."""
    return lambda target, nonce: json.dumps(
        signed(target.key, change(json.dumps(target.header(nonce)).encode()), target.payload, "ES256")
    ).encode()


def with_header(**changes: object) -> Body:
    """Changes of the protected header, signed with ES256 whatever it says then."""
    return lambda target, nonce: json.dumps(
        signed(target.key, target.header(nonce, **changes), target.payload, "ES256")
    ).encode()
