"""dehydrated 0.7, Debian's package, unmodified (acme.md part D)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import dehydrated as dehydrateds
from tests.support.acme_programs import AcmeLab, ExternalKey
from tests.support.dehydrated import Dehydrated
from tests.support.openssl import Judge

pytestmark = pytest.mark.interop


@pytest.fixture
def dehydrated(acme_lab: AcmeLab, tmp_path: Path) -> Iterator[Dehydrated]:
    with acme_lab.webroot(tmp_path) as challenges:
        hook = acme_lab.hook(tmp_path)
        yield dehydrateds.configured(
            tmp_path / "d", acme_lab.directory(), acme_lab.root_pem, challenges=challenges, hook=hook
        )


def test_dehydrated_renews_and_revokes_what_it_proved_by_http(
    dehydrated: Dehydrated, acme_judge: Judge
) -> None:
    host = "dehydrated.test"
    dehydrated("--register", "--accept-terms")
    dehydrated("-c", "-d", host, "-d", f"www.{host}")
    first = dehydrated.certificate(host)
    acme_judge.assert_valid(first)
    dehydrated("-c", "-x", "-d", host, "-d", f"www.{host}")
    second = dehydrated.certificate(host)
    assert first.read_bytes() != second.read_bytes()
    acme_judge.assert_valid(second)
    dehydrated("-r", second)
    acme_judge.assert_revoked(second.with_name(f"{second.name}-revoked"))


def test_dehydrated_proves_a_wildcard_by_dns(dehydrated: Dehydrated, acme_judge: Judge) -> None:
    dehydrated("--register", "--accept-terms")
    dehydrated("-c", "-d", "*.dehydrated-dns.test", "--alias", "wild", "-t", "dns-01")
    acme_judge.assert_valid(dehydrated.certificate("wild"))


def test_dehydrated_updates_and_gives_up_its_account(dehydrated: Dehydrated) -> None:
    """acme.md C49, C50"""
    dehydrated("--register", "--accept-terms")
    dehydrated("--account")
    dehydrated("--deactivate")


def test_dehydrated_binds_an_external_account(
    acme_lab: AcmeLab, acme_judge: Judge, tmp_path: Path, external_key: ExternalKey
) -> None:
    """acme.md C54"""
    with acme_lab.webroot(tmp_path) as challenges:
        bound = dehydrateds.configured(
            tmp_path / "d",
            acme_lab.directory("eab"),
            acme_lab.root_pem,
            challenges=challenges,
            hook=acme_lab.hook(tmp_path),
            external_key=external_key,
        )
        bound("--register", "--accept-terms")
        bound("-c", "-d", "dehydrated-bound.test")
    acme_judge.assert_valid(bound.certificate("dehydrated-bound.test"))
