"""One embedded backend with two issuing CAs, chosen by the policy's profile."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509

from tests.support import gateway as gateways
from tests.support import pki, policies
from tests.support.answers import issued
from tests.support.devices import device_name, enroll_device
from tests.support.gateway import Gateway


def _documents() -> dict[str, str]:
    issuing = [{"name": "one"}, {"name": "two"}]
    by_two: dict[str, Any] = {"issue": [{"backend": "embedded", "profile": "two"}]}
    documents = [
        policies.document(
            "Backend", "embedded", type="embedded", options={"root_key": "ec-p256", "issuing": issuing}
        ),
        policies.own_certificates(),
        policies.endpoint("default"),
        policies.enroll_policy("by-one", "default", priority=10),
        policies.renew_policy("one-again", "default", priority=11),
        policies.endpoint("second", ca="two"),
        policies.enroll_policy("by-two", "second", priority=20, **by_two),
        policies.renew_policy("two-again", "second", priority=21, **by_two),
    ]
    return {"bundle.yaml": "".join(f"---\n{json.dumps(one)}\n" for one in documents)}


@pytest.fixture(scope="module")
def two_issuing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateways.running(tmp_path_factory.mktemp("two"), policies=_documents()) as gateway:
        yield gateway


def test_each_endpoint_hands_out_its_own_ca_before_and_after_the_other_has_signed(
    two_issuing: Gateway,
) -> None:
    """RFC 7030 4.1.3: /cacerts holds what path building needs, for the CA that `ca` of the endpoint names."""
    clients = two_issuing.est_client(), two_issuing.est_client(endpoint="second")
    before = [client.cacerts().der for client in clients]
    issuers = [enroll_device(client).certificate.issuer.public_bytes() for client in clients]
    assert issuers[0] != issuers[1]
    assert [client.cacerts().der for client in clients] == before
    assert [[issuer in handed_out for issuer in issuers] for handed_out in before] == [
        [True, False],
        [False, True],
    ]


@pytest.mark.parametrize("endpoint", [None, "second"])
def test_certificates_of_either_ca_renew_after_the_other_has_signed(
    two_issuing: Gateway, endpoint: str | None
) -> None:
    more = {} if endpoint is None else {"endpoint": endpoint}
    other = two_issuing.est_client(endpoint="second") if endpoint is None else two_issuing.est_client()
    client, host = two_issuing.est_client(**more), device_name()
    device = enroll_device(client, host)
    enroll_device(other)
    again = client.having(user=None, password=None, identity=device)
    renewed = issued(again.simple_reenroll(pki.device_csr(pki.key(), host)))
    assert renewed.issuer == device.certificate.issuer


def test_revoked_certificate_stands_on_the_crl_of_the_ca_that_signed_it(two_issuing: Gateway) -> None:
    device = enroll_device(two_issuing.est_client(endpoint="second"))
    enroll_device(two_issuing.est_client())
    serial = device.certificate.serial_number
    two_issuing.cli("cert", "revoke", f"{serial:x}", "--reason", "superseded")
    points = device.certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    names = next(iter(points)).full_name or []
    with urllib.request.urlopen(names[0].value, timeout=60) as answer:
        crl = x509.load_der_x509_crl(answer.read())
    assert crl.issuer == device.certificate.issuer
    assert crl.get_revoked_certificate_by_serial_number(serial) is not None
