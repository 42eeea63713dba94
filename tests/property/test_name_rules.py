"""No name outside a rule is ever issued.

GeneralNames are generated for every kind of rule; the names of each plan are read again from their DER by
``cryptography`` and judged by an oracle that is written here. The oracle shares no code with the engine: it
reads patterns by Python's ``re`` and domains by splitting them; what it cannot tell, it does not allow.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MalformedMessage
from gateway.model.decision import Deny
from gateway.model.enrolment import EnrolmentRequest, RequestedIdentity
from gateway.model.evidence import BASIC, Evidence, VerifiedCredential
from gateway.model.names import DistinguishedName, GeneralName, NameKind
from gateway.pki.names import decode_general_names, encode_general_names
from gateway.policy.rules import Bundle
from tests.support.pki import csr, shared_key, tlv
from tests.unit.policy.name_sample import READS
from tests.unit.policy.sample import decide, load, policy, request

UPN = "1.3.6.1.4.1.311.20.2.3"
SERIAL, SITE = "A1-7", "north.prague"
OUTER, SAN = 0x30, x509.ObjectIdentifier("2.5.29.17")
OID_UPN, OID_OTHER = bytes.fromhex("060a2b060104018237140203"), bytes.fromhex("06022a03")
OID_CN, OID_O = bytes.fromhex("0603550403"), bytes.fromhex("060355040a")


@dataclass(frozen=True)
class Rule:
    """A rule as YAML, and what it allows, in other words than the engine's."""

    yaml: str
    allows: Callable[[x509.GeneralName], bool]
    good: bytes = b""  # a GeneralName that it allows
    kind: NameKind = NameKind.DNS


def _dns(name: x509.GeneralName) -> str | None:
    return name.value if isinstance(name, x509.DNSName) else None


def _labels_under(host: str, suffix: str) -> bool:
    return host.split(".")[-len(suffix.split(".")) :] == suffix.split(".")


def _rdn(oid: bytes, tag: int, text: str) -> bytes:
    return tlv(0x31, tlv(0x30, oid, tlv(tag, text.encode("utf-8", "surrogatepass"))))


def _host(text: str) -> bytes:
    return tlv(0x82, text.encode())


def _suffix(suffix: str, *, wildcard: bool, most: int = 127) -> Rule:
    def allows(name: x509.GeneralName) -> bool:
        host = _dns(name)
        if host is None or len(host.split(".")) > most:
            return False
        star = host.split(".")[0] == "*"
        return _labels_under(host, suffix) and host.count("*") == int(star) and (wildcard or not star)

    word = "allow" if wildcard else "deny"
    return Rule(
        f"dns: {{suffix: [{suffix}], wildcard: {word}, max_labels: {most}}}", allows, _host("X." + suffix)
    )


def _glob(pattern: str) -> Rule:
    good = _host(pattern.replace("*", "7"))

    def allows(name: x509.GeneralName) -> bool:
        host = _dns(name)
        if host is None or "*" in host:
            return False
        expected, found = pattern.split("."), host.split(".")
        return len(expected) == len(found) and all(
            re.fullmatch(re.escape(want).replace(r"\*", "[^.]+"), have)
            and (want == "*" or not have.startswith("xn--") or want.startswith("xn--"))
            for want, have in zip(expected, found, strict=True)
        )

    return Rule(f'dns: {{glob: ["{pattern}"]}}', allows, good)


def _regex(pattern: str, good: str) -> Rule:
    def allows(name: x509.GeneralName) -> bool:
        host = _dns(name)
        return host is not None and "*" not in host and re.fullmatch(pattern, host) is not None

    return Rule(f"dns: {{regex: ['{pattern}']}}", allows, _host(good))


def _exactly(yaml: str, *names: str) -> Rule:
    def allows(name: x509.GeneralName) -> bool:
        return _dns(name) in names

    return Rule(yaml, allows, *map(_host, names[:1]))


def _network(text: str, good: str) -> Rule:
    def allows(name: x509.GeneralName) -> bool:
        return isinstance(name, x509.IPAddress) and name.value in ipaddress.ip_network(text)

    return Rule(
        f'ip: {{cidr: ["{text}"]}}', allows, tlv(0x87, ipaddress.ip_address(good).packed), NameKind.IP
    )


def _mail(suffix: str) -> Rule:
    def allows(name: x509.GeneralName) -> bool:
        if not isinstance(name, x509.RFC822Name):
            return False
        local, domain = name.value.split("@")
        return bool(local) and domain == domain.lower() and _labels_under(domain, suffix)

    return Rule(f"email: {{suffix: [{suffix}]}}", allows, tlv(0x81, b"Me@A.test"), NameKind.EMAIL)


