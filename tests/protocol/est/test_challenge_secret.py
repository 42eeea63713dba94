"""challengePassword as an enrolment secret, where a label says so (est.md C35)."""

from __future__ import annotations

import pytest

from tests.support import pki
from tests.support.answers import issued, refused
from tests.support.devices import device_name
from tests.support.labelled import Labelled


def _csr(host: str, secret: str) -> bytes:
    return pki.csr(pki.key(), cn=host, sans=[host], challenge=secret.encode())


def _secret(labelled: Labelled, host: str, *more: str) -> str:
    made = labelled.gateway.cli_json("credential", "add", "--user", host, *more)
    return str(made["secret"])


def test_challenge_password_of_the_named_device_enrols_it(labelled: Labelled) -> None:
    """est.md C35"""
    host = device_name()
    secret = _secret(labelled, host)
    client = labelled.anonymous("by-challenge")
    issued(client.simple_enroll(_csr(host, secret)))
    for file in labelled.gateway.data.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file
    assert secret not in labelled.gateway.log


def test_one_time_secret_serves_one_certificate(labelled: Labelled) -> None:
    """est.md C35: one-time"""
    host = device_name()
    secret = _secret(labelled, host, "--uses", "1")
    client = labelled.anonymous("by-challenge")
    csr_der = _csr(host, secret)
    first = issued(client.simple_enroll(csr_der))
    assert issued(client.simple_enroll(csr_der)) == first, "a repeat is answered"
    refused(client.simple_enroll(_csr(host, secret)), 401, "auth.failed")


def test_wrong_or_missing_challenge_password_is_refused(labelled: Labelled) -> None:
    """est.md C35"""
    host = device_name()
    secret = _secret(labelled, host)
    client = labelled.anonymous("by-challenge")
    refused(client.simple_enroll(_csr(host, secret + "x")), 401, "auth.failed")
    refused(client.simple_enroll(_csr(device_name(), secret)), 401, "auth.failed")
    refused(client.simple_enroll(pki.device_csr(pki.key(), host)), 401, "auth.missing", recorded=False)


@pytest.mark.parametrize("label", ["default", "linked"])
def test_challenge_password_is_no_secret_at_other_labels(labelled: Labelled, label: str) -> None:
    """est.md C35: only if the label says so."""
    host = device_name()
    secret = _secret(labelled, host)
    answer = labelled.anonymous(label).simple_enroll(_csr(host, secret))
    refused(answer, 401, "auth.missing", recorded=False)
