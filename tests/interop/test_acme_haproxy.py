"""Two gateways on one PostgreSQL behind Debian's HAProxy, round robin, used by dehydrated (issue 3).

dehydrated gives up at the first badNonce: a nonce of one gateway that the other does not take ends the test.
"""

from __future__ import annotations

import collections
import json
import shutil
import ssl
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import acme_policies, database, haproxy, policies
from tests.support import dehydrated as dehydrateds
from tests.support import gateway as gateways
from tests.support.acme_programs import webroot
from tests.support.gateway import Gateway
from tests.support.haproxy import Balancer
from tests.support.openssl import Judge
from tests.support.ports import spare_port

pytestmark = pytest.mark.interop

# What one host keeps for itself, as in tests/protocol/est/test_shared.py.
_OWN = shutil.ignore_patterns("instance", "ports.json", "lock", "quickstart.json", "metrics", "tls")
RUNS = 100


@dataclass(frozen=True, slots=True)
class Site:
    """Both gateways and what stands before them."""

    balancer: Balancer
    gateways: tuple[Gateway, Gateway]
    http01_port: int

    @property
    def directory(self) -> str:
        return f"{self.balancer.public_urls[0]}/acme/directory"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, postgresql_server: Any) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    balancer = haproxy.balancer(directory / "haproxy")
    http01_port = spare_port()
    documents = (
        acme_policies.acme_endpoint("default"),
        acme_policies.acme_policy("servers"),
    )
    options = {
        "database_url": postgresql_server.new_database(),
        "workers": 2,
        "policies": policies.bundle(*documents),
        "config": {
            "public_urls": balancer.public_urls,
            "trusted_proxies": ["127.0.0.1/32"],
            "lab": {"enabled": True, "http01_port": http01_port},
        },
    }
    with gateways.running(directory / "first", **options) as first:
        shutil.copytree(first.data, directory / "second" / "data", ignore=_OWN)
        with gateways.running(directory / "second", **options) as second:
            ports = [json.loads((one.data / "ports.json").read_text())["ports"] for one in (first, second)]
            https, http = ([one[name] for one in ports] for name in ("https", "http"))
            with balancer.serving(https, http, first.root_pem):
                yield Site(balancer, (first, second), http01_port)


@pytest.mark.timeout(1800)  # each run: 1.6 s of CPU for dehydrated alone, and it sleeps for 1 s
def test_dehydrated_has_a_hundred_certificates_in_a_row(site: Site, tmp_path: Path) -> None:
    """acme.md C29, C98, E7: one client and account; the first run that fails ends it."""
    before = database.certificate_count(site.gateways[0].sql_url)
    with webroot(tmp_path, site.http01_port) as challenges:
        client = dehydrateds.configured(
            tmp_path / "client",
            site.directory,
            site.balancer.trust_pem,
            challenges=challenges,
            hook=Path("/bin/true"),
        )
        client("--register", "--accept-terms")
        paths = []
        for number in range(RUNS):
            host = f"row-{number}.test"
            client("-c", "-d", host)
            paths.append(client.certificate(host))
    assert len({path.read_bytes() for path in paths}) == RUNS
    assert database.certificate_count(site.gateways[0].sql_url) - before == RUNS
    judge = Judge(site.gateways[0], tmp_path)
    for path in paths:
        judge.assert_valid(path)
    shares = [_acme_statuses(gateway) for gateway in site.gateways]
    for statuses in shares:
        assert sum(statuses.values()) > RUNS, f"no round robin: {shares}"
        assert not [status for status in statuses if status >= 400], shares


def test_directory_behind_the_balancer_names_its_address(site: Site) -> None:
    """acme.md C1, C33"""
    trust = ssl.create_default_context(cafile=str(site.balancer.trust_pem))
    for _ in site.gateways:
        with urllib.request.urlopen(site.directory, context=trust, timeout=60) as answer:
            found = json.load(answer)
        assert found["newOrder"].startswith(site.balancer.public_urls[0])


def _acme_statuses(gateway: Gateway) -> collections.Counter[int]:
    done = (record for record in gateway.log_records if record.get("protocol") == "acme")
    return collections.Counter(int(record["status"]) for record in done if "status" in record)
