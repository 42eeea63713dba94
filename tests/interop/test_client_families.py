"""The wire behaviour of libest (much Cisco gear) and of Go, over a device's whole life (est.md E3, E4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import pki
from tests.support.answers import issued, write_pem
from tests.support.devices import device_name
from tests.support.est_client import GO, LIBEST, STRONGSWAN, Style
from tests.support.gateway import Gateway
from tests.support.openssl import Judge

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("style", [LIBEST, GO, STRONGSWAN], ids=lambda style: style.name)
def test_family_enrols_renews_and_is_revoked(
    gateway: Gateway, judge: Judge, tmp_path: Path, style: Style
) -> None:
    client = gateway.est_client(style=style)
    assert client.cacerts().status == 200
    assert client.csrattrs().status in (200, 204)
    host, private_key = device_name(style.name), pki.key()
    first = issued(client.simple_enroll(pki.device_csr(private_key, host)))
    judge.assert_valid(write_pem(tmp_path / "first.pem", first))
    device = pki.Identity(first, private_key)
    new_key = pki.key()
    # libest and Go send the credentials beside the certificate where they have both.
    second = issued(client.having(identity=device).simple_reenroll(pki.device_csr(new_key, host)))
    path = write_pem(tmp_path / "second.pem", second)
    judge.assert_valid(path)
    gateway.cli("cert", "revoke", f"{second.serial_number:x}", "--reason", "keyCompromise")
    judge.assert_revoked(path)


def test_libest_links_its_csr_to_the_session(gateway: Gateway, judge: Judge, tmp_path: Path) -> None:
    host, private_key = device_name("libest-linked"), pki.key()
    client = gateway.est_client(style=LIBEST)
    answer = client.simple_enroll(lambda c: c.linked_csr(private_key, cn=host, sans=[host]))
    judge.assert_valid(write_pem(tmp_path / "linked.pem", issued(answer)))
