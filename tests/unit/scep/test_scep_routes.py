"""SCEP's paths, operations and methods, GetCACert, and what no CertRep can answer."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from importlib.metadata import entry_points
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import BackendUnavailable, Overloaded
from gateway.pki.cms import read_certs_only
from gateway.scep.options import ScepOptions
from gateway.scep.paths import DEFAULT_ENDPOINT, endpoint_of, prefixes
from gateway.scep.plugin import ScepFrontEnd
from tests.support import ber, pki
from tests.support.scep_wire import PkiMessage, envelope
from tests.unit.scep.scep_house import Device, ScepHouse

MakeHouse = Callable[..., ScepHouse]
CAPS, CACERT = b"operation=GetCACaps", b"operation=GetCACert"


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/scep", "default"),
        ("/scep/", "default"),
        ("/scep/pkiclient.exe", "default"),
        ("/scep/PKIClient.EXE", "default"),
        ("/scep/mscep.dll", "default"),
        ("/scep/mscep.dll/pkiclient.exe", "default"),
        ("/scep/cgi-bin/pkiclient.exe", "default"),
        ("/scep/certsrv/mscep/mscep.dll", "default"),
        ("/scep/line-4", "line-4"),
        ("/scep/line-4/", "line-4"),
        ("/scep/line-4/pkiclient.exe", "line-4"),
        ("/scep/line-4/any/thing/at/all", "line-4"),
        ("/scep/nope/pkiclient.exe", "nope"),
        ("/cgi-bin/pkiclient.exe", "default"),
        ("/cgi-bin/pkiclient.exe/pkiclient.exe", "default"),
        ("/certsrv/mscep/mscep.dll", "default"),
        ("/CertSrv/mscep/mscep.dll/pkiclient.exe", "default"),
        ("/CERTSRV/MSCEP/MSCEP.DLL", "default"),
        ("/cgi-bin/other.exe", ""),
        ("/certsrv/mscep_admin", ""),
        ("/certsrv/", ""),
    ],
)
def test_path_names_the_endpoint(path: str, endpoint: str) -> None:
    """scep.md B6, B9, C1, decisions.md "Paths"."""
    assert endpoint_of(path) == endpoint
    assert any(path == one or (one.endswith("/") and path.startswith(one)) for one in prefixes())


def test_reserved_names_are_the_first_segments_of_known_suffixes() -> None:
    """Otherwise an endpoint could never be reached, or a suffix could."""
    for name in ScepFrontEnd.reserved_endpoint_names:
        assert name in {"pkiclient", "mscep", "cgi-bin", "certsrv"}
    assert endpoint_of("/scep/default") == DEFAULT_ENDPOINT


def test_entry_point_names_the_front_end() -> None:
    (entry,) = entry_points(group="pkigate.frontends", name="scep")
    assert entry.load() is ScepFrontEnd


def test_front_end_asks_for_one_key_with_both_usages() -> None:
    """scep.md B2, B18: Apple refuses an RA without them, scepclient keeps one certificate only."""
    assert ScepFrontEnd.message_identity.key_usage == ("digitalSignature", "keyEncipherment")
    assert ScepFrontEnd.message_identity.key == "rsa-2048"


@pytest.mark.parametrize(
    "query", [CAPS, b"OPERATION=getcacaps", b"message=CA&operation=GETCACAPS", CAPS + b"&message="]
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_operation_is_read_without_letter_case(scep: MakeHouse, query: bytes, method: str) -> None:
    """scep.md C1, C4, B16."""
    response = await scep().http(method, query=query)
    assert (response.status, response.content_type) == (200, "text/plain")
    assert b"POSTPKIOperation\n" in response.body


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (b"", "the operation is missing"),
        (b"message=MIAG", "the operation is missing"),
        (b"operation=", "the operation is missing"),
        (b"operation=PKIOperations", "'PKIOperations' is unknown"),
        (b"operation=%3Cb%3E%00", "'<b>\\x00' is unknown"),
        (b"operation=" + b"x" * 5000, "'" + "x" * 64 + "' is unknown"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_missing_or_unknown_operation_is_400_with_what_to_write(
    scep: MakeHouse, query: bytes, says: str, method: str
) -> None:
    """scep.md C2."""
    house = scep()
    response = await house.http(method, query=query, body=b"x")
    assert (response.status, response.content_type) == (400, "text/plain; charset=utf-8")
    assert says in response.body.decode()
    assert "add ?operation= with one of GetCACaps" in response.body.decode()
    (row,) = await house.rows()
    assert (row.protocol, row.endpoint, row.state) == ("scep", "default", "refused")


@pytest.mark.parametrize(
    "path", ["/scep/nope", "/scep/nope/pkiclient.exe", "/cgi-bin/other.exe", "/certsrv/"]
)
@pytest.mark.parametrize("query", [CAPS, CACERT, b"operation=PKIOperation", b""])
async def test_unknown_endpoint_is_404_that_tells_no_names(scep: MakeHouse, path: str, query: bytes) -> None:
    """scep.md C3: the record does."""
    house = scep()
    response = await house.http("GET", path, query)
    assert (response.status, response.content_type) == (404, "text/plain; charset=utf-8")
    assert response.body.startswith(b"there is no SCEP endpoint at this path; it is /scep/ENDPOINT")
    (row,) = await house.rows()
    assert "there is no Endpoint document of protocol scep with the name" in repr(row.decision)


@pytest.mark.parametrize(
    ("method", "query", "allowed"),
    [
        ("PUT", CAPS, "GET, HEAD, POST"),
        ("DELETE", CACERT, "GET, HEAD, POST"),
        ("HEAD", b"operation=PKIOperation&message=MIAG", "GET, POST"),
        ("OPTIONS", b"", "GET, HEAD, POST"),
    ],
)
async def test_other_method_is_405(scep: MakeHouse, method: str, query: bytes, allowed: str) -> None:
    response = await scep().http(method, query=query)
    assert response.status == 405
    assert response.headers == (("Allow", allowed),)


async def test_get_ca_cert_has_ra_issuing_ca_and_root_in_this_order(scep: MakeHouse) -> None:
    """scep.md C7, B17: strongSwan needs the root, and who takes the first certificate gets the RA's."""
    house = scep()
    response = await house.http(query=CACERT)
    chain = await house.backends.chain("embedded", None)
    assert (response.status, response.content_type) == (200, "application/x-x509-ca-ra-cert")
    assert read_certs_only(response.body) == (house.ra.certificate_der, *chain)
    listed = subprocess.run(
        ["openssl", "pkcs7", "-inform", "DER", "-print_certs"],
        input=response.body,
        capture_output=True,
        check=True,
        timeout=30,
    ).stdout
    assert [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(listed)] == [
        house.ra.certificate_der,
        *chain,
    ]