def _uri(prefix: str) -> Rule:
    def allows(name: x509.GeneralName) -> bool:
        if not isinstance(name, x509.UniformResourceIdentifier) or ".." in name.value:
            return False
        authority = name.value.split("/")[2]
        return name.value.startswith(prefix) and "@" not in authority and "%2e" not in name.value.lower()

    return Rule(f'uri: {{prefix: ["{prefix}"]}}', allows, tlv(0x86, prefix.encode() + b"y"), NameKind.URI)


def _any_uri() -> Rule:
    def allows(name: x509.GeneralName) -> bool:
        if not isinstance(name, x509.UniformResourceIdentifier):
            return False
        found = re.fullmatch(r"([a-z0-9+.-]+)://([^/?#]*)(.*)", name.value)
        return found is not None and "@" not in found[2] and ".." not in name.value

    return Rule("uri: {regex: ['[a-z]+://.*']}", allows, tlv(0x86, b"HTTPS://A.test/X"), NameKind.URI)


def _upn(suffix: str) -> Rule:
    def allows(name: x509.GeneralName) -> bool:
        if not isinstance(name, x509.OtherName) or name.type_id.dotted_string != UPN:
            return False
        text = name.value[2:].decode("utf-8")
        if name.value[:2] != bytes([0x0C, len(text.encode())]) or text.count("@") != 1:
            return False
        return text.isprintable() and _labels_under(text.split("@")[1], suffix)

    good = tlv(0xA0, OID_UPN, tlv(0xA0, tlv(0x0C, b"Me@" + suffix.encode())))
    return Rule(f"other: {{allow: {{upn: {{suffix: [{suffix}]}}}}}}", allows, good, NameKind.OTHER)


def _other_value(type_id: str, text: str) -> Rule:
    def allows(name: x509.GeneralName) -> bool:
        wanted = bytes([0x0C, len(text)]) + text.encode()
        return isinstance(name, x509.OtherName) and (name.type_id.dotted_string, name.value) == (
            type_id,
            wanted,
        )

    good = tlv(0xA0, OID_OTHER, tlv(0xA0, tlv(0x0C, text.encode())))
    return Rule(f"other: {{allow: {{'{type_id}': {{der: [DAR0ZXN0]}}}}}}", allows, good, NameKind.OTHER)


def _directory() -> Rule:
    def allows(name: x509.GeneralName) -> bool:
        if not isinstance(name, x509.DirectoryName):
            return False
        pairs = [(one.oid.dotted_string, str(one.value)) for one in name.value]
        return (
            len(pairs) >= 1
            and (pairs[0][0], pairs[0][1].lower().strip()) == ("2.5.4.10", "example")
            and all(oid == "2.5.4.3" and re.fullmatch("dev-[0-9]+", value) for oid, value in pairs[1:])
            and len(pairs) <= 2
        )

    yaml = "directory: {under: ['O=Example'], attributes: {CN: {regex: ['dev-[0-9]+']}}}"
    good = tlv(0xA4, tlv(0x30, _rdn(OID_O, 0x13, "Example"), _rdn(OID_CN, 0x0C, "dev-7")))
    return Rule(yaml, allows, good, NameKind.DIRECTORY)


def _registered() -> Rule:
    def allows(name: x509.GeneralName) -> bool:
        return isinstance(name, x509.RegisteredID) and name.value.dotted_string.split(".")[:3] == [
            "1",
            "3",
            "6",
        ]

    return Rule(
        "registered_id: {under: ['1.3.6']}", allows, tlv(0x88, b"\x2b\x06\x01"), NameKind.REGISTERED_ID
    )


RULES = (
    _suffix("a.test", wildcard=False),
    _suffix("a.test", wildcard=True),
    _suffix("test", wildcard=True, most=2),
    _suffix("xn--bcher-kva.test", wildcard=False),
    _glob("*.a.test"),
    _glob("x*.test"),
    _glob("web-*.*.test"),
    _regex(r"(web|x)[0-9a-z.-]*\.test", "web-1.b.test"),
    _regex(r"[^x]+", "Any.Where"),
    _exactly('dns: {template: ["${client.serial}.a.test"]}', "a1-7.a.test"),
    _exactly('dns: {template: ["${client.label.site}.a.test"]}'),  # its dot is refused
    _exactly('dns: {template: ["${client.label.site|dns}.a.test"]}', "north.prague.a.test"),
    _exactly('dns: {template: ["${client.label.none}.a.test"]}'),
    _network("10.0.0.0/8", "::ffff:10.0.0.1"),
    _network("2001:db8::/32", "2001:db8::1"),
    _network("::/0", "::10.0.0.1"),
    _mail("a.test"),
    _uri("https://a.test/x/"),
    _any_uri(),
    _upn("a.test"),
    _other_value("1.2.3", "test"),
    _directory(),
    _registered(),
)
EXTRAS = ("deny", "drop")


