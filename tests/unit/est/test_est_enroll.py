"""/simpleenroll between the wire and the enrolment model."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError, Overloaded, StoreUnavailable
from gateway.est import codec
from gateway.est.options import EstOptions
from gateway.http.message import TlsPeer
from gateway.model.enrolment import Operation
from gateway.model.evidence import BASIC, Linking, PresentedPassword
from gateway.model.ids import new_id
from gateway.model.keys import ClientKey, Pop
from gateway.model.outcome import Issued, Outcome, Pending, Refused, Unavailable
from gateway.model.reasons import Reason, ReasonCode
from tests.support import pki
from tests.unit.est.house import ISSUING, ROOT, House, header, http_request, text

KEY = pki.shared_key("P-256")
CSR = pki.csr(KEY, cn="device-1", sans=["device-1.test", "ip:192.0.2.1"])
BODY = pki.base64_lines(CSR)
LEAF = ISSUING.issue(private_key=KEY, sans=["device-1.test"]).certificate_der
CHAIN = tuple(a.certificate.public_bytes(Encoding.DER) for a in (ISSUING, ROOT))


def issued() -> Issued:
    return Issued(new_id(), LEAF, CHAIN)


def lenient() -> dict[str, EstOptions]:
    return {"default": EstOptions(lenient_body=True)}


async def test_good_request_becomes_one_enrolment_request_with_everything_in_it() -> None:
    house = House(answer=issued())
    authorization = "Basic " + base64.b64encode(b"demo:s3cret").decode()
    chain = (LEAF, CHAIN[0])
    request = http_request(body=BODY, headers={"authorization": authorization}, chain=chain)
    assert (await house.send(request)).status == 200
    (asked,) = house.submitted
    assert (asked.protocol, asked.endpoint, asked.operation) == ("est", "default", Operation.ENROLL)
    assert str(asked.identity.subject) == "CN=device-1"
    assert [str(name) for name in asked.identity.sans] == ["dns:device-1.test", "ip:192.0.2.1"]
    assert isinstance(asked.key, ClientKey)
    assert asked.key.public_key.spki_der == pki.spki_der(KEY)
    assert asked.key.pop is Pop.SIGNATURE
    assert (asked.csr_der, asked.renews_der, asked.linking) == (CSR, None, Linking.ABSENT)
    assert [credential.kind for credential in asked.presented] == ["mtls", "basic"]
    assert isinstance(asked.presented[1], PresentedPassword)
    assert asked.presented[1].secret.reveal() == b"s3cret"
    assert (asked.remote.address, asked.remote.listener) == ("192.0.2.7", "https")
    assert (asked.remote.tls_version, asked.remote.message) == ("TLSv1.3", "simpleenroll")
    assert (asked.remote.user_agent, asked.remote.transport_id) == ("curl/7.88.1", "0192-request")


async def test_labelled_path_names_the_endpoint() -> None:
    house = House(answer=issued(), endpoints={"factory": EstOptions()})
    assert (await house.send(http_request("factory/simpleenroll", BODY))).status == 200
    assert house.submitted[0].endpoint == "factory"


async def test_issued_answer_is_certs_only_with_the_issued_certificate_alone() -> None:
    """est.md C37."""
    response = await House(answer=issued()).send(http_request(body=BODY))
    assert response.status == 200
    assert response.content_type == "application/pkcs7-mime; smime-type=certs-only"
    assert header(response, "Content-Transfer-Encoding") == "base64"
    assert codec.decode_certs_only(response.body) == (LEAF,)


async def test_include_chain_puts_the_issuers_behind_the_leaf() -> None:
    """est.md C37, opt-in."""
    house = House(answer=issued(), endpoints={"default": EstOptions(include_chain=True)})
    response = await house.send(http_request(body=BODY))
    assert codec.decode_certs_only(response.body) == (LEAF, *CHAIN)


async def test_content_transfer_encoding_can_be_left_out() -> None:
    house = House(answer=issued(), endpoints={"default": EstOptions(content_transfer_encoding=False)})
    assert (await house.send(http_request(body=BODY))).headers == ()


@pytest.mark.parametrize(
    ("headers", "wrap", "longest"),
    [
        ({}, "auto", 64),
        ({"user-agent": "libest 3.2.0", "accept": "-"}, "auto", 64),
        ({"user-agent": "Go-http-client/1.1"}, "auto", 64),
        ({"user-agent": "-"}, "auto", 64),
        ({"user-agent": "-", "accept": "-"}, "auto", None),
        ({"user-agent": "-", "accept": "-"}, 64, 64),
        ({}, 76, 76),
        ({"user-agent": "libest 3.2.0"}, "none", None),
    ],
    ids=["curl", "libest", "go", "accept-only", "strongswan", "forced-64", "forced-76", "forced-none"],
)
async def test_answer_is_wrapped_as_the_client_family_needs_it(
    headers: dict[str, str], wrap: str | int, longest: int | None
) -> None:
    """est.md 0.5: strongSwan 5.9.8 reads one line only, libest lines only."""
    house = House(answer=issued(), endpoints={"default": EstOptions.model_validate({"wrap": wrap})})
    response = await house.send(http_request(body=BODY, headers=headers))
    lines = response.body.split(b"\n")
    assert (len(lines) == 1) is (longest is None)
    assert longest is None or max(map(len, lines)) == longest


@pytest.mark.parametrize("encoding", ["base64", "binary", "8bit", "quoted-printable"])
async def test_content_transfer_encoding_of_the_request_is_ignored(encoding: str) -> None:
    """est.md C24: RFC 8951 section 3."""
    house = House(answer=issued())
    request = http_request(body=BODY, headers={"content-transfer-encoding": encoding})
    assert (await house.send(request)).status == 200


@pytest.mark.parametrize(
    "media_type", ["application/pkcs10; charset=utf-8", "APPLICATION/PKCS10", " application/PKCS10 ;x=y"]
)
async def test_media_type_is_compared_without_case_and_parameters(media_type: str) -> None:
    """est.md C25."""
    assert (await House(answer=issued()).send(http_request(body=BODY, media_type=media_type))).status == 200


@pytest.mark.parametrize("media_type", [None, "application/x-www-form-urlencoded", "text/plain", ""])
async def test_other_media_type_is_415_and_taken_with_a_note_when_lenient(media_type: str | None) -> None:
    """est.md C25."""
    house = House(answer=issued())
    response = await house.send(http_request(body=BODY, media_type=media_type))
    assert response.status == 415
    assert "must be application/pkcs10" in text(response)
    assert not house.submitted
    assert house.bad[0].reason.code is ReasonCode.HTTP_MEDIA_TYPE
    request = http_request(body=BODY, media_type=media_type)
    assert (await House(answer=issued(), endpoints=lenient()).send(request)).status == 200
    assert request.log["lenient_body"] == "media type"


@pytest.mark.parametrize(
    ("body", "note"), [(pki.pem("CERTIFICATE REQUEST", CSR), "pem"), (CSR, "der")], ids=["pem", "der"]
)
async def test_pem_and_der_are_400_and_taken_with_a_note_when_lenient(body: bytes, note: str) -> None:
    """est.md C26."""
    assert (await House().send(http_request(body=body))).status == 400
    house, request = House(answer=issued(), endpoints=lenient()), http_request(body=body)
    assert (await house.send(request)).status == 200
    assert house.submitted[0].csr_der == CSR
    assert request.log["lenient_body"] == note


BAD_BODIES = {
    "empty": (b"", ReasonCode.MESSAGE_EMPTY),
    "blank": (b"\r\n \t", ReasonCode.MESSAGE_EMPTY),
    "character": (b"MII*" + BODY, ReasonCode.MESSAGE_BASE64),
    "junk": (base64.b64encode(b"no DER at all, just text"), ReasonCode.MESSAGE_ASN1),
    "truncated": (base64.b64encode(CSR[:-7]), ReasonCode.MESSAGE_ASN1),
    "trailing": (base64.b64encode(CSR + b"\0"), ReasonCode.MESSAGE_ASN1),
    "two": (base64.b64encode(CSR + CSR), ReasonCode.MESSAGE_ASN1),
    "version-2": (base64.b64encode(pki.raw_csr(KEY, version=1)), None),
    "indefinite": (base64.b64encode(b"\x30\x80" + CSR[4:] + b"\0\0"), ReasonCode.MESSAGE_ASN1),
    "certificate": (base64.b64encode(LEAF), None),
    "signature": (base64.b64encode(pki.broken_signature(CSR)), ReasonCode.CSR_SIGNATURE),
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_bad_body_is_400_recorded_with_its_reason_and_never_submitted(name: str) -> None:
    """est.md C27, C28, C31 and C42."""
    body, code = BAD_BODIES[name]
    house = House(answer=issued())
    response = await house.send(http_request(body=body))
    assert response.status == 400
    assert "PG-" in text(response)
    assert not house.submitted
    (bad,) = house.bad
    assert (bad.protocol, bad.endpoint, bad.operation) == ("est", "default", "simpleenroll")
    assert bad.remote.address == "192.0.2.7"
    assert code is None or bad.reason.code is code


async def test_bad_signature_says_proof_of_possession() -> None:
    """est.md C31."""
    response = await House().send(http_request(body=base64.b64encode(pki.broken_signature(CSR))))
    assert "possession" in text(response)


async def test_declared_oversize_is_413_before_a_byte_is_read() -> None:
    """est.md C29."""
    house = House()
    request = http_request(body=[BODY], headers={"content-length": "65537"})
    response = await house.send(request)
    assert (response.status, response.close) == (413, True)
    assert await request.receive_body() == BODY
    assert house.bad[0].reason.code is ReasonCode.HTTP_TOO_LARGE


async def test_chunked_oversize_is_413_while_reading() -> None:
    """est.md C29."""
    house = House(endpoints={"default": EstOptions(max_body_bytes=2048)})
    request = http_request(body=[b"A" * 1024] * 100)
    assert (await house.send(request)).status == 413
    assert len(await request.body(10**6)) > 90 * 1024  # the rest was left alone


@pytest.mark.parametrize("kind", ["P-384", "P-521", "RSA-2048", "Ed25519", "Ed448", "ML-DSA-65"])
async def test_csr_of_any_supported_key_type_is_submitted(kind: str) -> None:
    house = House(answer=issued())
    csr = pki.csr(pki.shared_key(kind))
    assert (await house.send(http_request(body=pki.base64_lines(csr)))).status == 200
    assert house.submitted[0].csr_der == csr


async def test_strongswan_csr_with_unsorted_attributes_is_submitted() -> None:
    house = House(answer=issued())
    csr = pki.unsorted_csr(KEY, cn="device-1", challenge="x", sans=["a.test"])
    assert (await house.send(http_request(body=pki.base64_lines(csr)))).status == 200
    assert house.submitted[0].linking is Linking.UNAVAILABLE


@pytest.mark.parametrize(
    ("version", "binding", "sent", "linking"),
    [
        ("TLSv1.2", "tls-unique", b"u" * 12, Linking.TLS_UNIQUE),
        ("TLSv1.3", "tls-exporter", b"u" * 12, Linking.TLS_EXPORTER),
        ("TLSv1.2", "tls-unique", b"of another session", Linking.MISMATCH),
        ("TLSv1.2", "tls-exporter", b"u" * 12, Linking.UNAVAILABLE),
    ],
)
async def test_challenge_password_reaches_the_model_as_linking(
    version: str, binding: str, sent: bytes, linking: Linking
) -> None:
    """est.md C33 and C34; the service refuses a mismatch with 400."""
    house = House(answer=issued())
    tls = TlsPeer(version, "", binding={binding: b"u" * 12}.get)
    csr = pki.csr(KEY, challenge=base64.b64encode(sent))
    await house.send(http_request(body=pki.base64_lines(csr), tls=tls))
    assert house.submitted[0].linking is linking


async def test_refused_for_linking_is_400_with_the_rules_words() -> None:
    """est.md C33."""
    reason = Reason(ReasonCode.CSR_LINKING, "linking the CSR to this TLS session is required")
    response = await House(answer=Refused(new_id(), (reason,))).send(http_request(body=BODY))
    assert response.status == 400
    assert "linking the CSR to this TLS session is required" in text(response)


async def test_missing_credentials_are_challenged_once() -> None:
    """est.md C9."""
    refused = Refused(new_id(), (Reason(ReasonCode.AUTH_MISSING, "credentials are needed"),), (BASIC,))
    response = await House(answer=refused).send(http_request(body=BODY))
    assert response.status == 401
    assert header(response, "WWW-Authenticate") == 'Basic realm="est"'


@pytest.mark.parametrize(("accepts", "status"), [((BASIC,), 401), ((), 403)])
async def test_malformed_credentials_are_401_where_basic_is_taken_else_403(
    accepts: tuple[str, ...], status: int
) -> None:
    """est.md C10 and C11."""
    house = House(accepts=accepts)  # type: ignore[arg-type]  # plain strings serve as kinds
    response = await house.send(http_request(body=BODY, headers={"authorization": "Basic ???"}))
    assert response.status == status
    assert house.bad[0].reason.code is ReasonCode.AUTH_FAILED
    assert not house.submitted


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ReasonCode.AUTH_CERTIFICATE_EXPIRED, 403),
        (ReasonCode.AUTH_CERTIFICATE_NOT_YET_VALID, 403),
        (ReasonCode.AUTH_CERTIFICATE_UNTRUSTED, 403),
        (ReasonCode.AUTH_CERTIFICATE_REVOKED, 403),
        (ReasonCode.AUTH_CERTIFICATE_USAGE, 403),
        (ReasonCode.KEY_SIZE, 400),
        (ReasonCode.EXTENSION_CA, 400),
        (ReasonCode.APPROVAL_REJECTED, 403),
        (ReasonCode.BACKEND_REFUSED, 403),
    ],
)
async def test_refusal_of_the_service_has_its_status_and_words(code: ReasonCode, status: int) -> None:
    """est.md C14 to C17, C31, C32, C40 and C41."""
    response = await House(answer=Refused(new_id(), (Reason(code, "because"),), (BASIC,))).send(
        http_request(body=BODY)
    )
    assert response.status == status
    assert "because" in text(response)
    assert header(response, "WWW-Authenticate") is None


async def test_pending_is_202_with_whole_seconds_and_says_what_it_waits_for() -> None:
    """est.md C39."""
    response = await House(answer=Pending(new_id(), "approval", 30)).send(http_request(body=BODY))
    assert response.status == 202
    assert header(response, "Retry-After") == "30"
    assert "waits for approval" in text(response)


@pytest.mark.parametrize(
    "fault",
    [
        Overloaded("too many requests wait", retry_after_s=3),
        StoreUnavailable("the database is out of reach", retry_after_s=3),
        Unavailable(Reason(ReasonCode.BACKEND_UNAVAILABLE, "the CA is out of reach"), 3),
    ],
    ids=["overloaded", "store", "backend"],
)
async def test_passing_trouble_is_503_with_retry_after(fault: Outcome | GatewayError) -> None:
    """est.md C41."""
    response = await House(answer=fault).send(http_request(body=BODY))
    assert response.status == 503
    assert header(response, "Retry-After") == "3"


async def test_refusal_that_cannot_be_recorded_is_503() -> None:
    house = House(recording_fault=StoreUnavailable("the database is full", retry_after_s=9))
    response = await house.send(http_request(body=b""))
    assert (response.status, header(response, "Retry-After")) == (503, "9")


async def test_fault_of_the_gateway_goes_on_to_the_edge() -> None:
    with pytest.raises(GatewayError, match="a bug"):
        await House(answer=GatewayError("a bug")).send(http_request(body=BODY))


async def correlation_of(csr_der: bytes) -> tuple[bytes, ...]:
    house = House(answer=issued())
    await house.send(http_request(body=pki.base64_lines(csr_der)))
    assert house.submitted[0].correlation.with_identity
    return house.submitted[0].correlation.parts


async def test_rebuilt_csr_with_the_same_key_and_names_is_the_same_request() -> None:
    """est.md C38 and C39: a new channel binding or another string type does not make another request."""
    sans = ["a.test", "b.test"]
    first = await correlation_of(pki.csr(KEY, cn="Device  1", sans=sans, challenge=b"one"))
    again = await correlation_of(pki.csr(KEY, cn="device 1", sans=sans[::-1], challenge=b"two"))
    assert first == again
    printable = await correlation_of(pki.raw_csr(KEY, subject_der=pki.printable_name("device-1")))
    assert printable == await correlation_of(pki.csr(KEY, cn="device-1"))


async def test_other_key_subject_or_names_are_another_request() -> None:
    parts = [
        await correlation_of(csr)
        for csr in (
            pki.csr(KEY, cn="a", sans=["a.test"]),
            pki.csr(pki.key(), cn="a", sans=["a.test"]),
            pki.csr(KEY, cn="b", sans=["a.test"]),
            pki.csr(KEY, cn="a", sans=["b.test"]),
            pki.csr(KEY, cn="a"),
            pki.csr(KEY, subject=pki.name("a", O="Org"), sans=["a.test"]),
            pki.csr(KEY, subject=x509.Name([]), sans=["a.test"]),
        )
    ]
    assert len(set(parts)) == len(parts)


async def test_log_record_names_endpoint_message_outcome_and_enrolment() -> None:
    outcome = issued()
    request = http_request(body=BODY)
    await House(answer=outcome).send(request)
    assert request.log == {
        "protocol": "est",
        "endpoint": "default",
        "message": "simpleenroll",
        "outcome": "issued",
        "enrolment": outcome.request_id,
    }
    refused = http_request(body=b"")
    await House().send(refused)
    assert (refused.log["outcome"], refused.log["code"]) == ("refused", "message.empty")


async def test_user_agent_is_cut_for_the_record() -> None:
    house = House(answer=issued())
    await house.send(replace(http_request(body=BODY, headers={"user-agent": "x" * 9000})))
    assert len(house.submitted[0].remote.user_agent) == 200


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_csr_is_answered_with_400_or_taken_never_a_fault(data: st.DataObject) -> None:
    octets = bytearray(CSR)
    for _ in range(data.draw(st.integers(1, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(octets))))
    house = House(answer=issued())
    response = asyncio.run(house.send(http_request(body=base64.b64encode(bytes(octets[:cut])))))
    assert response.status == (200 if bytes(octets[:cut]) == CSR else 400)
    assert len(house.submitted) + len(house.bad) == 1
