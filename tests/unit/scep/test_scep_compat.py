"""Habits of products: the documents in policies/compat.yaml, by the words that real clients send."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.frontend import Compatibility
from gateway.model.ids import ProtocolName
from gateway.pki.cms import read_certs_only
from gateway.plugins import load_plugins
from gateway.policy.load import load_bundle
from gateway.policy.sources import read_directory
from gateway.scep.compat import ScepCompat, options_for
from gateway.scep.options import ScepOptions
from tests.unit.scep.scep_house import Device, ScepHouse

MakeHouse = Callable[..., ScepHouse]
POLICIES = Path(__file__).parents[3] / "policies"
WINDOWS = "Mozilla/4.0 (compatible; Win32; NDES client 10.0.19041.1202/vb_release_svc_prod1)"
MDMCLIENT = "mdmclient/1.0 (Macintosh; Mac OS X 14.5) CFNetwork/1498.700.2 Darwin/23.5.0"
PROFILED = "profiled/1.0 CFNetwork/1568.100.1 Darwin/24.0.0"
CISCO = "Mozilla/4.0 (compatible; MSIE 5.0; Cisco PKI)"
# Keywords of RFC 8894 table 7
STANDARD = {
    "AES",
    "DES3",
    "GetNextCACert",
    "POSTPKIOperation",
    "Renewal",
    "SHA-1",
    "SHA-256",
    "SHA-512",
    "SCEPStandard",
}


def shipped() -> tuple[Compatibility, ...]:
    """The documents of the default bundle, as the gateway loads them."""
    bundle = load_bundle(read_directory(POLICIES), load_plugins().registry(lab=True))
    return tuple(Compatibility(one.name, one.settings) for one in bundle.compatibility[ProtocolName("scep")])


def options(agent: str | None, path: str = "/scep", **own: Any) -> tuple[ScepOptions, str]:
    return options_for(ScepOptions.model_validate(own), shipped(), agent, path)


def document(name: str = "x", **parts: Any) -> Compatibility:
    return Compatibility(name, ScepCompat.model_validate(parts))


async def keywords(house: ScepHouse, agent: str) -> set[str]:
    response = await house.http(query=b"operation=GetCACaps", headers={"user-agent": agent})
    return set(response.body.decode().split())


async def test_windows_finds_every_ca_whose_thumbprint_a_profile_may_name(scep: MakeHouse) -> None:
    """scep.md B9: also where the endpoint hands out less to others."""
    house = scep(ca_certificates="ra")
    house.compat = shipped()
    response = await house.http(
        path="/certsrv/mscep/mscep.dll/pkiclient.exe",
        query=b"operation=GetCACert&message=MyCA",
        headers={"user-agent": WINDOWS},
    )
    assert response.content_type == "application/x-x509-ca-ra-cert"
    chain = await house.backends.chain("embedded", None)
    assert read_certs_only(response.body) == (house.ra.certificate_der, *chain)
    assert house.log["compat"] == "windows"
    assert await keywords(house, WINDOWS) <= STANDARD


@pytest.mark.parametrize("agent", [MDMCLIENT, PROFILED], ids=["macos", "ios"])
async def test_apple_gets_an_ra_certificate_and_renewal_among_the_keywords(
    scep: MakeHouse, agent: str
) -> None:
    """scep.md B2, B3: x-x509-ca-ra-cert only with an RA certificate that has both key usages."""
    house = scep(hidden_capabilities=["Renewal"])
    house.compat = shipped()
    found = await keywords(house, agent)
    assert {"Renewal", "POSTPKIOperation", "AES", "SHA-256"} <= found <= STANDARD
    response = await house.http(query=b"operation=GetCACert", headers={"user-agent": agent})
    assert response.content_type == "application/x-x509-ca-ra-cert"
    assert read_certs_only(response.body)[0] == house.ra.certificate_der
    assert house.log["compat"] == "apple"


async def test_cisco_gets_the_issuer_with_its_certificate(scep: MakeHouse) -> None:
    """scep.md B7; everybody else gets the certificate alone."""
    house, device = scep(), Device()
    house.compat = shipped()
    await house.challenge()
    first = await house.send(device, headers={"user-agent": CISCO})
    assert len(first.reply.certificates_der) == 2
    assert house.log["compat"] == "cisco"
    again = await house.send(Device(), headers={"user-agent": "curl/7.88.1"})
    assert len(again.reply.certificates_der) == 1
    assert "compat" not in house.log


def test_endpoint_keeps_what_a_document_does_not_speak_of() -> None:
    found, name = options(CISCO, include_chain="chain", ca_certificates="ra", digests=["sha1"])
    assert name == "cisco"
    assert (found.include_chain, found.ca_certificates, found.digests) == ("issuer", "ra", ("sha1",))


@pytest.mark.parametrize("agent", [None, "", "curl/7.88.1", "Go-http-client/1.1"])
def test_unknown_client_gets_the_options_of_the_endpoint(agent: str | None) -> None:
    found, name = options(agent, include_chain="chain")
    assert (found, name) == (ScepOptions(include_chain="chain"), "")


@pytest.mark.parametrize(
    ("clients", "agent", "path", "fits"),
    [
        ({"user_agent": ["cisco"]}, "x CISCO y", "/scep", True),
        ({"user_agent": ["cisco"]}, None, "/scep", False),
        ({"path_suffix": ["/PKIclient.exe"]}, None, "/scep/pkiclient.EXE", True),
        ({"path_suffix": ["/pkiclient.exe"]}, None, "/scep", False),
        ({"user_agent": ["a"], "path_suffix": ["b"]}, "a", "/scep", False),
        ({"user_agent": ["a"], "path_suffix": ["b"]}, "a", "/scep/b", True),
        ({"without_user_agent": True}, None, "/scep", True),
        ({"without_user_agent": True}, "", "/scep", True),
        ({"without_user_agent": True}, "curl", "/scep", False),
    ],
)
def test_document_fits_by_everything_that_it_names(
    clients: dict[str, Any], agent: str | None, path: str, fits: bool
) -> None:
    one = document(clients=clients, settings={"include_chain": "chain"})
    assert (options_for(ScepOptions(), (one,), agent, path)[1] == "x") is fits


def test_first_of_several_documents_counts() -> None:
    clients = {"user_agent": ["Cisco"]}
    first = document("first", clients=clients, settings={"include_chain": "none"})
    second = document("second", clients=clients, settings={"include_chain": "chain"})
    found, name = options_for(ScepOptions(include_chain="issuer"), (first, second), CISCO, "/scep")
    assert (found.include_chain, name) == ("none", "first")


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"clients": {}, "settings": {}}, "say by what the clients are known"),
        ({"clients": {"user_agent": ["a"], "without_user_agent": True}, "settings": {}}, "keep one of them"),
        ({"clients": {"user_agent": ["a"]}, "settings": {"include_chain": "all"}}, "include_chain"),
        ({"clients": {"user_agent": ["a"]}, "settings": {"ciphers": ["des-cbc"]}}, "ciphers"),
        ({"clients": {"user_agent": ["a"]}}, "settings"),
    ],
)
def test_document_with_a_mistake_is_refused(parts: dict[str, Any], says: str) -> None:
    """What is secure is not a matter of a User-Agent: algorithms stay those of the endpoint."""
    with pytest.raises(ValidationError, match=says):
        ScepCompat.model_validate(parts)