@pytest.mark.parametrize(("wanted", "count"), [("chain", 3), ("ra", 2), ("ca", 1)])
async def test_get_ca_cert_gives_what_the_option_says(scep: MakeHouse, wanted: str, count: int) -> None:
    """scep.md C6, C7."""
    house = scep(ca_certificates=wanted)
    response = await house.http(query=CACERT)
    if count == 1:
        assert response.content_type == "application/x-x509-ca-cert"
        assert response.body == (await house.backends.chain("embedded", None))[0]
    else:
        assert len(read_certs_only(response.body)) == count


async def test_get_ca_cert_where_the_identity_is_the_ca_holds_it_once(scep: MakeHouse) -> None:
    """scep.md C6: an administrator's own."""
    house = scep(ca_certificates="ra")
    issuing_der, *_ = await house.backends.chain("embedded", None)
    old = house.identities_[0]
    house.identities_[:] = [type(old)(issuing_der, (), old.signer)]
    response = await house.http(query=CACERT)
    assert (response.content_type, response.body) == ("application/x-x509-ca-cert", issuing_der)


async def test_next_ca_cert_is_neither_offered_nor_given(scep: MakeHouse) -> None:
    """scep.md C5, C8."""
    house = scep()
    assert (await house.http(query=b"operation=GetNextCACert")).status == 404
    assert b"GetNextCACert" not in (await house.http(query=CAPS)).body


