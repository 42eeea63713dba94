"""Mutants that only a server with URLs, nonces and accounts can refuse (acme.md C12, C14, C23, C29-C36)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.support.acme_signing import b64u, from_b64u, request_body
from tests.support.jws_target import (
    BAD_NONCE,
    MALFORMED,
    NO_ACCOUNT,
    TOO_LARGE,
    UNAUTHORIZED,
    UNSUPPORTED_MEDIA,
    Body,
    Mutant,
    good,
    head_member,
)

_CONTENT_TYPES = (
    None,
    "",
    "application/json",
    "application/jose",
    "application/jwt",
    "text/plain",
    "application/jose+json; charset=utf-8",
    "application/jose+json, application/json",
    "application/x-www-form-urlencoded",
)


def on_the_wire() -> Iterator[Mutant]:
    """Content types, sizes, and keys where accounts are wanted and the reverse."""
    for content_type in _CONTENT_TYPES:
        yield Mutant(
            f"content-type-{content_type!r}", good, UNSUPPORTED_MEDIA, place="wire", content_type=content_type
        )
    yield Mutant("body-over-the-limit", lambda t, n: good(t, n) + b" " * 2_000_000, TOO_LARGE, place="wire")
    yield Mutant(
        "key-where-an-account-is-wanted",
        lambda t, n: request_body(t.key, t.payload, url=t.url, nonce=n),
        MALFORMED,
        place="wire",
    )
    yield Mutant(
        "account-where-a-key-is-wanted",
        lambda t, n: request_body(t.key, {}, url=t.new_account_url, nonce=n, kid=t.kid),
        MALFORMED,
        by_key=True,
        place="wire",
    )
    for name, payload in (("text", b"no json"), ("array", b"[]"), ("null", b"null"), ("number", b"7")):
        yield Mutant(
            f"signed-payload-{name}",
            _with_payload(payload),
            MALFORMED,
            place="wire",
        )


def nonces() -> Iterator[Mutant]:
    """Well-formed ones that this server never gave out."""
    changes: dict[str, Callable[[str], str]] = {
        "empty": lambda _: "",
        "invented": lambda nonce: b64u(b"x" * (len(nonce) * 3 // 4)),
        "short": lambda nonce: nonce[:8],
        "long": lambda nonce: b64u(from_b64u(nonce) + b"xyz"),
        "first-character": lambda nonce: ("B" if nonce[0] == "A" else "A") + nonce[1:],
        "middle-character": lambda nonce: nonce[:20] + ("B" if nonce[20] == "A" else "A") + nonce[21:],
    }
    for name, change in changes.items():
        yield Mutant(f"nonce-{name}", _with_nonce(change), BAD_NONCE, place="wire")


def urls() -> Iterator[Mutant]:
    """``url`` in the header that is not the URL of the request (RFC 8555 section 6.4)."""
    changes: dict[str, Callable[[str], str]] = {
        "empty": lambda _: "",
        "slash-behind": lambda url: url + "/",
        "question-mark": lambda url: url + "?",
        "query": lambda url: url + "?a=b",
        "fragment": lambda url: url + "#x",
        "space-behind": lambda url: url + " ",
        "plain-http": lambda url: url.replace("https:", "http:"),
        "capital-scheme": lambda url: url.replace("https:", "HTTPS:"),
        "capital-path": lambda url: url[:-1] + url[-1].upper(),
        "double-slash": lambda url: url.replace("/acme/", "//acme/"),
        "dot-segment": lambda url: url.replace("/acme/", "/acme/./"),
        "escaped": lambda url: url.replace("-", "%2D"),
        "user": lambda url: url.replace("://", "://a@"),
        "other-host": lambda url: "https://evil.test/" + url.split("/", 3)[3],
        "longer-host": lambda url: "/".join(
            (*url.split("/")[:2], url.split("/")[2] + ".evil.test", *url.split("/")[3:])
        ),
        "path-only": lambda url: "/" + url.split("/", 3)[3],
        "other-endpoint": lambda url: url.replace("/acme/", "/acme/other/"),
    }
    for name, change in changes.items():
        yield Mutant(f"url-{name}", _with_url(change), UNAUTHORIZED, place="wire")
    yield Mutant(
        "url-of-new-account",
        head_member("url", lambda target, _nonce: target.new_account_url),
        UNAUTHORIZED,
        place="wire",
    )


def kids() -> Iterator[Mutant]:
    """``kid`` that is no account's URL at this endpoint."""
    changes: dict[str, Callable[[str], str]] = {
        "empty": lambda _: "",
        "id-only": lambda kid: kid.rpartition("/")[2],
        "path-only": lambda kid: "/" + kid.split("/", 3)[3],
        "unknown": lambda kid: kid[:-4] + ("0000" if not kid.endswith("0000") else "1111"),
        "longer": lambda kid: kid + "0",
        "shorter": lambda kid: kid[:-1],
        "slash-behind": lambda kid: kid + "/",
        "query": lambda kid: kid + "?a=b",
        "fragment": lambda kid: kid + "#x",
        "other-host": lambda kid: "https://evil.test/" + kid.split("/", 3)[3],
        "plain-http": lambda kid: kid.replace("https:", "http:"),
        "orders-list": lambda kid: kid.replace("/account/", "/orders/"),
        "of-a-stranger": lambda kid: kid.replace("/acme/", "/acme/stranger/"),
        "climbing": lambda kid: kid.replace("/account/", "/account/../account/"),
        "double-slash": lambda kid: kid.replace("/account/", "/account//"),
        "null-byte": lambda kid: kid + "\x00",
        "quote": lambda kid: kid + "' OR '1'='1",
        "lone-percent": lambda kid: kid + "%",
    }
    for name, change in changes.items():
        yield Mutant(f"kid-{name}", _with_kid(change), NO_ACCOUNT | UNAUTHORIZED, place="wire")


def _with_url(change: Callable[[str], str]) -> Body:
    return head_member("url", lambda target, _nonce: change(target.url))


def _with_kid(change: Callable[[str], str]) -> Body:
    return head_member("kid", lambda target, _nonce: change(target.kid))


def _with_nonce(change: Callable[[str], str]) -> Body:
    return head_member("nonce", lambda _target, nonce: change(nonce))


def _with_payload(payload: bytes) -> Body:
    return lambda target, nonce: request_body(
        target.key, payload, url=target.url, nonce=nonce, kid=target.kid
    )
