"""Linking identity and proof of possession (est.md C33, C34, C54; RFC 7030 section 3.5, RFC 9266)."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support import pki
from tests.support.answers import issued, refused
from tests.support.devices import device_name, enroll_device
from tests.support.est_client import LIBEST, PLAIN, Connection, EstClient
from tests.support.labelled import Labelled

TLS_12 = replace(PLAIN, tls="1.2")
TLS_13 = replace(PLAIN, tls="1.3")


def _host_csr(connection: Connection, binding: str = "tls-unique") -> bytes:
    host = device_name()
    return connection.linked_csr(pki.key(), binding, cn=host, sans=[host])


def test_csr_linked_by_tls_unique_enrols(client: EstClient) -> None:
    """est.md C33"""
    issued(client.having(style=TLS_12).simple_enroll(_host_csr))


def test_csr_linked_as_libest_does_enrols(client: EstClient) -> None:
    """est.md C33, 0.9: a new binding after the 401, since libest connects again."""
    issued(client.having(style=LIBEST).simple_enroll(_host_csr))


def test_csr_linked_to_another_session_is_refused(client: EstClient) -> None:
    """est.md C33: MUST verify if included."""
    old = client.having(style=TLS_12)
    with old.connection() as other:
        csr_der = _host_csr(other)
    refused(old.simple_enroll(csr_der), 400, "csr.linking")


@pytest.mark.parametrize("challenge", [b"", b"x", b"not base64 !", base64.b64encode(bytes(12))])
@pytest.mark.parametrize("style", [TLS_12, TLS_13], ids=["tls-1.2", "tls-1.3"])
def test_wrong_challenge_password_is_refused(client: EstClient, style: object, challenge: bytes) -> None:
    """est.md C33, C34"""
    host = device_name()
    csr_der = pki.csr(pki.key(), cn=host, sans=[host], challenge=challenge)
    refused(client.having(style=style).simple_enroll(csr_der), 400, "csr.linking")


def test_csr_linked_by_tls_exporter_enrols_on_tls_1_3(client: EstClient) -> None:
    """est.md C34"""
    modern = client.having(style=TLS_13, exporter=True)
    issued(modern.simple_enroll(lambda connection: _host_csr(connection, "tls-exporter")))


def test_tls_exporter_of_another_session_is_refused(client: EstClient) -> None:
    """est.md C34"""
    modern = client.having(style=TLS_13, exporter=True)
    with modern.connection() as other:
        csr_der = _host_csr(other, "tls-exporter")
    refused(modern.simple_enroll(csr_der), 400, "csr.linking")


def test_unlinked_csr_is_refused_where_linking_is_required(labelled: Labelled) -> None:
    """est.md C33: told so."""
    answer = labelled.client("linked").simple_enroll(pki.device_csr(pki.key(), device_name()))
    refused(answer, 400, "csr.linking")
    assert "challengePassword" in answer.text


def test_linked_csr_enrols_where_linking_is_required(labelled: Labelled) -> None:
    """est.md C33"""
    issued(labelled.client("linked", style=TLS_12).simple_enroll(_host_csr))


def test_repeat_with_a_wrong_binding_does_not_get_the_earlier_certificate(client: EstClient) -> None:
    """est.md C33, C38: the binding is judged in every message that carries one."""
    host, private_key = device_name(), pki.key()
    issued(client.simple_enroll(pki.device_csr(private_key, host)))
    wrong = pki.csr(private_key, cn=host, sans=[host], challenge=base64.b64encode(bytes(12)))
    refused(client.simple_enroll(wrong), 400, "csr.linking")
    issued(client.simple_enroll(pki.device_csr(private_key, host)))


RA_USAGES = [ExtendedKeyUsageOID.CLIENT_AUTH, x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")]


def _linked_elsewhere() -> bytes:
    host = device_name()
    return pki.csr(pki.key(), cn=host, sans=[host], challenge=base64.b64encode(bytes(12)))


def test_registration_authority_sends_on_csrs_linked_to_other_sessions(labelled: Labelled) -> None:
    """est.md C36"""
    authority = enroll_device(labelled.client("ra-maker"))
    issued(labelled.anonymous("ra", identity=authority).simple_enroll(_linked_elsewhere()))


def test_usage_of_a_registration_authority_from_another_ca_gives_no_right(labelled: Labelled) -> None:
    """est.md C36, C21: a foreign trust store gives no rights of an RA."""
    foreign = labelled.anonymous("ra", identity=labelled.factory.issue(extended_key_usage=RA_USAGES))
    issued(foreign.simple_enroll(pki.device_csr(pki.key(), device_name())))
    refused(foreign.simple_enroll(_linked_elsewhere()), 400, "csr.linking")


def test_ordinary_client_certificate_of_our_own_gives_no_right_of_a_registration_authority(
    labelled: Labelled,
) -> None:
    """est.md C36"""
    ordinary = labelled.anonymous("ra", identity=enroll_device(labelled.client("default")))
    refused(ordinary.simple_enroll(_linked_elsewhere()), 400, "csr.linking")
