"""One HTTP request to an ACME endpoint, as every operation sees it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.acme.jws import VerifiedJws
from gateway.acme.options import AcmeOptions
from gateway.acme.paths import Links
from gateway.acme.tables.accounts import AccountRow
from gateway.frontend import Services
from gateway.http.message import HttpRequest
from gateway.model.evidence import RemoteInfo
from gateway.model.ids import EndpointName, ProtocolName

ACME = ProtocolName("acme")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request below the prefix. ``resource`` is the word of its path: ``new-order``.

    Where nothing has the path, ``options`` are the defaults and ``links`` those of the default endpoint.
    """

    services: Services
    request: HttpRequest
    endpoint: EndpointName
    options: AcmeOptions
    links: Links
    resource: str

    @property
    def remote(self) -> RemoteInfo:
        """Where the request came from, for policy and for the record."""
        return self.request.remote(self.resource)


@dataclass(frozen=True, slots=True)
class Signed:
    """A POST whose JWS was verified (RFC 8555 section 6.2).

    ``account`` is valid; terms and binding were checked where the resource asks for that
    (``resources.Resource.in_standing``). None where the message brought its own key.
    """

    exchange: Exchange
    jws: VerifiedJws
    account: AccountRow | None

    @property
    def known_account(self) -> AccountRow:
        """The account of a message that had to be signed by one."""
        assert self.account is not None
        return self.account
