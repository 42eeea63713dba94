"""Paths, methods, /cacerts and /csrattrs of EST; the plug-in and its options."""

from __future__ import annotations

import base64
import re
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from gateway.errors import BackendUnavailable
from gateway.est import codec
from gateway.est.csrattrs_decode import request_template
from gateway.est.options import EstOptions
from gateway.est.plugin import EstFrontEnd
from gateway.model.keys import KeyType
from gateway.model.reasons import ReasonCode
from gateway.model.wanted import Wanted, WantedKey
from tests.support import pki
from tests.unit.est.house import ISSUING, ROOT, House, header, http_request, text

CHAIN = tuple(a.certificate.public_bytes(Encoding.DER) for a in (ISSUING, ROOT))
WANTED = Wanted(keys=(WantedKey(KeyType.EC, curve="P-256"),), linking_required=True)


def without_reason_id(words: str) -> str:
    return re.sub(r"PG-[0-9A-Z]{8}", "PG-", words)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_cacerts_needs_no_credentials_and_holds_the_chain(method: str) -> None:
    """est.md C3 to C6."""
    response = await House(ca_chain=CHAIN).send(http_request("cacerts", method=method))
    assert response.status == 200
    assert response.content_type == "application/pkcs7-mime; smime-type=certs-only"
    assert header(response, "Content-Transfer-Encoding") == "base64"
    assert codec.decode_certs_only(response.body) == CHAIN


@pytest.mark.parametrize(("chain", "kept"), [(CHAIN, CHAIN[1:]), (CHAIN[:1], CHAIN[:1])])
async def test_cacerts_set_to_roots_holds_the_top_only(
    chain: tuple[bytes, ...], kept: tuple[bytes, ...]
) -> None:
    house = House(ca_chain=chain, endpoints={"default": EstOptions(cacerts="roots")})
    assert codec.decode_certs_only((await house.send(http_request("cacerts", method="GET"))).body) == kept


@pytest.mark.parametrize("chain", [BackendUnavailable("the CA is out of reach"), ()], ids=["fault", "none"])
async def test_cacerts_without_a_reachable_ca_is_503(chain: BackendUnavailable | tuple[bytes, ...]) -> None:
    response = await House(ca_chain=chain).send(http_request("cacerts", method="GET"))
    assert response.status == 503
    assert header(response, "Retry-After") == "5"


async def test_csrattrs_is_derived_from_what_policy_wants() -> None:
    """est.md C52."""
    response = await House(asked_for=WANTED).send(http_request("csrattrs", method="GET"))
    assert (response.status, response.content_type) == (200, "application/csrattrs")
    attributes = codec.decode_csrattrs_body(response.body)
    assert request_template(attributes) is not None
    assert base64.b64decode(response.body)[:1] == b"\x30"


async def test_csrattrs_without_template_where_the_option_says_so() -> None:
    house = House(asked_for=WANTED, endpoints={"default": EstOptions(csrattrs_template=False)})
    response = await house.send(http_request("csrattrs", method="GET"))
    assert request_template(codec.decode_csrattrs_body(response.body)) is None


@pytest.mark.parametrize("wanted", [None, Wanted()], ids=["no-policy", "nothing-special"])
@pytest.mark.parametrize("status", [204, 404])
async def test_csrattrs_with_nothing_to_say_has_the_configured_status_and_no_body(
    wanted: Wanted | None, status: int
) -> None:
    """est.md C52."""
    options = EstOptions.model_validate({"csrattrs_empty_status": status})
    house = House(asked_for=wanted, endpoints={"default": options})
    response = await house.send(http_request("csrattrs", method="GET"))
    assert (response.status, response.body) == (status, b"")


@pytest.mark.parametrize(
    ("operation", "method", "allow"),
    [
        ("cacerts", "POST", "GET, HEAD"),
        ("csrattrs", "PUT", "GET, HEAD"),
        ("simpleenroll", "GET", "POST"),
        ("simpleenroll", "HEAD", "POST"),
        ("simplereenroll", "DELETE", "POST"),
        ("default/simpleenroll", "OPTIONS", "POST"),
    ],
)
async def test_wrong_method_is_405_with_allow(operation: str, method: str, allow: str) -> None:
    """est.md C6 and C57."""
    house = House(ca_chain=CHAIN)
    response = await house.send(http_request(operation, method=method))
    assert response.status == 405
    assert header(response, "Allow") == allow
    assert house.bad[0].reason.code is ReasonCode.HTTP_METHOD


