"""Every message type with every challenge and every signer: exactly the declared ones issue (scep.md C25, C37
to C39, C43, C44)."""

from __future__ import annotations

import itertools
import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support import database, scep_wire
from tests.support.raw_csr import oid
from tests.support.scep_answer import BAD_CERT_ID, BAD_REQUEST, BAD_TIME, FAILURE, SUCCESS, issued
from tests.support.scep_client import PKI_MESSAGE, Device
from tests.support.scep_lab import ScepLab, rsa_key
from tests.support.scep_wire import PkiMessage

CHALLENGES = ("no", "wrong", "elsewhere", "used", "right")
SIGNERS = ("self-signed", "own", "foreign", "revoked", "expired")
_RENEWALS, _ENROLMENT, _OTHERS = (17,), 19, (20, 21, 22)
_NAMES = {3: "CertRep", 17: "RenewalReq", 18: "UpdateReq", 19: "PKCSReq", 20: "CertPoll", 21: "GetCert"}
_NAMES[22] = "GetCRL"
_FAIL_INFO = {
    "auth.certificate-expired": BAD_TIME,
    "transaction.unknown": BAD_CERT_ID,
    "certificate.unknown": BAD_CERT_ID,
}
_IN_FULL = {0, 1, 3, 17, 18, 19, 20, 21, 22, 128, 255}
_OID_OF_FAIL_INFO, _OID_OF_STATUS = oid(scep_wire.FAIL_INFO), oid(scep_wire.PKI_STATUS)


@dataclass(frozen=True, slots=True)
class Case:
    """One class of requests: what its message holds, and who signs it from which address."""

    challenge: str
    signer: str
    device: Device
    content: bytes


def _declared(case: Case, message_type: int) -> str:
    """The reason code that the standard and the policies ask for; "" for a certificate."""
    by_certificate = {
        "own": "",
        "revoked": "auth.certificate-revoked",
        "expired": "auth.certificate-expired",
    }
    if message_type in _OTHERS:
        return _declared_otherwise(case, message_type)
    if message_type not in (*_RENEWALS, _ENROLMENT):
        return "message.unsupported"
    if case.signer in by_certificate:
        # A PKCSReq that such a certificate signs is a renewal too; a challenge beside it changes nothing.
        return by_certificate[case.signer]
    if message_type in _RENEWALS:
        return "auth.certificate-untrusted"
    return {"right": "", "elsewhere": "auth.credential-scope"}.get(case.challenge, "auth.failed")


def _declared_otherwise(case: Case, message_type: int) -> str:
    """Polls and retrievals: their payload is a CSR, and so nothing that could be asked for."""
    if message_type == 20:
        return "transaction.unknown"
    codes = {
        "own": "certificate.unknown",
        "revoked": "auth.certificate-revoked",
        "expired": "auth.certificate-expired",
    }
    return codes.get(case.signer, "auth.certificate-untrusted")


def _found(octets: bytes, attribute_oid: bytes) -> int:
    """The decimal number in an attribute of a CertRep; -1 without it."""
    at = octets.find(attribute_oid)
    return -1 if at < 0 else int(octets[at + len(attribute_oid) + 4 : at + len(attribute_oid) + 5])


def _devices(lab: ScepLab) -> dict[str, Device]:
    """A device of each sort; all have the same key, as it is the CSR's too."""
    found = {
        "self-signed": lab.device(),
        "own": lab.device().enrolled(lab.challenge),
        "revoked": lab.device().enrolled(lab.challenge),
        "expired": lab.device("minute").enrolled(lab.challenge),
    }
    lab.revoke(found["revoked"])
    foreign = lab.device()
    vendor = lab.vendor.issue(cn=foreign.cn, sans=[foreign.cn], private_key=rsa_key("device"))
    found["foreign"] = foreign.signing_with(vendor)
    return found


def _cases(lab: ScepLab) -> Iterator[Case]:
    used = lab.new_challenge()
    issued(lab.device().enrol(used))
    secrets_of = {
        "no": None,
        "wrong": secrets.token_urlsafe(18),
        "elsewhere": lab.new_challenge("--static", "--endpoint", "other"),
        "used": used,
        "right": lab.challenge,
    }
    devices = _devices(lab)
    for number, (signer, challenge) in enumerate(itertools.product(SIGNERS, CHALLENGES)):
        device = devices[signer].signing_with(devices[signer].signer)
        device.cn = devices[signer].cn
        device.server = lab.new_server(source=f"127.0.3.{number + 1}")
        content = scep_wire.envelope(device.csr(secrets_of[challenge]), [device.server.ra])
        yield Case(challenge, signer, device, content)


def _wait_for_the_end(device: Device) -> None:
    end = device.signer.certificate.not_valid_after_utc.timestamp()
    while time.time() <= end + 1:
        time.sleep(0.2)


def _check(case: Case, message_type: int) -> None:
    """Send it once; status and failInfo are those of the declared verdict."""
    device, code = case.device, _declared(case, message_type)
    transaction_id = f"{message_type}-{case.challenge}-{case.signer}"
    message = PkiMessage(device.signer, case.content, str(message_type), transaction_id)
    answer = device.server.post(message.build())
    what = (transaction_id, code, answer.status)
    assert (answer.status, answer.content_type) == (200, PKI_MESSAGE), (what, answer.text)
    wanted = _FAIL_INFO.get(code, BAD_REQUEST)
    status = FAILURE if code else SUCCESS
    found = (_found(answer.body, _OID_OF_STATUS), _found(answer.body, _OID_OF_FAIL_INFO))
    assert found == (status, wanted if code else -1), what
    if message_type in _IN_FULL:
        reply = device.server.reply(answer, device.signer)
        assert (reply.status, reply.transaction_id) == (status, transaction_id.encode()), what
        assert reply.recipient_nonce == message.sender_nonce
        assert code in reply.fail_info_text


@pytest.mark.timeout(1500)
def test_exactly_the_declared_combinations_issue_and_all_are_recorded(lab: ScepLab) -> None:
    """scep.md C25, C37, C38, C39, C43, C44, C51: 256 types x 5 challenges x 5 signers = 6,400 messages."""
    cases = list(_cases(lab))
    before, first_pk = _issued_count(lab), _last_pk(lab)
    expected: Counter[tuple[str, str]] = Counter()
    for case in cases:
        if case.signer == "expired":  # the last one: the minute has passed meanwhile
            _wait_for_the_end(case.device)
        for message_type in range(256):
            _check(case, message_type)
            name = _NAMES.get(message_type, f"messageType {message_type}")
            expected[name, _declared(case, message_type)] += 1
    assert expected.total() == 6400
    assert sum(count for (_, code), count in expected.items() if not code) == 12
    assert _issued_count(lab) - before == 12
    assert _recorded(lab, first_pk) == expected


def _issued_count(lab: ScepLab) -> int:
    return lab.count("certificate", "protocol = 'scep'")


def _last_pk(lab: ScepLab) -> int:
    return int(database.rows(lab.gateway.sql_url, "SELECT max(pk) FROM request")[0][0])


def _recorded(lab: ScepLab, after_pk: int) -> Counter[tuple[str, str]]:
    """Messages and codes of the rows that came after this one."""
    query = f"SELECT remote, decision, state FROM request WHERE pk > {after_pk}"
    found: Counter[tuple[str, str]] = Counter()
    for remote, decision, state in database.rows(lab.gateway.sql_url, query):
        reasons = json.loads(decision).get("reasons") or [{"code": ""}]
        assert state == ("refused" if reasons[0]["code"] else "issued")
        found[json.loads(remote)["message"], reasons[0]["code"]] += 1
    return found