@pytest.mark.parametrize(
    "fault", [BackendUnavailable("the CA is away", retry_after_s=9), Overloaded("full", retry_after_s=9)]
)
async def test_get_ca_cert_without_a_reachable_ca_is_503(
    scep: MakeHouse, fault: BackendUnavailable | Overloaded
) -> None:
    house = scep()
    house.ca_fault = fault
    response = await house.http(query=CACERT)
    assert (response.status, response.headers) == (503, (("Retry-After", "9"),))


@pytest.mark.parametrize(
    "media_type", [None, "application/x-pki-message", "application/octet-stream", "text/html"]
)
async def test_content_type_of_a_post_does_not_count(scep: MakeHouse, media_type: str | None) -> None:
    """scep.md C12, B16: sscep sends none, Go's client octet-stream."""
    house, device = scep(), Device()
    await house.challenge()
    headers = {} if media_type is None else {"content-type": media_type}
    assert (await house.send(device, headers=headers)).certificate_der


@pytest.mark.parametrize(
    "path", ["/scep/default/pkiclient.exe", "/cgi-bin/pkiclient.exe", "/certsrv/mscep/mscep.dll"]
)
async def test_message_under_every_path_is_answered(scep: MakeHouse, path: str) -> None:
    """scep.md C1."""
    house, device = scep(), Device()
    await house.challenge()
    assert (await house.send(device, path=path)).certificate_der


def message_of(house: ScepHouse, device: Device) -> bytes:
    return PkiMessage(
        device.signer,
        envelope(device.csr(), [house.ra.certificate]),
        transaction_id=device.transaction_id,
    ).build()


@pytest.mark.parametrize(
    "encoded",
    [
        lambda octets: quote(base64.b64encode(octets), safe=""),
        lambda octets: base64.b64encode(octets).decode(),
        lambda octets: base64.b64encode(octets).decode().replace("=", "%3D"),
        lambda octets: base64.encodebytes(octets).decode().replace("\n", "%0A").replace("+", "%2B"),
        lambda octets: base64.urlsafe_b64encode(octets).decode().rstrip("="),
    ],
    ids=["quoted", "raw", "only-padding-quoted", "lines", "url-safe"],
)
async def test_message_in_the_url_is_answered_and_not_cached(
    scep: MakeHouse, encoded: Callable[[bytes], str]
) -> None:
    """scep.md C9, C10, B6, B16: Cisco IOS and certmonger use GET although POST is offered."""
    house, device = scep(), Device()
    await house.challenge()
    query = f"operation=PKIOperation&message={encoded(message_of(house, device))}".encode()
    response = await house.http("GET", "/cgi-bin/pkiclient.exe", query)
    assert (response.status, response.content_type) == (200, "application/x-pki-message")
    assert ("Cache-Control", "no-store") in response.headers
    (row,) = await house.rows()
    assert row.state == "issued"


@pytest.mark.parametrize("device", ["macos", "ios"])
async def test_apple_sends_indefinite_lengths(scep: MakeHouse, device: str) -> None:
    """scep.md B1, C16: jscep #35, ultimate-ca-manager#102."""
    house, client = scep(), Device()
    await house.challenge()
    octets = ber.reencode(message_of(house, client), ber.like_apple)
    assert base64.b64encode(octets).startswith(b"MIAG")
    if device == "ios":
        query = b"operation=PKIOperation&message=" + base64.b64encode(octets)
        response = await house.http("GET", query=query)
    else:
        response = await house.http("POST", query=b"operation=PKIOperation", body=octets)
    assert response.status == 200
    (row,) = await house.rows()
    assert row.state == "issued"