def _bundle(rules: tuple[Rule, ...], extra: str) -> Bundle:
    names = f"subject: {{}}\ncn_in_san: false\non_extra: {extra}\n" + "\n".join(rule.yaml for rule in rules)
    return load(policy(names=names, authenticate=READS))


BUNDLES = {(index, extra): _bundle((rule,), extra) for index, rule in enumerate(RULES) for extra in EXTRAS}

hosts = st.one_of(
    st.sampled_from(
        [
            *(
                "a.test",
                "x.a.test",
                "X.A.Test",
                "xa.test",
                "a.test.",
                ".a.test",
                "a..test",
                "*.a.test",
                "*.test",
            ),
            *("*", "*.*.a.test", "x.*.test", "a*.test", "web-1.b.test", "xn--bcher-kva.test", "bücher.test"),
            *(
                "XN--BCHER-KVA.TEST",
                "xn--a.test",
                "www.xn--bcher-kva.test",
                "a.test\0.evil.com",
                "\u212a.test",
            ),
            *(
                "evil.com",
                "a.test.evil.com",
                "bad\u0430.test",
                "10.0.0.1",
                "a1-7.a.test",
                "A1-7.A.TEST",
                "a.test\n",
            ),
            *("north.prague.a.test", "north.a.test", "x1.test", "x" * 64 + ".test", "a." * 120 + "a.test"),
        ]
    ),
    st.from_regex(r"[a-zA-Z0-9*._\-]{1,12}\.(a\.)?test", fullmatch=True),
    st.text(max_size=10),
)
mailboxes = st.builds(
    lambda local, host: f"{local}@{host}",
    st.sampled_from(["me", "Me", "a b", "", "x@y", "<x>", "m\0e"]),
    hosts,
)
uris = st.one_of(
    st.builds(
        lambda head, host, tail: head + host + tail,
        st.sampled_from(["https://", "HTTPS://", "https://me@", "https://a.test@", "spiffe://", "//", ""]),
        hosts,
        st.sampled_from(["", "/x/", "/x/../y", "/x/%2e%2e/y", "/x", "/x/y?a@b#c", "/X/", "\\@evil.com"]),
    ),
    st.sampled_from(["https://a.test/x/y", "urn:dev:x", "mailto:me@a.test", "javascript:alert(1)"]),
)
octets = st.one_of(
    st.sampled_from(
        [
            bytes([10, 0, 0, 1]),
            bytes([11, 0, 0, 1]),
            ipaddress.ip_address("2001:db8::1").packed,
            ipaddress.ip_address("::ffff:10.0.0.1").packed,
            ipaddress.ip_address("::ffff:11.0.0.1").packed,
            ipaddress.ip_address("::10.0.0.1").packed,
            bytes([10, 0, 0, 0, 255, 0, 0, 0]),
        ]
    ),
    st.binary(max_size=17),
)
string_tags = st.sampled_from([0x0C, 0x13, 0x16, 0x14, 0x1E, 0x04])
texts = st.one_of(
    mailboxes, st.sampled_from(["test", "me@a.test", "Example", "example ", "dev-7", "dev-x", "dev-7\0"])
)


def _text(tag: int) -> Callable[[str], bytes]:
    return lambda text: tlv(tag, text.encode("utf-8", "surrogatepass"))


others = st.builds(
    lambda oid, tag, text: tlv(0xA0, oid, tlv(0xA0, _text(tag)(text))),
    st.sampled_from([OID_UPN, OID_OTHER]),
    string_tags,
    texts,
)
directories = st.lists(
    st.builds(_rdn, st.sampled_from([OID_O, OID_O, OID_CN]), string_tags, texts), min_size=0, max_size=3
).map(lambda rdns: tlv(0xA4, tlv(0x30, *rdns)))
registered = st.sampled_from(["2b06", "2b0601", "2b0701", "2b8601", "2a03", "ff", ""]).map(
    lambda content: tlv(0x88, bytes.fromhex(content))
)
general_names = st.one_of(
    hosts.map(_text(0x82)),
    mailboxes.map(_text(0x81)),
    uris.map(_text(0x86)),
    octets.map(lambda value: tlv(0x87, value)),
    others,
    directories,
    registered,
    st.binary(max_size=6).map(lambda value: tlv(0xA3, value)),
    st.binary(max_size=6).map(lambda value: tlv(0xA5, value)),
)
OF_KIND = {
    NameKind.DNS: hosts.map(_text(0x82)),
    NameKind.EMAIL: mailboxes.map(_text(0x81)),
    NameKind.URI: uris.map(_text(0x86)),
    NameKind.IP: octets.map(lambda value: tlv(0x87, value)),
    NameKind.OTHER: others,
    NameKind.DIRECTORY: directories,
    NameKind.REGISTERED_ID: registered,
}
VALUES = {NameKind.DNS: hosts, NameKind.EMAIL: mailboxes, NameKind.URI: uris}
addresses = st.sampled_from(
    ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "fe80::1%eth0", "10.0.0.01", "::1"]
)


