"""Which addresses are written into certificates, and when the start is refused for want of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.composition.addresses import Addresses, listener_specs, service_url, settle_addresses
from gateway.config import Config, parse
from gateway.datadir import DataDirectory
from gateway.errors import ConfigurationError

HTTPS = "{name: https, address: ADDRESS, port: 8443, serves: [est]}"
HTTP = "{name: http, address: ADDRESS, port: 8080, tls: off, serves: [crl]}"


def _config(directory: Path, address: str, listeners: str, public_urls: str = "[]") -> Config:
    text = f"listeners: [{listeners.replace('ADDRESS', repr(address))}]\npublic_urls: {public_urls}\n"
    return parse("pkigate.yaml", text, base=directory)


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
@pytest.mark.parametrize(
    ("listeners", "public_urls", "told"),
    [
        (f"{HTTPS}, {HTTP}", "[]", "'http'"),
        (f"{HTTPS}, {HTTP}", "['https://pki.test']", "'http'"),
        (HTTPS, "[]", "'https'"),
    ],
)
def test_listener_on_every_address_without_public_url_is_refused(
    tmp_path: Path, address: str, listeners: str, public_urls: str, told: str
) -> None:
    config = _config(tmp_path, address, listeners, public_urls)
    with pytest.raises(ConfigurationError) as error:
        settle_addresses(config, DataDirectory(tmp_path))
    assert f"the listener {told} is bound to {address}" in str(error.value)
    assert "write for example public_urls: [http" in str(error.value)


@pytest.mark.parametrize(
    ("address", "listeners", "public_urls", "crl", "https"),
    [
        ("0.0.0.0", f"{HTTPS}, {HTTP}", "['http://pki.test']", "http://pki.test", "https://localhost:8443"),
        ("::", HTTPS, "['https://pki.test']", "https://pki.test", "https://pki.test"),
        ("0.0.0.0", HTTP, "['http://pki.test:8080']", "http://pki.test:8080", None),
        ("127.0.0.1", f"{HTTPS}, {HTTP}", "[]", "http://localhost:8080", "https://localhost:8443"),
        ("192.0.2.1", f"{HTTPS}, {HTTP}", "[]", "http://192.0.2.1:8080", "https://192.0.2.1:8443"),
        ("2001:db8::1", HTTPS, "[]", "https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
def test_certificates_name_the_public_url_or_the_listener(
    tmp_path: Path, address: str, listeners: str, public_urls: str, crl: str, https: str | None
) -> None:
    config = _config(tmp_path, address, listeners, public_urls).model_copy(
        update={"metrics": Config().metrics.model_copy(update={"enabled": False})}
    )
    addresses = settle_addresses(config, DataDirectory(tmp_path))
    assert addresses.urls("embedded-issuing").crl == f"{crl}/crl/embedded-issuing.crl"
    assert addresses.https == https


@pytest.mark.parametrize(
    ("plain", "over_tls", "url"),
    [
        ("scep, crl", "est", "http://localhost:8080"),
        ("scep", "scep", "http://localhost:8080"),
        ("crl", "scep, est", "https://localhost:8443"),
        ("crl", "est", None),
    ],
)
def test_service_is_told_by_the_listener_that_serves_it(
    tmp_path: Path, plain: str, over_tls: str, url: str | None
) -> None:
    """decisions: a key stands in quickstart.json only if what it names works"""
    listeners = f"{HTTPS.replace('est', over_tls)}, {HTTP.replace('crl', plain)}"
    config = _config(tmp_path, "127.0.0.1", listeners)
    addresses = Addresses({}, "https://localhost:8443", "http://localhost:8080")
    assert service_url(config, addresses, "scep") == url


@pytest.mark.parametrize(
    ("serves", "target_bytes", "head_bytes"), [("[scep, crl]", 32768, 65536), ("[crl]", 8192, 32768)]
)
def test_listener_that_serves_scep_takes_messages_in_urls(
    tmp_path: Path, serves: str, target_bytes: int, head_bytes: int
) -> None:
    """scep.md C13, RFC 8894 4.1: an RSA-4096 key with a chain, all of it percent-encoded."""
    listeners = f"{{name: http, address: ADDRESS, port: 0, tls: off, serves: {serves}}}"
    config = _config(tmp_path, "127.0.0.1", listeners)
    addresses = settle_addresses(config, DataDirectory(tmp_path))
    (spec, _metrics) = listener_specs(config, addresses, lambda listener: pytest.fail(listener.name))
    assert (spec.limits.target_bytes, spec.limits.head_bytes) == (target_bytes, head_bytes)
