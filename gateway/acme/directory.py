"""The directory and new nonces (RFC 8555 sections 7.1.1 and 7.2). Only what works is listed."""

from __future__ import annotations

import json
import secrets

from gateway.acme.errors import malformed
from gateway.acme.exchange import ACME, Exchange, Signed
from gateway.acme.options import EabRule
from gateway.http.message import HttpResponse

_JSON = "application/json"
_CACHED = (("Cache-Control", "public, max-age=60"),)
# A member that no client knows, in each answer another one: clients must pass over what they do not know.
_UNKNOWN_MEMBER_VALUE = "https://www.rfc-editor.org/rfc/rfc8555#section-7.1.1"


def directory(exchange: Exchange) -> HttpResponse:
    """What this endpoint offers, and where."""
    return HttpResponse(200, json.dumps(directory_object(exchange)).encode(), _JSON, _CACHED)


def directory_read(signed: Signed) -> HttpResponse:
    """The directory by POST-as-GET (RFC 8555 section 6.3)."""
    _check_reads(signed)
    return HttpResponse(200, json.dumps(directory_object(signed.exchange)).encode(), _JSON)


def new_nonce(exchange: Exchange) -> HttpResponse:
    """RFC 8555 section 7.2: 200 to HEAD, 204 to GET; ``routes`` adds the nonce."""
    return HttpResponse(200 if exchange.request.method == "HEAD" else 204)


def new_nonce_read(signed: Signed) -> HttpResponse:
    """A nonce by POST-as-GET (RFC 8555 section 6.3)."""
    _check_reads(signed)
    return HttpResponse(204)


def directory_object(exchange: Exchange) -> dict[str, object]:
    """The directory's members (RFC 8555 section 7.1.1, RFC 9773 section 3)."""
    links, options = exchange.links, exchange.options
    found: dict[str, object] = {
        "newNonce": links.new_nonce(),
        "newAccount": links.new_account(),
        "newOrder": links.new_order(),
        "revokeCert": links.revoke_cert(),
        "keyChange": links.key_change(),
    }
    if options.renewal_info:
        found["renewalInfo"] = links.renewal_info()
    meta: dict[str, object] = {}
    if options.terms_of_service is not None:
        meta["termsOfService"] = options.terms_of_service
    if options.website is not None:
        meta["website"] = options.website
    if options.caa_identities:
        meta["caaIdentities"] = list(options.caa_identities)
    if options.eab is not EabRule.NONE:
        meta["externalAccountRequired"] = True
    profiles = exchange.services.enrolments.profiles(ACME, exchange.endpoint)
    if profiles:
        meta["profiles"] = dict(profiles)
    if meta:
        found["meta"] = meta
    found[secrets.token_urlsafe(9)] = _UNKNOWN_MEMBER_VALUE
    return found


def _check_reads(signed: Signed) -> None:
    if signed.jws.payload:
        # RFC 8555 6.3: POST-as-GET has a zero-length payload
        raise malformed("this resource is only read: the payload must be the empty string")
