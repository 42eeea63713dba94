"""Password-based MACs against OpenSSL and pyasn1, their bounds, and how often keys are derived.

cmp.md C36 to C38.
"""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import replace

import pytest
from pyasn1_alt_modules import rfc4211, rfc8018, rfc9044

from gateway.errors import MalformedMessage, Overloaded
from gateway.model.evidence import SecretBytes
from gateway.model.reasons import ReasonCode
from gateway.pki.mac_keys import INLINE_ITERATIONS, MacKeys
from gateway.pki.message_mac import (
    PASSWORD_BASED_MAC,
    PBMAC1,
    Gmac,
    Hmac,
    MacLimits,
    MacParameters,
    Pbmac1Parameters,
    PbmParameters,
    encode_mac_algorithm,
    hmac_with,
    read_mac_algorithm,
    with_fresh_salt,
)
from tests.support import cmp_pyasn1, pki

LIMITS = MacLimits(one_way_functions=MacLimits().one_way_functions | {"sha1"})
SECRET = SecretBytes(b"correct horse")
SALT = bytes(range(16))
MESSAGE = b"the protected part" * 20
NULL = b"\x05\x00"
SHA256 = pki.tlv(0x30, pki.oid("2.16.840.1.101.3.4.2.1"))
HMAC_SHA256 = pki.tlv(0x30, pki.oid("1.2.840.113549.2.9"), NULL)
HASHES = sorted(LIMITS.one_way_functions)
AES128_GMAC = "2.16.840.1.101.3.4.1.9"
AES256_GMAC = "2.16.840.1.101.3.4.1.49"
PBM = PbmParameters(SALT, "sha256", 500, hmac_with("sha1"))
PBKDF2 = Pbmac1Parameters(SALT, "sha512", 1000, 32, hmac_with("sha256"))


