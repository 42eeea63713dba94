"""The short id that a client is told while it waits is one that the operator can use (est.md C39)."""

from __future__ import annotations

import re

from tests.support import pki
from tests.support.devices import device_name
from tests.support.labelled import Labelled


def test_short_id_in_the_202_is_known_to_the_commands(labelled: Labelled) -> None:
    """est.md C39"""
    host = device_name()
    answer = labelled.client("approval").simple_enroll(pki.device_csr(pki.key(), host))
    assert answer.status == 202
    found = re.search(r"\[pending, (PG-[0-9A-Z]{8})\]", answer.text)
    assert found is not None, answer.text
    assert host in str(labelled.gateway.cli_json("request", "show", found[1])["names"])
    labelled.gateway.cli("request", "reject", found[1])
    assert labelled.gateway.cli_json("request", "show", found[1])["state"] == "refused"
