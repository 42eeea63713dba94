"""Facts of certificates: whatever stands in one, a fact is one short printable text, or the refusal is."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.enrolment import Extension
from gateway.model.names import ATTRIBUTE_OIDS, AttributeTypeAndValue, DistinguishedName
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.policy.extraction import (
    MAX_FACT_CHARACTERS,
    AskedOfCertificate,
    FactRule,
    NotAsAsked,
    check_asked,
    extracted,
    read_fact_pattern,
    read_source,
)
from tests.support import pki

SERIAL = ATTRIBUTE_OIDS["serialNumber"]
EXTENSION = "1.3.6.1.4.1.55555.8"
POLICIES = "2.5.29.32"
values = st.lists(st.text(max_size=300) | st.text("SN:A1", min_size=1, max_size=12), max_size=4)
sources = st.sampled_from(["subject.serialNumber", f"extension.{EXTENSION}", "san.dns", "serial"])
patterns = st.sampled_from([None, "SN:(.*)", "(?s).*", "(?:SN:)?([A-Z0-9]+)", "x*(y)?"])


@cache
def _certificate() -> ParsedCertificate:
    return parse_certificate(pki.Authority().issue(sans=["a.test", "b.test"]).certificate_der)


def _read(rule: FactRule, certificate: ParsedCertificate) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Why it is refused, "" if it is not, and the facts."""
    try:
        return "", extracted((rule,), certificate)
    except NotAsAsked as refusal:
        return str(refusal), ()


@given(values, st.binary(max_size=60), sources, patterns, st.booleans())
def test_fact_is_one_printable_text_or_refused_in_printable_words(
    found: list[str], content: bytes, source: str, pattern: str | None, required: bool
) -> None:
    subject = DistinguishedName(tuple((AttributeTypeAndValue(SERIAL, value),) for value in found))
    certificate = replace(_certificate(), subject=subject, extensions=(Extension(EXTENSION, False, content),))
    compiled = None if pattern is None else read_fact_pattern(pattern)
    rule = FactRule("serial", read_source(source), compiled, required)
    text, facts = _read(rule, certificate)
    assert text.isprintable()
    assert len(text) < 2000
    assert facts or text or not required
    for name, value in facts:
        assert name == "serial"
        assert value.isprintable()
        assert 1 <= len(value) <= MAX_FACT_CHARACTERS


@given(st.binary(max_size=80))
def test_certificate_policies_of_any_form_are_no_fault(content: bytes) -> None:
    """Random octets hold no policy 1.2.3: they are refused, and nothing else is raised."""
    certificate = replace(_certificate(), extensions=(Extension(POLICIES, False, content),))
    with pytest.raises(NotAsAsked, match=r"under the policy 1\.2\.3"):
        check_asked(AskedOfCertificate(policies=frozenset({"1.2.3"})), certificate)
