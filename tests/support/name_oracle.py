"""Rules for names beside what they allow, said once more and otherwise than the engine does.

The oracle reads patterns by Python's ``re`` and domains by splitting them; what it cannot tell, it does not
allow. It judges names as ``cryptography`` reads them in a certificate.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509

from gateway.model.names import NameKind
from tests.support.pki import tlv

UPN = "1.3.6.1.4.1.311.20.2.3"
SERIAL, SITE = "A1-7", "north.prague"
SAN = x509.ObjectIdentifier("2.5.29.17")
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


def rdn(oid: bytes, tag: int, text: str) -> bytes:
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
    good = tlv(0xA4, tlv(0x30, rdn(OID_O, 0x13, "Example"), rdn(OID_CN, 0x0C, "dev-7")))
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