async def test_unknown_label_and_unknown_operation_have_the_same_404() -> None:
    """est.md C7 and C8: nothing tells which endpoints exist."""
    house = House()
    answers = [
        await house.send(http_request(path, method="POST"))
        for path in ("nobody/simpleenroll", "default/whatever", "whatever", "nobody/whatever", "", "cacerts/")
    ]
    assert {response.status for response in answers} == {404}
    assert len({without_reason_id(text(response)) for response in answers}) == 1
    assert {bad.reason.code for bad in house.bad} == {ReasonCode.HTTP_NOT_FOUND}


async def test_record_says_which_endpoint_is_missing_and_the_client_is_not_told() -> None:
    house = House()
    answers = [
        await house.send(http_request(path=f"/.well-known/est/{path}"))
        for path in ("line9/simpleenroll", "default/nonsense")
    ]
    texts = [text(answer).partition(" [")[0] for answer in answers]
    assert texts[0] == texts[1] == "request: " + house.bad[1].reason.message
    assert "line9" not in texts[0]
    assert house.bad[0].reason.message == (
        "there is no Endpoint document of protocol est with the name 'line9'; add one to the policies, or "
        "correct the client's URL"
    )


@pytest.mark.parametrize(
    "path", ["/.well-known/est", "/.well-known/est/", "/.well-known/est/a/b/c", "/.well-known/est//"]
)
async def test_path_of_another_shape_is_404(path: str) -> None:
    assert (await House().send(http_request(path=path))).status == 404


@pytest.mark.parametrize("operation", ["fullcmc", "serverkeygen"])
async def test_optional_operation_is_404_and_says_so_whatever_the_label(operation: str) -> None:
    """est.md C7, C51 and C55."""
    house = House()
    known = await house.send(http_request(operation))
    unknown = await house.send(http_request(f"nobody/{operation}"))
    assert known.status == unknown.status == 404
    assert "this version does not offer" in text(known)
    assert without_reason_id(text(known)) == without_reason_id(text(unknown))


@pytest.mark.parametrize("operation", ["cacerts", "simpleenroll", "nobody/cacerts"])
async def test_plain_http_is_403_and_never_processed(operation: str) -> None:
    """est.md C1."""
    house = House(ca_chain=CHAIN)
    method = "POST" if operation == "simpleenroll" else "GET"
    response = await house.send(http_request(operation, pki.base64_lines(b"x"), scheme="http", method=method))
    assert response.status == 403
    assert "https" in text(response)
    assert house.bad[0].reason.code is ReasonCode.HTTP_PLAIN
    assert not house.submitted


async def test_long_hostile_path_is_cut_in_the_record() -> None:
    house = House()
    await house.send(http_request("x" * 5000 + "/" + "y" * 5000))
    assert len(house.bad[0].endpoint) == len(house.bad[0].operation) == len(house.bad[0].remote.message) == 64


async def test_response_head_stays_within_the_buffer_that_strongswan_reads_it_into() -> None:
    """est.md B: strongSwan reads the whole head once, into 1024 bytes."""
    response = await House(ca_chain=CHAIN).send(http_request("cacerts", method="GET"))
    head = sum(len(name) + len(value) + 4 for name, value in response.headers) + len(response.content_type)
    assert head < 300


def test_operation_names_are_reserved() -> None:
    """est.md C8."""
    assert {"cacerts", "simpleenroll", "simplereenroll", "csrattrs", "fullcmc", "serverkeygen"} == set(
        EstFrontEnd.reserved_endpoint_names
    )


def test_declared_entry_point_names_the_front_end() -> None:
    project = tomllib.loads(Path(__file__).parents[3].joinpath("pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    declared = project["entry-points"]["pkigate.frontends"]["est"]
    assert EntryPoint("est", declared, "pkigate.frontends").load() is EstFrontEnd
    assert (EstFrontEnd.name, EstFrontEnd.options_model) == ("est", EstOptions)


@pytest.mark.parametrize(
    "options",
    [
        {"wrap": "65"},
        {"wrap": 65},
        {"realm": 'a"b'},
        {"realm": ""},
        {"realm": "a\nb"},
        {"max_body_bytes": 10},
        {"csrattrs_empty_status": 500},
        {"cacert": "chain"},
    ],
)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EstOptions.model_validate(options)


def test_every_option_has_a_description_and_a_default() -> None:
    for name, field in EstOptions.model_fields.items():
        assert field.description, name
        assert not field.is_required(), name