def _near(good: bytes) -> st.SearchStrategy[bytes]:
    """An allowed name, as it is or with one octet changed."""
    bent = st.builds(
        lambda at, octet: good[:at] + bytes([octet]) + good[at + 1 :],
        st.integers(0, len(good) - 1),
        st.integers(0, 255),
    )
    return st.one_of(st.just(good), bent)


def _cases(index: int) -> st.SearchStrategy[tuple[int, list[bytes]]]:
    """Mostly names of the kind that the rule is about, and ones that are nearly allowed."""
    own, good = OF_KIND[RULES[index].kind], RULES[index].good
    name = st.one_of(own, own, general_names, *([_near(good)] * 3 if good else []))
    return st.tuples(st.just(index), st.lists(name, min_size=1, max_size=3))


def _forgeries(index: int) -> st.SearchStrategy[tuple[int, list[GeneralName]]]:
    """What a front end could hand over if its decoder failed: text and DER that say different things."""
    kind = RULES[index].kind
    text, own = VALUES.get(kind, addresses), OF_KIND[kind]
    names = st.builds(
        GeneralName, st.just(kind), text, st.one_of(own, own, general_names, st.binary(max_size=8))
    )
    return st.tuples(st.just(index), st.lists(names, min_size=1, max_size=3))


def _requested(names_der: list[bytes]) -> tuple[GeneralName, ...]:
    """As a front end reads them; a name that it refuses never comes to the engine."""
    found: list[GeneralName] = []
    for name_der in names_der:
        try:
            found += decode_general_names(tlv(OUTER, name_der))
        except MalformedMessage:
            continue
    return tuple(found)


def _signed(names: tuple[GeneralName, ...]) -> list[x509.GeneralName]:
    """The names of a plan as ``cryptography`` reads them, by way of a CSR."""
    if not names:
        return []
    extension = x509.UnrecognizedExtension(SAN, encode_general_names(names))
    csr_der = csr(shared_key("P-256"), cn="x", extensions=[(extension, False)])
    found = x509.load_der_x509_csr(csr_der).extensions
    return list(found.get_extension_for_class(x509.SubjectAlternativeName).value)


CLIENT = Evidence(
    (VerifiedCredential(BASIC, "basic:1", "device", labels=(("site", SITE),), facts=(("serial", SERIAL),)),)
)


def _wanted(names: tuple[GeneralName, ...]) -> EnrolmentRequest:
    return replace(request(), identity=RequestedIdentity(DistinguishedName(), names))


def _hold(index: int, extra: str, names: tuple[GeneralName, ...]) -> int:
    """How many names are issued; each of them must be allowed."""
    rule = RULES[index]
    decision = decide(BUNDLES[index, extra], _wanted(names), CLIENT)
    if isinstance(decision, Deny):
        assert decision.reasons
        assert all(reason.code != "policy.crash" for reason in decision.reasons), decision
        return 0
    assert decision.plan is not None
    signed = _signed(decision.plan.sans)
    assert len(signed) == len(decision.plan.sans)
    for name in signed:
        assert rule.allows(name), (rule.yaml, name)
    return len(signed)


numbers = st.integers(0, len(RULES) - 1)


@given(numbers.flatmap(_cases), st.sampled_from(EXTRAS))
def test_no_name_outside_the_rule_is_issued(case: tuple[int, list[bytes]], extra: str) -> None:
    _hold(case[0], extra, _requested(case[1]))


@given(numbers.flatmap(_forgeries), st.sampled_from(EXTRAS))
def test_name_whose_text_and_der_differ_is_issued_as_it_was_judged(
    case: tuple[int, list[GeneralName]], extra: str
) -> None:
    _hold(case[0], extra, tuple(case[1]))


@pytest.mark.parametrize("index", range(len(RULES)))
def test_name_that_the_rule_allows_is_issued(index: int) -> None:
    """Else the properties above would hold of a gateway that refuses everything."""
    good = RULES[index].good
    assert _hold(index, "deny", _requested([good])) == 1 if good else True
