"""Paths, operations, capabilities, CA certificates and what HTTP says (scep.md C1 to C14)."""

from __future__ import annotations

import base64
import contextlib
import socket
from urllib.parse import quote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.scep_answer import SUCCESS, certs_only, issued
from tests.support.scep_client import PKI_MESSAGE
from tests.support.scep_lab import ScepLab

SUFFIXES = [
    "/scep",
    "/scep/",
    "/scep/pkiclient.exe",
    "/scep/mscep.dll",
    "/scep/default",
    "/scep/default/pkiclient.exe",
    "/scep/default/mscep.dll/pkiclient.exe",
    "/scep/default/whatever/a/device/adds",
    "/cgi-bin/pkiclient.exe",
    "/certsrv/mscep/mscep.dll",
    "/CertSrv/mscep/mscep.dll/pkiclient.exe",
]


def _raw(lab: ScepLab, request: bytes) -> bytes:
    """What the gateway writes until it closes the connection."""
    split = urlsplit(lab.url())
    with socket.create_connection(("127.0.0.1", split.port or 80), timeout=90) as sock:
        sock.sendall(request)
        read = []
        with contextlib.suppress(ConnectionResetError):  # where something that was sent was never read
            while octets := sock.recv(65536):
                read.append(octets)
        return b"".join(read)


@pytest.mark.parametrize("path", SUFFIXES)
def test_every_path_that_devices_use_is_answered(lab: ScepLab, path: str) -> None:
    """scep.md C1, B6, B9"""
    server = lab.server()
    assert server.get("operation=GetCACert", path=path).status == 200
    message = lab.device().message(lab.device().csr("guess at " + path)).build()
    answer = server.request("POST", "operation=PKIOperation", message, path=path)
    assert (answer.status, answer.content_type) == (200, PKI_MESSAGE)


@pytest.mark.parametrize("value", ["GetCACaps", "getcacaps", "GETCACAPS", "GetCACAPs", "%47etCACaps"])
def test_operation_is_taken_in_any_letter_case(lab: ScepLab, value: str) -> None:
    """scep.md C1"""
    assert lab.server().get(f"operation={value}").text == lab.server().get("operation=GetCACaps").text


@pytest.mark.parametrize("host", [b"", b"Host: elsewhere.example\r\n"])
def test_http_1_0_without_host_is_answered(lab: ScepLab, host: bytes) -> None:
    """scep.md C1, B6: Cisco IOS."""
    head, _, body = _raw(
        lab, b"GET /scep/pkiclient.exe?operation=GetCACaps HTTP/1.0\r\n" + host + b"\r\n"
    ).partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    assert body == lab.server().get("operation=GetCACaps").body