def openssl(*arguments: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(
        ["openssl", *arguments], input=stdin, capture_output=True, check=True, timeout=120
    ).stdout


def openssl_hash(name: str, octets: bytes) -> bytes:
    return openssl("dgst", f"-{name.replace('sha3_', 'sha3-')}", "-binary", stdin=octets)


def openssl_hmac(name: str, key: bytes, octets: bytes) -> bytes:
    digest = name.replace("sha3_", "sha3-")
    return openssl(
        "dgst", f"-{digest}", "-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}", "-binary", stdin=octets
    )


def openssl_gmac(key: bytes, nonce: bytes, octets: bytes) -> bytes:
    options = ("-macopt", f"hexkey:{key.hex()}", "-macopt", f"hexiv:{nonce.hex()}", "-binary", "GMAC")
    return openssl("mac", "-cipher", f"AES-{8 * len(key)}-GCM", *options, stdin=octets)


def openssl_pbm(parameters: PbmParameters) -> bytes:
    key = SECRET.reveal() + parameters.salt
    for _ in range(parameters.iterations):
        key = openssl_hash(parameters.owf, key)
    if isinstance(parameters.mac, Hmac):
        return openssl_hmac(parameters.mac.hash, key, MESSAGE)
    expanded = key + openssl_hash(parameters.owf, b"1" + key)
    return openssl_gmac(expanded[: parameters.mac.key_octets], parameters.mac.nonce, MESSAGE)


@pytest.mark.parametrize("owf", HASHES)
async def test_pbm_is_what_openssl_computes_step_by_step(owf: str) -> None:
    """RFC 9810 section 5.1.3.1 with every hash and every HMAC."""
    parameters = PbmParameters(SALT, owf, 3, hmac_with(owf))
    assert await MacKeys().mac(parameters, SECRET, MESSAGE) == openssl_pbm(parameters)


@pytest.mark.parametrize(("oid", "octets"), [(AES128_GMAC, 16), (AES256_GMAC, 32)])
async def test_gmac_key_longer_than_the_hash_is_expanded_as_the_rfc_says(oid: str, octets: int) -> None:
    """RFC 9810 section 5.1.3.1: OWF("1" || BASEKEY) follows; SHA-1 is shorter than an AES-256 key."""
    parameters = PbmParameters(SALT, "sha1", 2, Gmac(oid, octets, b"n" * 12))
    assert await MacKeys().mac(parameters, SECRET, MESSAGE) == openssl_pbm(parameters)


@pytest.mark.parametrize("prf", ["sha1", "sha256", "sha512"])
async def test_pbmac1_is_what_openssl_computes_in_two_steps(prf: str) -> None:
    """RFC 8018 section 7.1."""
    parameters = Pbmac1Parameters(SALT, prf, 5000, 48, hmac_with("sha384"))
    derived = openssl(
        *("kdf", "-keylen", "48", "-kdfopt", f"digest:{prf}", "-kdfopt", f"pass:{SECRET.reveal().decode()}"),
        *("-kdfopt", f"hexsalt:{SALT.hex()}", "-kdfopt", "iter:5000", "-binary", "PBKDF2"),
    )
    assert await MacKeys().mac(parameters, SECRET, MESSAGE) == openssl_hmac("sha384", derived, MESSAGE)


EVERY = [
    PBM,
    replace(PBM, mac=Hmac("sha1", "1.3.6.1.5.5.8.1.2")),
    *(PbmParameters(SALT, name, 1000, hmac_with(name)) for name in HASHES),
    replace(PBM, mac=Gmac(AES128_GMAC, 16, b"n" * 12)),
    PBKDF2,
    replace(PBKDF2, mac=Gmac(AES256_GMAC, 32, b"n" * 12)),
    *(Pbmac1Parameters(SALT, name, 1000, 20, hmac_with(name)) for name in HASHES),
]


@pytest.mark.parametrize("parameters", EVERY, ids=lambda one: f"{type(one).__name__}-{one.mac}")
def test_algorithm_is_what_pyasn1_reads_and_comes_back_equal(parameters: MacParameters) -> None:
    encoded = encode_mac_algorithm(parameters)
    assert read_mac_algorithm(encoded, LIMITS) == parameters
    algorithm = cmp_pyasn1.read(encoded, cmp_pyasn1.rfc5280.AlgorithmIdentifier())
    inner = bytes(algorithm["parameters"])
    if isinstance(parameters, PbmParameters):
        assert str(algorithm["algorithm"]) == PASSWORD_BASED_MAC
        read = cmp_pyasn1.read(inner, rfc4211.PBMParameter())
        assert (bytes(read["salt"]), int(read["iterationCount"])) == (SALT, parameters.iterations)
        mac = read["mac"]
    else:
        assert str(algorithm["algorithm"]) == PBMAC1
        read = cmp_pyasn1.read(inner, rfc8018.PBMAC1_params())
        kdf = cmp_pyasn1.read(bytes(read["keyDerivationFunc"]["parameters"]), rfc8018.PBKDF2_params())
        assert (bytes(kdf["salt"]["specified"]), int(kdf["iterationCount"])) == (SALT, 1000)
        assert int(kdf["keyLength"]) == parameters.key_octets
        mac = read["messageAuthScheme"]
    assert str(mac["algorithm"]) == parameters.mac.oid
    if isinstance(parameters.mac, Gmac):
        gmac = cmp_pyasn1.read(bytes(mac["parameters"]), rfc9044.GCMParameters())
        assert bytes(gmac["nonce"]) == b"n" * 12


def test_signature_algorithm_is_no_mac() -> None:
    assert read_mac_algorithm(pki.tlv(0x30, pki.oid("1.2.840.10045.4.3.2")), LIMITS) is None


def pbm(
    salt: bytes = SALT, owf: bytes = SHA256, count: bytes = b"\x01\xf4", mac: bytes = HMAC_SHA256
) -> bytes:
    fields = (pki.tlv(0x04, salt), owf, pki.tlv(0x02, count), mac)
    return pki.tlv(0x30, pki.oid(PASSWORD_BASED_MAC), pki.tlv(0x30, *fields))


def pbmac1(*kdf_fields: bytes, kdf_oid: str = "1.2.840.113549.1.5.12", mac: bytes = HMAC_SHA256) -> bytes:
    kdf = pki.tlv(0x30, pki.oid(kdf_oid), pki.tlv(0x30, *kdf_fields))
    return pki.tlv(0x30, pki.oid(PBMAC1), pki.tlv(0x30, kdf, mac))


def gmac(oid: str = AES128_GMAC, nonce: bytes = b"n" * 12, length: bytes | None = b"\x10") -> bytes:
    fields = pki.tlv(0x04, nonce) + (b"" if length is None else pki.tlv(0x02, length))
    return pki.tlv(0x30, pki.oid(oid), pki.tlv(0x30, fields))


OCTETS, COUNT, PRF = pki.tlv(0x04, SALT), pki.tlv(0x02, b"\x03\xe8"), HMAC_SHA256
SHA1 = pki.tlv(0x30, pki.oid("1.3.14.3.2.26"), NULL)
MD5 = pki.tlv(0x30, pki.oid("1.2.840.113549.2.5"), NULL)
HMAC_MD5 = pki.tlv(0x30, pki.oid("1.3.6.1.5.5.8.1.1"), NULL)
OUT_OF_BOUNDS = {
    "99 iterations": (pbm(count=b"\x63"), "iterationCount of 99; 100 to 100000"),
    "no iteration": (pbm(count=b"\x00"), "iterationCount of 0"),
    "negative iterations": (pbm(count=b"\x81"), "iterationCount of -127"),
    "100001 iterations": (pbm(count=b"\x01\x86\xa1"), "iterationCount of 100001"),
    "salt of 7": (pbm(salt=bytes(7)), "a salt of 7 octets; 8 to 128"),
    "salt of 129": (pbm(salt=bytes(129)), "a salt of 129 octets"),
    "owf MD5": (pbm(owf=MD5), "hash function 1.2.840.113549.2.5 is not supported"),
    "owf SHA-1": (pbm(owf=SHA1), "SHA1 is not accepted for deriving a key"),
    "owf with parameters": (pbm(owf=pki.tlv(0x30, pki.oid("1.3.14.3.2.26"), SHA1)), "not supported"),
    "HMAC-MD5": (pbm(mac=HMAC_MD5), "the MAC 1.3.6.1.5.5.8.1.1 is not supported"),
    "short GMAC": (pbm(mac=gmac(length=None)), "16 octets"),
    "GMAC of 12 octets": (pbm(mac=gmac(length=b"\x0c")), "16 octets"),
    "GMAC with a long nonce": (pbm(mac=gmac(nonce=bytes(13))), "nonce of 12 octets, not 13"),
    "scrypt": (pbmac1(OCTETS, COUNT, kdf_oid="1.3.6.1.4.1.11591.4.11"), "use PBKDF2"),
    "PBKDF2 with SHA-1 by default": (pbmac1(OCTETS, COUNT), "PBKDF2 with HMAC-SHA1"),
    "PBKDF2 with MD5": (pbmac1(OCTETS, COUNT, HMAC_MD5), "not supported for deriving"),
    "PBKDF2 with many iterations": (pbmac1(OCTETS, pki.tlv(0x02, b"\x0f\x42\x40"), PRF), "of 1000000"),
    "PBKDF2 for a short key": (pbmac1(OCTETS, COUNT, pki.tlv(0x02, b"\x0f"), PRF), "keyLength 15"),
    "PBKDF2 for a long key": (pbmac1(OCTETS, COUNT, pki.tlv(0x02, b"\x41"), PRF), "keyLength 65"),
    "GMAC with a key of another length": (
        pbmac1(OCTETS, COUNT, pki.tlv(0x02, b"\x20"), PRF, mac=gmac()),
        "keyLength 32 does not fit the MAC; use 16",
    ),
}


@pytest.mark.parametrize("name", OUT_OF_BOUNDS)
def test_algorithm_out_of_bounds_is_refused_with_the_bounds(name: str) -> None:
    """cmp.md C36, C37: before anything is derived."""
    algorithm_der, hint = OUT_OF_BOUNDS[name]
    with pytest.raises(MalformedMessage, match=hint) as caught:
        read_mac_algorithm(algorithm_der, MacLimits())
    assert caught.value.code is ReasonCode.MESSAGE_ALGORITHM
    assert caught.value.path == "protectionAlg"


@pytest.mark.parametrize(
    "algorithm_der",
    [
        b"\x30\x00",
        pki.tlv(0x30, NULL),
        pki.tlv(0x30, pki.oid(PASSWORD_BASED_MAC)),
        pki.tlv(0x30, pki.oid(PASSWORD_BASED_MAC), NULL),
        pki.tlv(0x30, pki.oid(PASSWORD_BASED_MAC), NULL, NULL),
        pki.tlv(0x30, pki.oid(PASSWORD_BASED_MAC), pki.tlv(0x30, SHA256)),
        pki.tlv(0x30, pki.oid(PBMAC1), pki.tlv(0x30, SHA256)),
        pbmac1(COUNT, OCTETS),
        pbmac1(OCTETS, COUNT, NULL),
        pbmac1(),
        pbm(owf=NULL),
        pbm(owf=pki.tlv(0x30, NULL)),
        pbm(count=b"\x00\x01"),
        pbm(count=b"\x01" * 9),
    ],
    ids=lambda octets: octets.hex()[-24:],
)
def test_malformed_algorithm_is_refused(algorithm_der: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        read_mac_algorithm(algorithm_der, MacLimits())
    assert caught.value.code is ReasonCode.MESSAGE_ASN1


def test_default_limits_admit_what_openssl_sends_and_the_floor_can_be_raised() -> None:
    """cmp.md D: owf sha256, hmac-sha1, 500 iterations."""
    encoded = encode_mac_algorithm(PBM)
    assert read_mac_algorithm(encoded, MacLimits()) == PBM
    with pytest.raises(MalformedMessage, match="500; 1000 to"):
        read_mac_algorithm(encoded, MacLimits(min_iterations=1000))
    with pytest.raises(MalformedMessage, match="HMAC-SHA1 is not accepted"):
        read_mac_algorithm(encoded, MacLimits(hmac_sha1=False))


def test_missing_key_length_of_pbkdf2_is_that_of_the_mac() -> None:
    read = read_mac_algorithm(pbmac1(OCTETS, COUNT, PRF), MacLimits())
    assert read == Pbmac1Parameters(SALT, "sha256", 1000, 32, hmac_with("sha256"))


def test_fresh_salt_changes_salt_and_nonce_only() -> None:
    short = replace(PBM, salt=bytes(8), mac=Gmac(AES128_GMAC, 16, b"n" * 12))
    fresh = with_fresh_salt(short)
    assert isinstance(fresh, PbmParameters)
    assert isinstance(fresh.mac, Gmac)
    assert (len(fresh.salt), len(fresh.mac.nonce)) == (16, 12)
    assert fresh.salt != with_fresh_salt(short).salt
    assert fresh.mac.nonce != b"n" * 12
    assert replace(fresh, salt=bytes(8), mac=short.mac) == short


async def test_right_mac_lets_the_key_be_derived_once_for_the_transaction() -> None:
    """certConf, pollReq and our answers with the same parameters cost no second derivation."""
    keys = MacKeys()
    mac = await MacKeys().mac(PBM, SECRET, MESSAGE)
    assert await keys.is_right(PBM, SECRET, MESSAGE, mac)
    assert await keys.is_right(PBM, SecretBytes(b"correct horse"), MESSAGE, mac)
    assert await keys.mac(PBM, SECRET, MESSAGE) == mac
    assert keys.derived_count == 1
    for other in (
        replace(PBM, salt=SALT[::-1]),
        replace(PBM, iterations=501),
        replace(PBM, owf="sha384"),
        replace(PBKDF2, salt=SALT),
    ):
        assert not await keys.is_right(other, SECRET, MESSAGE, mac)
    assert keys.derived_count == 5


async def test_wrong_mac_is_refused_and_its_key_is_not_remembered() -> None:
    """cmp.md C35: nobody learns from the time which references exist."""
    keys = MacKeys()
    mac = await keys.mac(PBM, SECRET, MESSAGE)
    for wrong in (mac[:-1], b"", mac[:-1] + bytes((mac[-1] ^ 1,)), mac + b"\x00"):
        assert not await keys.is_right(PBM, SECRET, MESSAGE, wrong)
        assert not await keys.is_right(PBM, SecretBytes(b"another"), MESSAGE, mac)
    assert keys.derived_count == 9


async def test_key_is_forgotten_after_its_time_and_the_oldest_first() -> None:
    now = 0.0
    keys = MacKeys(most=2, lifetime_s=10, monotonic=lambda: now)
    choices = [replace(PBM, salt=bytes((number,)) * 16) for number in range(3)]
    macs = [await MacKeys().mac(choice, SECRET, MESSAGE) for choice in choices]
    for choice, mac in zip(choices, macs, strict=True):
        assert await keys.is_right(choice, SECRET, MESSAGE, mac)
    assert keys.derived_count == 3
    assert await keys.is_right(choices[2], SECRET, MESSAGE, macs[2])
    assert keys.derived_count == 3
    assert await keys.is_right(choices[0], SECRET, MESSAGE, macs[0])
    assert keys.derived_count == 4
    now = 10.0
    assert await keys.is_right(choices[0], SECRET, MESSAGE, macs[0])
    assert keys.derived_count == 5


async def test_long_derivation_leaves_the_event_loop_running() -> None:
    turns = 0
    task = asyncio.create_task(MacKeys().mac(replace(PBKDF2, iterations=100_000), SECRET, MESSAGE))
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    assert len(task.result()) == 32
    assert turns > 2


async def test_too_many_long_derivations_at_once_are_put_off() -> None:
    """cmp.md C86: bounded CPU; what is cheap still goes through."""
    keys = MacKeys()
    slow = replace(PBM, iterations=INLINE_ITERATIONS + 1)
    results = await asyncio.gather(
        *(keys.mac(slow, SECRET, MESSAGE) for _ in range(70)), return_exceptions=True
    )
    assert sum(isinstance(result, Overloaded) for result in results) == 6
    assert keys.derived_count == 64
    assert await keys.mac(slow, SECRET, MESSAGE) == results[0]
    assert len(await keys.mac(PBM, SECRET, MESSAGE)) == 20


async def test_neither_secret_nor_key_shows_itself() -> None:
    keys = MacKeys()
    mac = await keys.mac(PBM, SECRET, MESSAGE)
    assert await keys.is_right(PBM, SECRET, MESSAGE, mac)
    assert "horse" not in f"{vars(keys)} {keys!r} {PBM!r}"
    assert SALT.hex() not in repr(PBM)
