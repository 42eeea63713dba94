"""Generated GeneralNames, good and bad, of every kind: as DER, and with a text that says something else."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from hypothesis import strategies as st

from gateway.model.names import GeneralName, NameKind
from tests.support.name_oracle import OID_CN, OID_O, OID_OTHER, OID_UPN, RULES, rdn
from tests.support.pki import tlv

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
    st.builds(rdn, st.sampled_from([OID_O, OID_O, OID_CN]), string_tags, texts), min_size=0, max_size=3
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


def cases(index: int) -> st.SearchStrategy[tuple[int, list[bytes]]]:
    """Mostly names of the kind that the rule is about, and ones that are nearly allowed."""
    own, good = OF_KIND[RULES[index].kind], RULES[index].good
    name = st.one_of(own, own, general_names, *([_near(good)] * 3 if good else []))
    return st.tuples(st.just(index), st.lists(name, min_size=1, max_size=3))


def forgeries(index: int) -> st.SearchStrategy[tuple[int, list[GeneralName]]]:
    """What a front end could hand over if its decoder failed: text and DER that say different things."""
    kind = RULES[index].kind
    text, own = VALUES.get(kind, addresses), OF_KIND[kind]
    names = st.builds(
        GeneralName, st.just(kind), text, st.one_of(own, own, general_names, st.binary(max_size=8))
    )
    return st.tuples(st.just(index), st.lists(names, min_size=1, max_size=3))
