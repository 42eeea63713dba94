"""Contact URLs of accounts (RFC 8555 section 7.3): ``mailto:`` with exactly one address (RFC 6068)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.acme.errors import AcmeError
from gateway.model.reasons import ReasonCode

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
# A dot-atom of RFC 5322 without "%", which would escape a second address or a header field, "?" and "&".
_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$'*+/=^_`{|}~-]+(?:\.[A-Za-z0-9!#$'*+/=^_`{|}~-]+)*"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_MAX_ADDRESS_CHARACTERS = 254


def checked_contacts(urls: Sequence[str], max_count: int) -> tuple[str, ...]:
    """The contacts as they are stored, without repeats. Raises unsupportedContact and invalidContact."""
    found = tuple(dict.fromkeys(_checked(url) for url in urls))
    if len(found) > max_count:
        raise _invalid(f"an account here has at most {max_count} contacts, and these are {len(found)}")
    return found


def _checked(url: str) -> str:
    scheme = _SCHEME.match(url)
    if scheme is None:
        raise _invalid("a contact is no URL; write mailto: and an address")
    if scheme[1].lower() != "mailto":
        raise AcmeError(
            "unsupportedContact",
            "contacts are taken with the scheme mailto only",
            code=ReasonCode.MESSAGE_UNSUPPORTED,
        )
    address = url[scheme.end() :]
    if "?" in address or "," in address:
        # RFC 8555 7.3: MUST NOT contain hfields or more than one addr-spec
        raise _invalid("a contact must be one address without header fields")
    if len(address) > _MAX_ADDRESS_CHARACTERS or not _ADDRESS.fullmatch(address):
        raise _invalid("a contact is no mail address that is taken here")
    return f"mailto:{address}"


def _invalid(detail: str) -> AcmeError:
    return AcmeError("invalidContact", detail, code=ReasonCode.MESSAGE_JSON)
