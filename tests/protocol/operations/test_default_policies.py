"""The policies of a fresh gateway as a whole: what one endpoint issues is held against the others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import gateway as gateways
from tests.support import pki
from tests.support.acme_client import connected
from tests.support.acme_responders import http01_responder
from tests.support.cmp_client import CmpClient
from tests.support.cmp_lab import IMPLICIT, ir
from tests.support.cmp_wire import Pbm, Signed
from tests.support.devices import device_name
from tests.support.gateway import Gateway


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateways.running(tmp_path_factory.mktemp("defaults")) as gateway:
        yield gateway


def _by_acme(gateway: Gateway, host: str) -> pki.Identity:
    private_key, acme = pki.key(), gateway.quickstart["acme"]
    with (
        http01_responder(acme["http01_port"]) as responder,
        connected(acme["directory"], gateway.root_pem) as client,
    ):
        order = client.registered().ordered([host]).ready(responder)
        return pki.Identity(order.certified(private_key).leaf, private_key)


def _by_cmp(gateway: Gateway, host: str) -> pki.Identity:
    private_key, cmp = pki.key(), gateway.quickstart["cmp"]
    client = CmpClient(gateway.quickstart["http"], Pbm(cmp["ref"], cmp["secret"].encode()))
    reply = client.send("ir", ir(private_key, host), generalInfo=IMPLICIT)
    client.close()
    return pki.Identity(reply.certificate, private_key)


@pytest.mark.parametrize("body", ["kur", "cr"])
def test_name_that_was_proven_once_is_not_certified_again_without_proof(started: Gateway, body: str) -> None:
    """RFC 8555 section 7.1.4: a proof has an end; a certificate of ACME is no way around it."""
    for issue, expected in ((_by_acme, "signerNotTrusted"), (_by_cmp, "accepted")):
        host = device_name("once")
        client = CmpClient(started.quickstart["http"], Signed(issue(started, host)))
        reply = client.send(body, ir(pki.key(), host), generalInfo=IMPLICIT)
        client.close()
        assert reply.outcome == expected, reply.statuses
