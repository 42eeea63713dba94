"""Groups and labels of stored credentials, asked for by policies of each protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import cmp_bodies, pki, policies
from tests.support.acme_client import AcmeClient
from tests.support.acme_lab import new_name
from tests.support.acme_policies import acme_endpoint, acme_policy
from tests.support.answers import issued as est_issued
from tests.support.answers import refused as est_refused
from tests.support.cmp_client import CmpClient
from tests.support.cmp_lab import IMPLICIT, cmp_endpoint, enroll_policy
from tests.support.cmp_wire import Pbm
from tests.support.devices import device_name
from tests.support.scep_answer import BAD_REQUEST, issued, refused
from tests.support.scep_client import Device
from tests.support.scep_lab import ScepLab, endpoint, first, rsa_key, running_lab

CODE = "auth.requirement"
NETOPS = {"groups": ["netops"]}


def _documents() -> list[policies.Document]:
    bound = {"challenge": {"accept": ["dynamic"], "ttl": "1h", "bind": ["subject.CN"]}}
    accounts = {"acme-account": {"challenges": [], "groups": ["netops"]}}
    return [
        policies.endpoint("est"),
        policies.enroll_policy("est", "est", priority=10, authenticate={"basic": NETOPS}),
        endpoint("default"),
        first("scep", "default", 20, authenticate={"challenge": NETOPS}),
        endpoint("bound"),
        first("bound", "bound", 30, authenticate=bound),
        cmp_endpoint("cmp"),
        enroll_policy("cmp", "cmp", 40, {"mac": NETOPS}),
        acme_endpoint("acme"),
        acme_policy("acme", "acme", priority=50, authenticate=accounts),
    ]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScepLab]:
    with running_lab(tmp_path_factory.mktemp("groups"), *_documents()) as lab:
        yield lab


def _added(lab: ScepLab, *arguments: str) -> dict[str, Any]:
    made: dict[str, Any] = lab.gateway.cli_json("credential", "add", *arguments)
    return made


def _decision(lab: ScepLab, text: str) -> dict[str, Any]:
    return lab.row(text).decision


def test_est_user_of_another_group_is_refused(lab: ScepLab) -> None:
    for group, granted in (("netops", True), ("press", False)):
        secret = _added(lab, "est", "--user", f"of-{group}", "--group", group)["secret"]
        client = lab.gateway.est_client(endpoint="est", user=f"of-{group}", password=secret)
        answer = client.simple_enroll(pki.device_csr(pki.key(), device_name()))
        if granted:
            est_issued(answer)
        else:
            est_refused(answer, 403, CODE)
            assert "is in the groups press, and one of netops may ask here" in answer.text
            (reason,) = _decision(lab, answer.text)["reasons"]
            assert reason["rule"] == "est.authenticate.basic.groups"


def test_scep_challenge_of_another_group_is_refused_and_not_used_up(lab: ScepLab) -> None:
    good = lab.new_challenge("--group", "netops", "--group", "x", "--label", "site=brno")
    issued(lab.device(cn=device_name()).enrol(good))
    device = lab.device(cn=device_name())
    text = refused(device.enrol(lab.new_challenge("--group", "press")), BAD_REQUEST, CODE)
    (credential,) = _decision(lab, text)["credentials"]
    assert credential["groups"] == ["press"]
    assert lab.certificates(device) == 0


def test_scep_challenge_is_good_for_the_subject_that_it_was_made_for(lab: ScepLab) -> None:
    mine, other = device_name(), device_name()
    challenge = lab.new_challenge("--label", f"CN={mine}")
    stranger = Device(lab.server("bound"), rsa_key("device"), other)
    text = refused(stranger.enrol(challenge), BAD_REQUEST, CODE)
    assert f"bound to another CN than '{other}'" in text
    assert mine not in text
    unbound = refused(stranger.enrol(lab.new_challenge()), BAD_REQUEST, CODE)
    assert "is bound to no CN" in unbound
    # The refusals took nothing of it.
    issued(Device(lab.server("bound"), rsa_key("device"), mine).enrol(challenge))


def test_cmp_secret_of_another_group_is_not_authorized(lab: ScepLab) -> None:
    for group, outcome in (("netops", "accepted"), ("press", "notAuthorized")):
        made = _added(lab, "cmp-secret", "--ref", f"ref-{group}", "--group", group)
        protection = Pbm(f"ref-{group}", made["secret"].encode())
        client = CmpClient(lab.gateway.quickstart["http"], protection).having(path="/.well-known/cmp/p/cmp")
        body = cmp_bodies.requests(cmp_bodies.request(pki.key(), device_name("cmp")))
        reply = client.send("ir", body, generalInfo=IMPLICIT)
        assert reply.outcome == outcome, reply.statuses
        client.close()


def _account(lab: ScepLab, *groups: str, bound: bool = True) -> AcmeClient:
    url = f"{lab.gateway.quickstart['https']}/acme/acme/directory"
    client = AcmeClient(url, lab.gateway.root_pem)
    if not bound:
        return client.registered()
    given = [part for group in groups for part in ("--group", group)]
    made = _added(lab, "acme-eab", "--endpoint", "acme", *given)
    client.new_account(externalAccountBinding=client.binding(made["kid"], made["hmac_key"])).ok(201)
    return client


def test_acme_account_of_the_group_gets_its_certificate_without_a_challenge(lab: ScepLab) -> None:
    with _account(lab, "netops") as client:
        name = new_name()
        assert client.ordered([name]).certified().names == [name]


@pytest.mark.parametrize(
    ("groups", "bound", "words"),
    [
        (("press",), True, "is in the groups press, and one of netops may ask here"),
        ((), True, "is in the groups none"),
        ((), False, "is bound to no external account"),
    ],
)
def test_acme_account_of_no_such_group_is_refused_at_its_order(
    lab: ScepLab, groups: tuple[str, ...], bound: bool, words: str
) -> None:
    with _account(lab, *groups, bound=bound) as client:
        answer = client.new_order([new_name()])
        answer.refused(403, "unauthorized")
        assert words in answer.text
