"""Download of an order's certificate (RFC 8555 section 7.4.2).

The chain that is given by default ends below the self-signed root, as RFC 8446 section 4.4.2 lets a TLS
server send it; alternate 1 holds the root too, the next ones end below other roots that have certified our
CA. Where there is nothing but the root above the certificate, the default has it, since clients of today
expect an issuer behind the leaf.
"""

from __future__ import annotations

import base64
from functools import lru_cache

from gateway.acme import order_state
from gateway.acme.errors import malformed, not_found
from gateway.acme.exchange import ACME, Signed
from gateway.acme.tables.orders import OrderRow
from gateway.http.message import HttpResponse
from gateway.model.outcome import Issued
from gateway.pki.certificate import parse_certificate

PEM_CHAIN = "application/pem-certificate-chain"
_PEM_LINE = 64  # RFC 7468 section 2


async def certificate(signed: Signed, order: OrderRow, alternate: int) -> HttpResponse:
    """The certificate and chain number ``alternate`` (0 is the default), with links to the other chains.

    However long ago the order expired. Raises AcmeError (malformed, or 404 where there is none),
    StoreUnavailable.
    """
    exchange = signed.exchange
    if signed.jws.payload != b"":
        raise malformed("a certificate is read by a POST with an empty payload (RFC 8555 section 6.3)")
    outcome = await exchange.services.enrolments.outcome_of(
        ACME, exchange.endpoint, order_state.order_parts(order.id)
    )
    if not isinstance(outcome, Issued):
        raise not_found("this order has no certificate (yet); read the order to see its status")
    others = exchange.services.ca_information.alternate_chains(outcome.chain_der)
    chains = issuer_chains(outcome.chain_der, others)
    if alternate >= len(chains):
        raise not_found("this certificate has no such chain")
    links = tuple(
        ("Link", f'<{exchange.links.certificate(order.id, number)}>;rel="alternate"')
        for number in range(len(chains))
        if number != alternate
    )
    body = _pem(outcome.certificate_der) + chains[alternate]
    return HttpResponse(200, body.encode("ascii"), PEM_CHAIN, links)


@lru_cache(maxsize=256)
def issuer_chains(
    chain_der: tuple[bytes, ...], others: tuple[tuple[bytes, ...], ...] = ()
) -> tuple[str, ...]:
    """What may follow a leaf, as PEM, the default first, ``others`` last; all are issuer first."""
    without_root = chain_der
    if chain_der and _is_self_issued(chain_der[-1]):
        without_root = chain_der[:-1]
    wanted = [without_root, chain_der, *others] if without_root else [chain_der, *others]
    return tuple("".join(map(_pem, chain)) for chain in dict.fromkeys(wanted))


def _is_self_issued(certificate_der: bytes) -> bool:
    parsed = parse_certificate(certificate_der)
    return parsed.subject_der == parsed.issuer_der


def _pem(certificate_der: bytes) -> str:
    text = base64.b64encode(certificate_der).decode("ascii")
    lines = [text[start : start + _PEM_LINE] for start in range(0, len(text), _PEM_LINE)]
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""))
