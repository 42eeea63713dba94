"""A CA in another process that cannot be reached, and the embedded one that stands in for it."""

from __future__ import annotations

from typing import Any

from tests.protocol.plugins.conftest import StartRemote, issued_orders
from tests.support import pki
from tests.support.answers import issued
from tests.support.devices import device_name

FALLBACK: dict[str, Any] = {"issue": [{"backend": "remote", "fallback": ["embedded"]}]}


def test_embedded_ca_stands_in_while_the_remote_one_is_down(start_remote: StartRemote) -> None:
    gateway, ca = start_remote("neither", policy=FALLBACK)
    client = gateway.est_client(endpoint="remote")
    remote = issued(client.simple_enroll(pki.device_csr(pki.key(), device_name()))).issuer
    ca.stop()
    host = device_name()
    csr_der = pki.device_csr(pki.key(), host)
    instead = issued(client.simple_enroll(csr_der))
    assert instead.issuer != remote
    assert issued(client.simple_enroll(csr_der)) == instead
    (row,) = [one for one in gateway.cli_json("request", "list")["requests"] if host in one["subject"]]
    shown = gateway.cli("request", "show", row["id"]).stdout
    assert "backend embedded, since remote did not act (connect-error)" in shown
    ca.start()
    assert issued(client.simple_enroll(pki.device_csr(pki.key(), device_name()))).issuer == remote
    assert len(issued_orders(ca)) == 2


def test_answer_that_is_lost_after_the_ca_issued_is_waited_for(start_remote: StartRemote) -> None:
    gateway, ca = start_remote("idempotent", "--lose-after", "1", policy=FALLBACK)
    client = gateway.est_client(endpoint="remote")
    csr_der = pki.device_csr(pki.key(), device_name())
    assert client.simple_enroll(csr_der).status in (202, 503)
    assert len(issued_orders(ca)) == 1
    assert [one["backend"] for one in gateway.cli_json("request", "list")["requests"]] == ["remote"]
