"""Directory names, otherNames and registered ids: judged by what will be signed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.asn1 import der
from gateway.model.enrolment import CertificatePlan
from gateway.model.names import (
    ATTRIBUTE_OIDS,
    AttributeTypeAndValue,
    DistinguishedName,
    GeneralName,
    NameKind,
)
from gateway.model.reasons import ReasonCode
from gateway.pki.names import directory_name, registered_id
from gateway.pki.other_names import HardwareModule, hardware_module_name, other_name, upn_name
from tests.unit.policy.name_sample import (
    NO,
    asked,
    bundle,
    client,
    planned,
    verdict,
)
from tests.unit.policy.sample import (
    decide,
    request,
)


def directory(*pairs: tuple[str, str], tag: int = 12) -> GeneralName:
    return directory_name(
        DistinguishedName(
            tuple((AttributeTypeAndValue(ATTRIBUTE_OIDS[kind], value, tag),) for kind, value in pairs)
        )
    )


RARE = {
    "upn": ("other: {allow: {upn: {suffix: [a.test]}}}", upn_name("Me@A.test"), None),
    "upn-elsewhere": ("other: {allow: {upn: {suffix: [a.test]}}}", upn_name("me@b.test"), NO),
    "upn-regex": ("other: {allow: {upn: {regex: ['[a-z]+@a\\.test']}}}", upn_name("me@A.test"), None),
    "upn-template": (
        "other: {allow: {upn: {template: ['${client.name}@a.test']}}}",
        upn_name("device-7@a.test"),
        None,
    ),
    "upn-any": ("other: {allow: {upn: {any: true}}}", upn_name("x@y"), None),
    "upn-by-oid": (
        "other: {allow: {'1.3.6.1.4.1.311.20.2.3': {suffix: [a.test]}}}",
        upn_name("me@a.test"),
        None,
    ),
    "upn-in-ia5": (
        "other: {allow: {upn: {any: true}}}",
        other_name("1.3.6.1.4.1.311.20.2.3", der.tlv(der.IA5_STRING, b"me@a.test")),
        ReasonCode.NAME_MALFORMED,
    ),
    "upn-with-null": (
        "other: {allow: {upn: {any: true}}}",
        other_name("1.3.6.1.4.1.311.20.2.3", der.tlv(der.UTF8_STRING, b"me\0@a.test")),
        ReasonCode.NAME_MALFORMED,
    ),
    "other-type": ("other: {allow: {upn: {any: true}}}", other_name("1.2.3", der.tlv(12, b"x")), NO),
    "hardware": (
        "other: {allow: {hardwareModuleName: {hw_type: ['1.2.3'], glob: ['GW-*']}}}",
        hardware_module_name(HardwareModule("1.2.3", b"GW-17")),
        None,
    ),
    "hardware-type": (
        "other: {allow: {hardwareModuleName: {hw_type: ['1.2.3']}}}",
        hardware_module_name(HardwareModule("1.2.4", b"GW-17")),
        NO,
    ),
    "hardware-serial": (
        "other: {allow: {hardwareModuleName: {template: ['${client.serial}']}}}",
        hardware_module_name(HardwareModule("1.2.3", b"A1")),
        None,
    ),
    "der": ("other: {allow: {'1.2.3': {der: [DAR0ZXN0]}}}", other_name("1.2.3", der.tlv(12, b"test")), None),
    "der-differs": (
        "other: {allow: {'1.2.3': {der: [DAR0ZXN0]}}}",
        other_name("1.2.3", der.tlv(12, b"tesu")),
        NO,
    ),
    "other-without-rule": ("dns: {suffix: [test]}", upn_name("me@a.test"), ReasonCode.NAME_KIND),
    "under": (
        "directory: {under: ['C=NO,O=Example']}",
        directory(("C", "no"), ("O", "example"), ("CN", "x")),
        None,
    ),
    "under-base": ("directory: {under: ['C=NO,O=Example']}", directory(("C", "NO"), ("O", "Example")), None),
    "not-under": ("directory: {under: ['C=NO,O=Example']}", directory(("O", "Example"), ("C", "NO")), NO),
    "attributes": (
        "directory: {under: ['O=Example'], attributes: {CN: {regex: ['dev-[0-9]+']}}}",
        directory(("O", "Example"), ("CN", "dev-1")),
        None,
    ),
    "attribute-value": (
        "directory: {under: ['O=Example'], attributes: {CN: {regex: ['dev-[0-9]+']}}}",
        directory(("O", "Example"), ("CN", "dev")),
        NO,
    ),
    "attribute-unnamed": (
        "directory: {attributes: {CN: {any: true}}}",
        directory(("CN", "x"), ("O", "Evil")),
        NO,
    ),
    "attribute-twice": (
        "directory: {attributes: {CN: {any: true}}}",
        directory(("CN", "x"), ("CN", "y")),
        NO,
    ),
    "registered": ("registered_id: {exact: ['1.2.3']}", registered_id("1.2.3"), None),
    "registered-under": ("registered_id: {under: ['1.2.3']}", registered_id("1.2.3.4"), None),
    "registered-arc": ("registered_id: {under: ['1.2.3']}", registered_id("1.2.34"), NO),
    "registered-itself": ("registered_id: {under: ['1.2.3']}", registered_id("1.2.3"), NO),
    "x400": (
        "other: {allow: {upn: {any: true}}}",
        GeneralName(NameKind.X400, "#00", b"\xa3\x00"),
        ReasonCode.NAME_KIND,
    ),
    "edi": (
        "dns: {regex: ['.*']}",
        GeneralName(NameKind.EDI_PARTY, "#00", b"\xa5\x00"),
        ReasonCode.NAME_KIND,
    ),
    "value-lies": (
        "registered_id: {exact: ['1.2.3']}",
        replace(registered_id("1.2.4"), value="1.2.3"),
        NO,
    ),
}


@pytest.mark.parametrize("case", RARE)
def test_rare_kind_is_judged_by_what_will_be_signed(case: str) -> None:
    rule, name, expected = RARE[case]
    found = asked(name, names=rule)
    assert verdict(found) == ([] if expected is None else [expected])


def test_rare_kinds_are_made_anew() -> None:
    teletex = directory(("O", "Example"), ("CN", "Zürich"), tag=20)
    found = asked(
        upn_name("Me@A.test"),
        teletex,
        names="other: {allow: {upn: {any: true}}}\ndirectory: {under: [O=Example]}",
    )
    assert isinstance(found, CertificatePlan)
    assert [str(name) for name in found.sans] == [
        "other:1.3.6.1.4.1.311.20.2.3=Me@a.test",
        "directory:O=Example,CN=Zürich",
    ]
    assert found.sans[1].der != teletex.der  # T61String is not signed any more


def test_rare_kinds_are_put_in() -> None:
    rules = bundle(
        'other: {add: [{upn: "${client.name}@corp.test"}]}\n'
        'directory: {add: [{O: Example, CN: "${client.name}"}]}\n'
        'registered_id: {add: ["1.2.3"]}\n'
    )
    plan = planned(decide(rules, request(), client()))
    assert list(map(str, plan.sans)) == [
        "directory:O=Example,CN=device-7",
        "other:1.3.6.1.4.1.311.20.2.3=device-7@corp.test",
        "registered-id:1.2.3",
    ]
