"""Gateways of the EST wire tests: the shipped policies (``gateway``) and one with a label per rule."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import gateway as gateways
from tests.support import pki, policies
from tests.support.devices import enroll_device
from tests.support.est_client import EstClient
from tests.support.labelled import Labelled


def _documents(factory: pki.Authority, line: pki.Authority) -> list[policies.Document]:
    factory_cert = {"mtls": {"trust": "factory"}}
    renewing_factory = {"renewal-cert": {"trust": "factory", "allow_expired": "30d"}}
    any_usage = {"mtls": {"trust": "factory", "extended_key_usage": ["anyExtendedKeyUsage"]}}
    slow = {"required": 1, "expires": "1h", "retry_after": "1s"}
    enroll, renew, endpoint = policies.enroll_policy, policies.renew_policy, policies.endpoint
    return [
        policies.own_certificates(),
        policies.trust_store("factory", factory.certificate_pem, line.certificate_pem),
        endpoint("default"),
        enroll("plain", "default", priority=10),
        renew("plain-again", "default", priority=11),
        endpoint("cert-only"),
        enroll("by-factory-cert", "cert-only", priority=20, authenticate=factory_cert),
        renew("cert-only-again", "cert-only", priority=21),
        endpoint("any-usage"),
        enroll("any-usage", "any-usage", priority=25, authenticate=any_usage),
        endpoint("both"),
        enroll("both", "both", priority=30, authenticate={"require": "all", "basic": {}, **factory_cert}),
        endpoint("linked"),
        enroll("linked", "linked", priority=40, authenticate={"basic": {}, "pop_linking": "required"}),
        endpoint("lenient", lenient_body=True),
        enroll("lenient", "lenient", priority=50),
        endpoint("chain", include_chain=True),
        enroll("chain", "chain", priority=60),
        endpoint("approval"),
        enroll("approval", "approval", priority=70, approval=slow),
        endpoint("copy-san"),
        enroll("copy-san", "copy-san", priority=80),
        renew("copy-san-again", "copy-san", priority=81, renewal={"missing_san": "copy"}),
        endpoint("new-key"),
        enroll("new-key", "new-key", priority=90),
        renew("new-key-again", "new-key", priority=91, renewal={"new_key": "required"}),
        endpoint("window"),
        enroll("window", "window", priority=100),
        renew("window-again", "window", priority=101, renewal={"window": "1d"}),
        endpoint("renames"),
        enroll("renames", "renames", priority=110),
        renew("renames-again", "renames", priority=111, renewal={"name_change": "allow"}),
        endpoint("late"),
        renew("late-again", "late", priority=120, authenticate=renewing_factory),
        endpoint("by-challenge", challenge_password="secret"),
        enroll("by-challenge", "by-challenge", priority=124),
        endpoint("ra-maker"),
        enroll(
            "ra-maker", "ra-maker", priority=125, extensions={"extended_key_usage": ["clientAuth", "cmcRA"]}
        ),
        policies.document(
            "TrustStore",
            "own-and-factory",
            backends=["embedded"],
            certificates=[factory.certificate_pem.decode()],
        ),
        endpoint("ra"),
        enroll("ra", "ra", priority=126, authenticate={"mtls": {"trust": "own-and-factory"}}),
        endpoint("small", max_body_bytes=2048),
        enroll("small", "small", priority=130),
    ]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labelled]:
    """One gateway for a module, with labels."""
    factory = pki.Authority("Factory Root")
    line = factory.sub("Factory Line 1")
    documents = _documents(factory, line)
    directory = tmp_path_factory.mktemp("labelled")
    with gateways.running(directory, policies=policies.bundle(*documents)) as gateway:
        yield Labelled(gateway, factory, line)


@pytest.fixture
def enrolled(client: EstClient) -> pki.Identity:
    """A device with a certificate of the shared gateway for a name of its own."""
    return enroll_device(client)
