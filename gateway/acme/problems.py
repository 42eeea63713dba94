"""Problem documents as they go over the wire (RFC 8555 section 6.7, RFC 7807)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from gateway.acme.errors import URN, AcmeError
from gateway.http.message import HttpResponse
from gateway.model.ids import reason_id

PROBLEM = "application/problem+json"

# What no shell, terminal or log reader takes for anything but text: clients have put details into commands.
_PLAIN = re.compile(r"[A-Za-z0-9 .,:/_@+=*()\[\]%-]*").fullmatch
_LEFT_OUT = str.maketrans({"'": "", '"': "", "\n": " ", "\r": " ", ";": ",", "\u2019": ""})
_MAX_DETAIL_CHARACTERS = 1000


def plain(text: str) -> str:
    """The text in plain ASCII without shell metacharacters: quotes go, other characters are %-escaped."""
    text = text[:_MAX_DETAIL_CHARACTERS]
    if _PLAIN(text):
        return text
    return "".join(char if _PLAIN(char) else _escaped(char) for char in text.translate(_LEFT_OUT))


def problem(error: AcmeError) -> HttpResponse:
    """The answer to a request that cannot go on."""
    document = problem_document(error)
    headers = error.headers
    close = error.status in (408, 413)  # the rest of the body is not read
    return HttpResponse(error.status, json.dumps(document).encode(), PROBLEM, headers, close)


def problem_document(error: AcmeError) -> dict[str, object]:
    """The document alone, as it also stands in an invalid order or challenge."""
    detail = plain(str(error))
    if error.request_id is not None:
        detail = f"{detail} [{reason_id(error.request_id)}]"
    document: dict[str, object] = {"type": URN + error.type, "detail": detail, "status": error.status}
    if error.subproblems:
        document["subproblems"] = [
            {
                "type": URN + sub.type,
                "detail": plain(sub.detail),
                "identifier": {"type": sub.kind, "value": plain(sub.value)},
            }
            for sub in error.subproblems
        ]
    members: Mapping[str, object] = error.members
    document.update(members)
    return document


def _escaped(char: str) -> str:
    return "".join(f"%{octet:02X}" for octet in char.encode("utf-8", "replace"))
