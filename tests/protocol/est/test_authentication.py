"""Who may enrol (est.md C9 to C21; RFC 7030 sections 3.2.3, 3.3.2 and 3.7)."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support import pki
from tests.support.answers import common_name, issued, refused
from tests.support.devices import device_name, enroll_device
from tests.support.est_client import Answer, EstClient
from tests.support.gateway import Gateway
from tests.support.labelled import Labelled


def _try(client: EstClient, **more: object) -> Answer:
    return client.simple_enroll(pki.device_csr(pki.key(), device_name()), **more)


def test_enrolment_without_credentials_is_challenged(client: EstClient) -> None:
    """est.md C9"""
    answer = _try(client.having(user=None))
    refused(answer, 401, "auth.missing", recorded=False)
    challenges = [value for name, value in answer.headers if name.lower() == "www-authenticate"]
    assert challenges == ['Basic realm="est"']


def test_right_password_enrols(client: EstClient) -> None:
    """est.md C10"""
    issued(_try(client))


@pytest.mark.parametrize("password", ["", "wrong", "wrong:too", "päss", "x" * 5000])
def test_wrong_password_is_challenged_again(client: EstClient, password: str) -> None:
    """est.md C10"""
    answer = _try(client.having(password=password))
    refused(answer, 401, "auth.failed")
    assert answer.header("WWW-Authenticate") is not None


def test_unknown_user_gets_the_same_words_as_a_wrong_password(client: EstClient) -> None:
    """est.md C10: no oracle for user names."""
    wrong = _try(client.having(password="wrong")).text.partition("[")[0]
    unknown = _try(client.having(user="nobody", password="wrong")).text.partition("[")[0]
    assert unknown.replace("nobody", "?") == wrong.replace(client.user or "", "?")


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic " + base64.b64encode(b"no-colon").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
        "Basic " + base64.b64encode(b":").decode(),
        "Bearer abc",
        "Digest username=x",
        "Nonsense",
    ],
)
def test_malformed_credentials_are_challenged_and_no_fault(client: EstClient, authorization: str) -> None:
    """est.md C10: 401, never 500."""
    answer = _try(client.having(user=None), headers=[("Authorization", authorization)])
    assert answer.status == 401, answer.text
    assert answer.header("WWW-Authenticate") is not None


def test_password_with_colon_and_unicode_user_enrol(client: EstClient, gateway: Gateway) -> None:
    """est.md C10: made by the CLI, as an operator does it."""
    made = gateway.cli_json("credential", "add", "--user", "gerät-7")
    answer = _try(client.having(user="gerät-7", password=made["secret"]))
    issued(answer)


def test_revoked_credential_is_refused(client: EstClient, gateway: Gateway) -> None:
    """est.md C10: after ``pkigate credential revoke``."""
    made = gateway.cli_json("credential", "add", "--user", "leaver")
    leaver = client.having(user="leaver", password=made["secret"])
    issued(_try(leaver))
    gateway.cli("credential", "revoke", "leaver")
    refused(_try(leaver), 401, "auth.failed")


def test_label_without_basic_refuses_without_a_challenge(labelled: Labelled) -> None:
    """est.md C11: 403, not an endless loop of 401."""
    answer = _try(labelled.anonymous("cert-only"))
    refused(answer, 403, "auth.missing", recorded=False)
    assert answer.header("WWW-Authenticate") is None


def test_password_where_only_certificates_count_is_refused(labelled: Labelled) -> None:
    """est.md C11"""
    answer = _try(labelled.client("cert-only"))
    assert answer.status == 403
    assert answer.header("WWW-Authenticate") is None


@pytest.mark.parametrize("presented", ["neither", "password", "certificate", "both"])
def test_rule_of_both_credentials_takes_both_only(labelled: Labelled, presented: str) -> None:
    """est.md C13"""
    client = labelled.client("both") if presented in ("password", "both") else labelled.anonymous("both")
    if presented in ("certificate", "both"):
        client = client.having(identity=labelled.factory.issue())
    answer = _try(client)
    assert answer.status == 200 if presented == "both" else answer.status in (401, 403), answer.text


def test_rule_of_both_credentials_records_both(labelled: Labelled) -> None:
    """est.md C13"""
    client = labelled.client("both", identity=labelled.factory.issue(cn="machine-9"))
    issued(_try(client))
    newest = labelled.gateway.cli_json("request", "list", "--limit", "1")
    text = str(newest)
    assert "machine-9" in text
    assert str(client.user) in text


def test_wrong_password_beside_a_good_certificate_denies(labelled: Labelled) -> None:
    """est.md C13: a credential that fails never falls through."""
    client = labelled.client("both", identity=labelled.factory.issue(), password="wrong")
    assert _try(client).status in (401, 403)


def test_factory_certificate_enrols(labelled: Labelled) -> None:
    """est.md C20: a foreign (IDevID) CA counts for simpleenroll where policy says so."""
    issued(_try(labelled.anonymous("cert-only", identity=labelled.factory.issue())))


def test_factory_certificate_does_not_renew(labelled: Labelled) -> None:
    """est.md C20, C47"""
    identity = labelled.factory.issue(cn="idevid.test", sans=["idevid.test"])
    client = labelled.anonymous("cert-only", identity=identity)
    answer = client.simple_reenroll(pki.device_csr(identity.private_key, "idevid.test"))
    assert answer.status == 403, answer.text


def test_expired_certificate_is_refused_with_the_reason(labelled: Labelled) -> None:
    """est.md C14"""
    expired = labelled.factory.issue(starts=timedelta(days=-9), ends=timedelta(days=-1))
    refused(_try(labelled.anonymous("cert-only", identity=expired)), 403, "auth.certificate-expired")


def test_certificate_of_the_future_is_refused_with_the_reason(labelled: Labelled) -> None:
    """est.md C14"""
    future = labelled.factory.issue(starts=timedelta(days=1), ends=timedelta(days=9))
    refused(_try(labelled.anonymous("cert-only", identity=future)), 403, "auth.certificate-not-yet-valid")


def test_expired_certificate_within_the_grace_renews(labelled: Labelled) -> None:
    """est.md C14: only where the label allows it, and only at simplereenroll."""
    old = labelled.factory.issue(
        cn="late.test", sans=["late.test"], starts=timedelta(days=-9), ends=timedelta(days=-1)
    )
    client = labelled.anonymous("late", identity=old)
    issued(client.simple_reenroll(pki.device_csr(old.private_key, "late.test")))


def test_certificate_of_the_future_never_renews(labelled: Labelled) -> None:
    """est.md C14: the grace is for the end, not for the beginning."""
    early = labelled.factory.issue(
        cn="early.test", sans=["early.test"], starts=timedelta(days=1), ends=timedelta(days=9)
    )
    client = labelled.anonymous("late", identity=early)
    answer = client.simple_reenroll(pki.device_csr(early.private_key, "early.test"))
    refused(answer, 403, "auth.certificate-not-yet-valid")


@pytest.mark.parametrize("kind", ["foreign", "impostor", "self-signed"])
def test_certificate_of_an_untrusted_ca_is_refused(labelled: Labelled, kind: str) -> None:
    """est.md C15"""
    match kind:
        case "foreign":
            identity = pki.Authority("Somebody Else").issue()
        case "impostor":
            identity = pki.Authority(subject=labelled.factory.name).issue()
        case _:
            alone = pki.Authority("alone")
            identity = alone.issue(cn="alone", private_key=alone.private_key)
    answer = _try(labelled.anonymous("cert-only", identity=identity))
    refused(answer, 403, "auth.certificate-untrusted")


def test_revoked_certificate_is_refused(client: EstClient, gateway: Gateway) -> None:
    """est.md C16: by our own inventory, at once."""
    device = enroll_device(client, host := device_name())
    gateway.cli("cert", "revoke", f"{device.certificate.serial_number:x}", "--reason", "keyCompromise")
    again = client.having(user=None, identity=device)
    answer = again.simple_reenroll(pki.device_csr(pki.key(), host))
    refused(answer, 403, "auth.certificate-revoked")


def test_certificate_for_servers_only_is_refused(labelled: Labelled) -> None:
    """est.md C17"""
    identity = labelled.factory.issue(extended_key_usage=[ExtendedKeyUsageOID.SERVER_AUTH])
    refused(_try(labelled.anonymous("cert-only", identity=identity)), 403, "auth.certificate-usage")


@pytest.mark.parametrize(
    "usages",
    [None, [ExtendedKeyUsageOID.CLIENT_AUTH]],
    ids=["none", "client"],
)
def test_certificate_that_may_authenticate_is_taken(labelled: Labelled, usages: list[object] | None) -> None:
    """est.md C17"""
    identity = labelled.factory.issue(extended_key_usage=usages)  # type: ignore[arg-type]  # OIDs
    issued(_try(labelled.anonymous("cert-only", identity=identity)))


def test_certificate_for_any_usage_is_taken_only_where_policy_names_it(labelled: Labelled) -> None:
    """est.md C17: policy decides."""
    identity = labelled.factory.issue(extended_key_usage=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    refused(_try(labelled.anonymous("cert-only", identity=identity)), 403, "auth.certificate-usage")
    issued(_try(labelled.anonymous("any-usage", identity=identity)))


@pytest.mark.parametrize("send_chain", [True, False], ids=["with-intermediate", "without-intermediate"])
def test_certificate_of_an_intermediate_is_taken(labelled: Labelled, send_chain: bool) -> None:
    """est.md C18: the intermediate is in the trust store."""
    identity = labelled.factory_line.issue(send_chain=send_chain)
    issued(_try(labelled.anonymous("cert-only", identity=identity)))


def test_certificate_is_judged_on_each_connection_anew(labelled: Labelled) -> None:
    """est.md C19: good, bad and good again."""
    good, bad = labelled.factory.issue(), pki.Authority("Bad").issue()
    for identity, status in ((good, 200), (bad, 403), (good, 200)):
        assert _try(labelled.anonymous("cert-only", identity=identity)).status == status


def test_untrusted_certificate_does_no_harm_where_none_is_needed(client: EstClient) -> None:
    """est.md C3, C15: /cacerts is for everyone."""
    assert client.having(user=None, identity=pki.Authority("Bad").issue()).cacerts().status == 200


def test_ed25519_client_certificate_is_taken(labelled: Labelled) -> None:
    """est.md C15: path validation takes what devices have."""
    identity = labelled.factory.issue(private_key=pki.key("Ed25519"))
    issued(_try(labelled.anonymous("cert-only", identity=identity)))


def test_many_wrong_passwords_are_slowed_down_but_the_right_one_is_heard(start_gateway: object) -> None:
    """est.md C10: throttled; another client is not harmed."""
    gateway = start_gateway("throttle")  # type: ignore[operator]
    client = gateway.est_client()
    statuses = [_try(client.having(user="guesser", password=f"guess-{n}")).status for n in range(40)]
    assert set(statuses) <= {401, 429}
    assert 429 in statuses
    assert common_name(issued(_try(client)))


def test_key_revoked_as_compromised_is_never_certified_again(client: EstClient, gateway: Gateway) -> None:
    device = enroll_device(client, host := device_name())
    gateway.cli("cert", "revoke", f"{device.certificate.serial_number:x}", "--reason", "keyCompromise")
    other = gateway.cli_json("credential", "add", "--user", device_name("user"))
    for who in (client, client.having(user=other["user"], password=other["secret"])):
        for name in (host, device_name()):
            answer = who.simple_enroll(pki.device_csr(device.private_key, name))
            refused(answer, 400, "key.weak")
            assert "make a new one" in answer.text


def test_challenge_offers_basic_and_no_digest(client: EstClient) -> None:
    """est.md C12: Digest is not offered, and not taken."""
    bare = client.having(user=None, password=None)
    answer = bare.simple_enroll(pki.device_csr(pki.key(), device_name()))
    assert answer.status == 401
    offered = [value for name, value in answer.headers if name.lower() == "www-authenticate"]
    assert len(offered) == 1
    assert offered[0].startswith("Basic ")
    with bare.connection() as connection:
        csr_der = pki.device_csr(pki.key(), device_name())
        digest = connection.enroll("simpleenroll", csr_der, authorization='Digest username="demo", nonce="x"')
    refused(digest, 401, "auth.kind")
