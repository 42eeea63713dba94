"""External account bindings (RFC 8555 section 7.3.4): the owner of a MAC key means this account."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.acme import jwk, jws
from gateway.acme.errors import malformed
from gateway.acme.exchange import ACME, Signed
from gateway.acme.messages import read_object
from gateway.frontend import ExternalAccount

_KEPT = ("protected", "payload", "signature")


@dataclass(frozen=True, slots=True)
class Binding:
    """A verified binding. ``jws`` is its canonical JSON, as the account object shows it."""

    account: ExternalAccount
    jws: str

    @property
    def credential_id(self) -> str:
        return self.account.credential_id


def same_external_account(stored_jws: str, members: Mapping[str, object]) -> bool:
    """Whether two bindings name the same external account. Raises malformed for the one that is sent."""
    return jws.parse_mac_jws(read_object(stored_jws.encode())).kid == jws.parse_mac_jws(members).kid


async def verified_binding(signed: Signed, members: Mapping[str, object]) -> Binding:
    """Check that the MAC is right and is over the key that signs this very request.

    Raises malformed; GatewayError with auth.failed or auth.credential-scope, RetryLater with auth.throttled.
    """
    parsed = jws.parse_mac_jws(members)
    if parsed.url != signed.jws.url:
        # RFC 8555 7.3.4: MUST be set to the same value as the outer JWS
        raise malformed("the url of the external account binding is not the one of the request")
    bound = jwk.import_jwk(read_object(parsed.payload))
    if bound.thumbprint != signed.jws.key.thumbprint:
        raise malformed("the external account binding is for another account key than the one that signs")
    exchange = signed.exchange
    account = await exchange.services.external_accounts.verify(
        ACME,
        exchange.endpoint,
        parsed.kid,
        parsed.alg,
        parsed.signing_input,
        parsed.mac,
        exchange.remote,
    )
    return Binding(account, json.dumps({name: members[name] for name in _KEPT}, separators=(",", ":")))
