"""/csrattrs (est.md C52 to C54; RFC 7030 section 4.5, RFC 8951 section 3.2, RFC 9908)."""

from __future__ import annotations

import base64
import subprocess

from tests.support.est_client import EstClient
from tests.support.labelled import Labelled

CHALLENGE_PASSWORD = "challengePassword"


def _parsed(client: EstClient) -> str:
    """The answer's structure as openssl sees it."""
    answer = client.having(user=None).csrattrs()
    assert answer.status == 200, answer.text
    assert answer.header("Content-Type") == "application/csrattrs"
    der = base64.b64decode(answer.body, validate=False)
    printed = subprocess.run(
        ["openssl", "asn1parse", "-inform", "DER"], input=der, capture_output=True, check=True
    )
    return printed.stdout.decode()


def test_csrattrs_need_no_credentials_and_are_a_sequence(client: EstClient) -> None:
    """est.md C52"""
    first = _parsed(client).splitlines()[0]
    assert "SEQUENCE" in first


def test_linking_is_asked_for_where_policy_requires_it(labelled: Labelled) -> None:
    """est.md C54"""
    assert CHALLENGE_PASSWORD in _parsed(labelled.client("linked"))


def test_linking_is_not_asked_for_where_policy_does_not_require_it(labelled: Labelled) -> None:
    """est.md C54"""
    answer = labelled.client("default").csrattrs()
    assert answer.status == 204 or CHALLENGE_PASSWORD not in _parsed(labelled.client("default"))


def test_older_list_and_template_are_not_mixed(labelled: Labelled) -> None:
    """est.md C53: never both an extensionRequest and its template (RFC 9908)."""
    parsed = _parsed(labelled.client("linked"))
    template = "1.2.840.113549.1.9.16.2.61"
    extension_request, its_template = "Extension Request", "1.2.840.113549.1.9.16.2.62"
    assert parsed.count(template + " ") <= 1
    assert not (extension_request in parsed and its_template in parsed)


def test_post_to_csrattrs_is_405(client: EstClient) -> None:
    """est.md C57"""
    answer = client.request("POST", client.path("csrattrs"), body=b"")
    assert answer.status == 405
    assert answer.header("Allow") == "GET, HEAD"