async def test_body_of_a_post_counts_and_not_the_message_in_its_url(scep: MakeHouse) -> None:
    """scep.md C11, B16: PyScep sends an empty `message=` with its POST."""
    house, device = scep(), Device()
    await house.challenge()
    for more in (b"&message=", b"&message=bm9uc2Vuc2U="):
        response = await house.http(
            "POST", query=b"operation=PKIOperation" + more, body=message_of(house, device)
        )
        assert response.status == 200
    assert {row.state for row in await house.rows()} == {"issued"}


@pytest.mark.parametrize(
    ("method", "query", "body", "says"),
    [
        ("GET", b"", b"", "message.empty"),
        ("GET", b"&message=", b"", "message.empty"),
        ("GET", b"&message=%3D%3D", b"", "message.empty"),
        ("GET", b"&message=*nonsense*", b"", "message.base64"),
        ("GET", b"&message=QUJDR", b"", "message.base64"),
        ("GET", b"&message=QUJD", b"", "message.asn1"),
        ("POST", b"", b"", "message.empty"),
        ("POST", b"&message=QUJD", b"", "message.empty"),
        ("POST", b"", b"\x30", "message.asn1"),
        ("POST", b"", bytes(range(256)), "message.asn1"),
        ("POST", b"", b"\x30\x80" * 5000, "message.asn1"),
        ("POST", b"", pki.raw_csr(pki.shared_key("P-256")), "message.asn1"),
    ],
)
async def test_what_is_no_message_is_400_and_recorded(
    scep: MakeHouse, method: str, query: bytes, body: bytes, says: str
) -> None:
    """scep.md C11, C15, C17."""
    house = scep()
    response = await house.http(method, query=b"operation=PKIOperation" + query, body=body)
    assert (response.status, response.content_type) == (400, "text/plain; charset=utf-8")
    assert f"[{says}, PG-" in response.body.decode()
    (row,) = await house.rows()
    assert (row.operation, row.state) == ("PKIOperation", "refused")


@pytest.mark.parametrize("cut", [1, 40, 700])
async def test_truncated_message_is_400(scep: MakeHouse, cut: int) -> None:
    """scep.md C15."""
    house = scep()
    octets = message_of(house, Device())
    for body in (octets[:-cut], octets + b"\0" * cut):
        assert (await house.http("POST", query=b"operation=PKIOperation", body=body)).status == 400


@pytest.mark.parametrize(
    "parts",
    [
        {"signer_infos": 0},
        {"signer_infos": 2},
        {"with_attributes": False},
        {"transaction_id": None},
        {"transaction_id": ""},
        {"certificates": []},
    ],
)
async def test_message_that_no_cert_rep_can_answer_is_400(scep: MakeHouse, parts: dict[str, object]) -> None:
    """scep.md C18, C19, C24."""
    house, device = scep(), Device()
    parts = {"transaction_id": device.transaction_id, **parts}
    octets = PkiMessage(device.signer, envelope(device.csr(), [house.ra.certificate]), **parts).build()  # type: ignore[arg-type]  # each of its own type
    assert (await house.http("POST", query=b"operation=PKIOperation", body=octets)).status == 400


async def test_message_over_the_bound_is_413(scep: MakeHouse) -> None:
    """scep.md C13."""
    house = scep(max_body_bytes=4096)
    over = b"\x30" * 4097
    response = await house.http("POST", query=b"operation=PKIOperation", body=over)
    assert (response.status, response.close) == (413, True)
    query = b"operation=PKIOperation&message=" + base64.b64encode(over)
    assert (await house.http("GET", query=query)).status == 413


def test_options_refuse_what_nobody_knows() -> None:
    for wrong in ({"digests": ["md5"]}, {"ciphers": ["rc4"]}, {"digests": []}, {"typo": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ScepOptions.model_validate(wrong)