@pytest.mark.parametrize(
    "query", ["", "operation=", "operation=GetEverything", "op=GetCACaps", "operation=PKIOperation2"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_missing_or_unknown_operation_is_refused_in_plain_text(lab: ScepLab, method: str, query: str) -> None:
    """scep.md C2"""
    answer = lab.server().request(method, query, b"" if method == "POST" else None)
    assert (answer.status, answer.content_type.split(";")[0]) == (400, "text/plain")
    assert "operation" in answer.text


@pytest.mark.parametrize("path", ["/scep/nowhere", "/scep/nowhere/pkiclient.exe", "/scep/DEFAULT"])
@pytest.mark.parametrize("operation", ["GetCACaps", "GetCACert", "PKIOperation"])
def test_unknown_endpoint_is_not_found(lab: ScepLab, path: str, operation: str) -> None:
    """scep.md C3: HTTP, no CertRep."""
    answer = lab.server().get(f"operation={operation}&message=MIIB", path=path)
    assert (answer.status, answer.content_type.split(";")[0]) == (404, "text/plain")


@pytest.mark.parametrize("message", ["", "&message=", "&message=0", "&message=CAIdentifier"])
def test_capabilities_are_lines_of_keywords_with_and_without_identifier(lab: ScepLab, message: str) -> None:
    """scep.md C4, B15, B16: certmonger sends 0, sscep CAIdentifier, PyScep an empty one."""
    answer = lab.server().get("operation=GetCACaps" + message)
    assert (answer.status, answer.content_type) == (200, "text/plain")
    lines = answer.body.split(b"\n")
    assert lines.pop() == b""
    assert {b"POSTPKIOperation", b"Renewal", b"SHA-256", b"AES", b"SCEPStandard", b"SHA-384"} <= set(lines)
    assert b"\r" not in answer.body


def test_capabilities_name_what_the_endpoint_takes_and_nothing_else(lab: ScepLab) -> None:
    """scep.md C5"""
    usual, legacy = set(lab.server().capabilities()), set(lab.server("legacy").capabilities())
    assert not usual & {"DES3", "SHA-1", "GetNextCACert"}
    assert legacy - usual == {"DES3", "SHA-1"}


def test_single_ca_certificate_is_der_as_it_is(lab: ScepLab) -> None:
    """scep.md C6, B2"""
    answer = lab.new_server("omit").get("operation=GetCACert")
    assert answer.content_type == "application/x-x509-ca-cert"
    certificate = x509.load_der_x509_certificate(answer.body)
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_several_ca_certificates_are_ra_issuer_root_in_this_order(lab: ScepLab) -> None:
    """scep.md C7, B2, B17"""
    answer = lab.server().get("operation=GetCACert&message=anything")
    assert answer.content_type == "application/x-x509-ca-ra-cert"
    ra, issuing, root = certs_only(answer.body)
    usage = ra.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.key_encipherment
    ra.verify_directly_issued_by(issuing)
    issuing.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    assert lab.server("chain").ca_certificates()[1:] == [issuing]


def test_next_ca_certificate_is_refused_while_none_is_prepared(lab: ScepLab) -> None:
    """scep.md C8"""
    answer = lab.server().get("operation=GetNextCACert")
    assert 400 <= answer.status < 500
    assert answer.content_type.split(";")[0] == "text/plain"


def test_failure_is_http_200_as_a_success_is(lab: ScepLab) -> None:
    """scep.md C9, B4"""
    device = lab.device()
    for challenge in (lab.challenge, "a guess that is wrong"):
        answer = lab.server().post(device.message(device.csr(challenge)).build())
        assert (answer.status, answer.content_type) == (200, PKI_MESSAGE)
        assert answer.headers.get("cache-control") == "no-store"


ENCODINGS = {
    "quoted": lambda text: quote(text, safe=""),
    "raw": lambda text: text,
    "only-padding-quoted": lambda text: text.replace("=", "%3D"),
    "no-padding": lambda text: quote(text.rstrip("="), safe=""),
    "lines": lambda text: "".join(quote(text[i : i + 64], safe="") + "%0A" for i in range(0, len(text), 64)),
    "crlf": lambda text: "".join(
        quote(text[i : i + 76], safe="") + "%0D%0A" for i in range(0, len(text), 76)
    ),
    "url-safe": lambda text: text.replace("+", "-").replace("/", "_").rstrip("="),
    "quoted-twice": lambda text: quote(quote(text, safe=""), safe=""),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_message_in_the_url_is_read_in_every_encoding(lab: ScepLab, encoding: str) -> None:
    """scep.md C10, B1, B16"""
    device = lab.device()
    message = device.message(device.csr(lab.challenge))
    text = base64.b64encode(message.build()).decode()
    answer = lab.server().get("operation=PKIOperation&message=" + ENCODINGS[encoding](text))
    assert issued(lab.server().reply(answer, device.signer)).subject.rfc4514_string() == f"CN={device.cn}"


@pytest.mark.parametrize(
    "message", ["message=%%%", "message=MII*", "message=M", "message=", "", "message==="]
)
def test_message_that_is_no_base64_or_missing_is_a_bad_request(lab: ScepLab, message: str) -> None:
    """scep.md C11"""
    answer = lab.server().get("operation=PKIOperation&" + message)
    assert (answer.status, answer.content_type.split(";")[0]) == (400, "text/plain")


def test_body_wins_over_the_url_and_an_empty_one_is_refused(lab: ScepLab) -> None:
    """scep.md C11: PyScep sends both."""
    device = lab.device()
    octets = device.message(device.csr(lab.challenge)).build()
    server = lab.server()
    both = server.request("POST", "operation=PKIOperation&message=", octets)
    assert server.reply(both, device.signer).status == SUCCESS
    garbage = server.request("POST", "operation=PKIOperation&message=MIIB", octets)
    assert server.reply(garbage, device.signer).status == SUCCESS
    in_url = quote(base64.b64encode(octets), safe="")
    assert server.request("POST", "operation=PKIOperation&message=" + in_url, b"").status == 400


@pytest.mark.parametrize(
    "content_type",
    [None, "application/x-pki-message", "application/octet-stream", "text/plain", "a", "*/*;;"],
)
def test_content_type_of_a_post_means_nothing(lab: ScepLab, content_type: str | None) -> None:
    """scep.md C12, B16"""
    device = lab.device()
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = lab.server().post(device.message(device.csr(lab.challenge)).build(), headers=headers)
    assert lab.server().reply(answer, device.signer).status == SUCCESS


def test_post_on_a_connection_that_never_asked_for_capabilities_works(lab: ScepLab) -> None:
    """scep.md C12"""
    device = lab.device()
    server = lab.new_server()
    assert server.reply(server.post(device.message(device.csr(lab.challenge)).build())).status == SUCCESS
    server.close()


def test_body_beyond_the_limit_is_refused_before_all_of_it_came(lab: ScepLab) -> None:
    """scep.md C13: said while it streams, by length or by what arrives."""
    head = b"POST /scep/small?operation=PKIOperation HTTP/1.1\r\nHost: localhost\r\n"
    announced = _raw(lab, head + b"Content-Length: 1000000000\r\n\r\n" + b"0" * 5000)
    assert b" 413 " in announced.splitlines()[0]
    chunk = b"1000\r\n" + b"0" * 4096 + b"\r\n"
    streamed = _raw(lab, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 2)
    assert b" 413 " in streamed.splitlines()[0]
    exact = lab.server("small").post(b"0" * 4096)
    assert exact.status == 400


def test_message_of_24_kib_in_the_url_is_read(lab: ScepLab) -> None:
    """scep.md C13: RSA-4096 with a chain fits; more than the limit of the endpoint gets 413."""
    device = lab.device()
    more = [device.server.responders[2].public_bytes(Encoding.DER)] * 10
    message = device.message(device.csr(lab.challenge), certificates=[device.signer.certificate_der, *more])
    octets = message.build()
    assert 4 * len(octets) // 3 > 16_000
    assert lab.server().reply(lab.server().get_message(octets), device.signer).status == SUCCESS
    too_long = lab.server("small").get("operation=PKIOperation&message=" + "MIIB" * 1500)
    assert too_long.status == 413


def test_plain_http_serves_scep_and_no_tls_listener_does(lab: ScepLab) -> None:
    """scep.md C14: no listener that serves it asks for a client certificate."""
    assert lab.url().startswith("http://")
    assert lab.gateway.est_client().request("GET", "/scep?operation=GetCACaps").status == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_not_allowed(lab: ScepLab, method: str) -> None:
    """scep.md C1"""
    answer = lab.server().request(method, "operation=PKIOperation", b"")
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, POST"


def test_what_never_became_a_request_is_recorded(lab: ScepLab) -> None:
    """scep.md C51"""
    row = lab.row(lab.server().post(b"no CMS at all").text)
    assert (row.protocol, row.endpoint, row.state) == ("scep", "default", "refused")
    assert (row.code, row.remote["address"]) == ("message.asn1", "127.0.0.1")
