"""Password-based MACs of messages: PBM (RFC 9810 section 5.1.3.1, RFC 4211 section 4.4, RFC 9045) and
PBMAC1 (RFC 8018 section 7.1), as parameters and as DER. Keys and MACs are made in ``mac_keys``.

Floors and caps are checked while reading, so nothing is derived for a sender who asks for too much.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace

from gateway.asn1 import der, typed
from gateway.errors import MalformedMessage
from gateway.model.reasons import ReasonCode
from gateway.pki.oids import oid_der, read_oid

PASSWORD_BASED_MAC = "1.2.840.113533.7.66.13"  # noqa: S105  an object identifier
PBMAC1 = "1.2.840.113549.1.5.14"
_PBKDF2 = "1.2.840.113549.1.5.12"
_HASH_OIDS = {
    "sha1": "1.3.14.3.2.26",
    "sha224": "2.16.840.1.101.3.4.2.4",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
    "sha3_224": "2.16.840.1.101.3.4.2.7",
    "sha3_256": "2.16.840.1.101.3.4.2.8",
    "sha3_384": "2.16.840.1.101.3.4.2.9",
    "sha3_512": "2.16.840.1.101.3.4.2.10",
}
_HASHES = {oid: name for name, oid in _HASH_OIDS.items()}
_HMAC_OIDS = {
    "sha1": "1.2.840.113549.2.7",
    "sha224": "1.2.840.113549.2.8",
    "sha256": "1.2.840.113549.2.9",
    "sha384": "1.2.840.113549.2.10",
    "sha512": "1.2.840.113549.2.11",
    "sha3_224": "2.16.840.1.101.3.4.2.13",
    "sha3_256": "2.16.840.1.101.3.4.2.14",
    "sha3_384": "2.16.840.1.101.3.4.2.15",
    "sha3_512": "2.16.840.1.101.3.4.2.16",
}
# RFC 4210 appendix D.2 and OpenSSL name HMAC-SHA1 by the OID of RFC 2202's author
_HMAC_SHA1_IPSEC = "1.3.6.1.5.5.8.1.2"
_HMACS = {oid: name for name, oid in _HMAC_OIDS.items()} | {_HMAC_SHA1_IPSEC: "sha1"}
_GMAC_KEY_OCTETS = {  # RFC 9044 section 2
    "2.16.840.1.101.3.4.1.9": 16,
    "2.16.840.1.101.3.4.1.29": 24,
    "2.16.840.1.101.3.4.1.49": 32,
}
_NULLS = (b"", b"\x05\x00")
_GMAC_NONCE_OCTETS = 12
_GMAC_OCTETS = 16  # RFC 9045 section 4.4: this length is the one to use
_MIN_KEY_OCTETS, _MAX_KEY_OCTETS = 16, 64
_PATH = "protectionAlg"


@dataclass(frozen=True, slots=True)
class MacLimits:
    """What a sender may choose. ``one_way_functions`` are hashlib's names, for PBM's owf and PBKDF2's prf."""

    min_iterations: int = 100  # RFC 9045 section 4.3: at least 100; OpenSSL sends 500
    max_iterations: int = 100_000
    min_salt_octets: int = 8  # RFC 4211 section 4.4
    max_salt_octets: int = 128
    one_way_functions: frozenset[str] = frozenset(_HASH_OIDS) - {"sha1"}
    hmac_sha1: bool = True  # OpenSSL's default; nothing is known against it as a MAC (RFC 6194 section 3.3)


@dataclass(frozen=True, slots=True)
class Hmac:
    """HMAC; ``oid`` as the message had it, since SHA-1 has two."""

    hash: str
    oid: str


@dataclass(frozen=True, slots=True)
class Gmac:
    """AES-GMAC with a MAC of 16 octets (RFC 9044)."""

    oid: str
    key_octets: int
    nonce: bytes


MacFunction = Hmac | Gmac


@dataclass(frozen=True, slots=True)
class PbmParameters:
    """PBMParameter (RFC 4211 section 4.4). ``owf`` is hashlib's name."""

    salt: bytes = field(repr=False)
    owf: str
    iterations: int
    mac: MacFunction


@dataclass(frozen=True, slots=True)
class Pbmac1Parameters:
    """PBMAC1 with PBKDF2 (RFC 8018 appendix A.5). ``prf`` is the hash of PBKDF2's HMAC."""

    salt: bytes = field(repr=False)
    prf: str
    iterations: int
    key_octets: int
    mac: MacFunction


MacParameters = PbmParameters | Pbmac1Parameters


def read_mac_algorithm(algorithm_der: bytes, limits: MacLimits) -> MacParameters | None:
    """Read an AlgorithmIdentifier; None if it is none of a password-based MAC.

    Raises MalformedMessage: ``message.asn1``, and ``message.algorithm`` for what is unknown or out of bounds.
    """
    oid, parameters = _algorithm(algorithm_der, "protectionAlg")
    if oid == PASSWORD_BASED_MAC:
        return _read_pbm(parameters, limits)
    return _read_pbmac1(parameters, limits) if oid == PBMAC1 else None


def encode_mac_algorithm(parameters: MacParameters) -> bytes:
    """Write the AlgorithmIdentifier."""
    salt, count = der.tlv(der.OCTET_STRING, parameters.salt), der.integer(parameters.iterations)
    mac = _encode_mac_function(parameters.mac)
    if isinstance(parameters, PbmParameters):
        owf = der.sequence(oid_der(_HASH_OIDS[parameters.owf]))
        return der.sequence(oid_der(PASSWORD_BASED_MAC), der.sequence(salt, owf, count, mac))
    prf = der.sequence(oid_der(_HMAC_OIDS[parameters.prf]), b"\x05\x00")
    kdf = der.sequence(oid_der(_PBKDF2), der.sequence(salt, count, der.integer(parameters.key_octets), prf))
    return der.sequence(oid_der(PBMAC1), der.sequence(kdf, mac))


def with_fresh_salt(parameters: MacParameters) -> MacParameters:
    """The same with new randomness: a salt of the same length, at least 16 octets."""
    salt = os.urandom(max(16, len(parameters.salt)))
    mac = parameters.mac
    if isinstance(mac, Gmac):
        mac = replace(mac, nonce=os.urandom(_GMAC_NONCE_OCTETS))
    return replace(parameters, salt=salt, mac=mac)


def hmac_with(hash_name: str) -> Hmac:
    """HMAC with a hash by hashlib's name, under the identifier of RFC 8018. Raises KeyError."""
    return Hmac(hash_name, _HMAC_OIDS[hash_name])


def _read_pbm(parameters: bytes, limits: MacLimits) -> PbmParameters:
    fields = _fields(parameters, "parameters of PBM")
    if [tag for tag, _ in fields] != [der.OCTET_STRING, der.SEQUENCE, der.INTEGER, der.SEQUENCE]:
        raise MalformedMessage("the parameters of PBM must be salt, owf, iterationCount and mac", path=_PATH)
    salt, owf, count, mac = (element for _, element in fields)
    oid, hash_parameters = _algorithm(owf, "owf")
    return PbmParameters(
        _read_salt(salt, limits),
        _read_hash(oid, hash_parameters, _HASHES, limits),
        _read_iterations(count, limits),
        _read_mac_function(mac, limits),
    )


def _read_pbmac1(parameters: bytes, limits: MacLimits) -> Pbmac1Parameters:
    fields = _fields(parameters, "parameters of PBMAC1")
    if [tag for tag, _ in fields] != [der.SEQUENCE, der.SEQUENCE]:
        raise MalformedMessage("the parameters of PBMAC1 must be a key derivation and a MAC", path=_PATH)
    oid, kdf_parameters = _algorithm(fields[0][1], "key derivation of PBMAC1")
    if oid != _PBKDF2:
        raise _refused(f"the key derivation {oid} is not supported; use PBKDF2")
    mac = _read_mac_function(fields[1][1], limits)
    fields = _fields(kdf_parameters, "parameters of PBKDF2")
    tags = [tag for tag, _ in fields]
    if tags[:2] != [der.OCTET_STRING, der.INTEGER] or tags[2:] not in (
        [],
        [der.INTEGER],
        [der.SEQUENCE],
        [der.INTEGER, der.SEQUENCE],
    ):
        raise MalformedMessage("the parameters of PBKDF2 are not those of RFC 8018 appendix A.2", path=_PATH)
    key_octets = _natural_key_octets(mac)
    prf = "sha1"  # the default of RFC 8018 appendix A.2
    for tag, element in fields[2:]:
        if tag == der.INTEGER:
            key_octets = _number(element, "keyLength")
        else:
            prf = _read_hash(*_algorithm(element, "prf"), _HMACS, limits)
    wrong_size = isinstance(mac, Gmac) and key_octets != mac.key_octets
    if not _MIN_KEY_OCTETS <= key_octets <= _MAX_KEY_OCTETS or wrong_size:
        raise _refused(f"the keyLength {key_octets} does not fit the MAC; use {_natural_key_octets(mac)}")
    if prf == "sha1" and "sha1" not in limits.one_way_functions:
        raise _refused("PBKDF2 with HMAC-SHA1 is not accepted; use HMAC-SHA256")
    return Pbmac1Parameters(
        _read_salt(fields[0][1], limits), prf, _read_iterations(fields[1][1], limits), key_octets, mac
    )


def _read_hash(oid: str, parameters: bytes, known: dict[str, str], limits: MacLimits) -> str:
    name = known.get(oid)
    if name is None or parameters not in _NULLS:
        raise _refused(f"the hash function {oid} is not supported for deriving a key; use SHA-256")
    if name not in limits.one_way_functions:
        raise _refused(f"{name.upper()} is not accepted for deriving a key; use SHA-256")
    return name


def _read_mac_function(mac: bytes, limits: MacLimits) -> MacFunction:
    oid, parameters = _algorithm(mac, "mac")
    if oid in _GMAC_KEY_OCTETS:
        return _read_gmac(oid, parameters)
    name = _HMACS.get(oid)
    if name is None or parameters not in _NULLS:
        raise _refused(f"the MAC {oid} is not supported; use HMAC-SHA256")
    if name == "sha1" and not limits.hmac_sha1:
        raise _refused("HMAC-SHA1 is not accepted; use HMAC-SHA256")
    return Hmac(name, oid)


def _read_gmac(oid: str, parameters: bytes) -> Gmac:
    # RFC 9044 section 2: nonce, and the length of the MAC that defaults to 12
    fields = _fields(parameters, "parameters of AES-GMAC")
    if [tag for tag, _ in fields] != [der.OCTET_STRING, der.INTEGER] or _number(
        fields[1][1], "length of the MAC"
    ) != _GMAC_OCTETS:
        raise _refused("AES-GMAC must give a MAC of 16 octets (RFC 9045 section 4.4)")
    nonce = _content(fields[0][1])
    if len(nonce) != _GMAC_NONCE_OCTETS:
        raise _refused(f"AES-GMAC must have a nonce of 12 octets, not {len(nonce)}")
    return Gmac(oid, _GMAC_KEY_OCTETS[oid], nonce)


def _encode_mac_function(mac: MacFunction) -> bytes:
    if isinstance(mac, Hmac):
        return der.sequence(oid_der(mac.oid), b"\x05\x00")
    nonce = der.tlv(der.OCTET_STRING, mac.nonce)
    return der.sequence(oid_der(mac.oid), der.sequence(nonce, der.integer(_GMAC_OCTETS)))


def _natural_key_octets(mac: MacFunction) -> int:
    return mac.key_octets if isinstance(mac, Gmac) else hashlib.new(mac.hash).digest_size


def _read_salt(element: bytes, limits: MacLimits) -> bytes:
    salt = _content(element)
    if not limits.min_salt_octets <= len(salt) <= limits.max_salt_octets:
        raise _refused(
            f"a salt of {len(salt)} octets; {limits.min_salt_octets} to {limits.max_salt_octets} are accepted"
        )
    return salt


def _read_iterations(element: bytes, limits: MacLimits) -> int:
    count = _number(element, "iterationCount")
    if not limits.min_iterations <= count <= limits.max_iterations:
        raise _refused(
            f"an iterationCount of {count}; {limits.min_iterations} to {limits.max_iterations} are accepted"
        )
    return count


def _algorithm(algorithm_der: bytes, what: str) -> tuple[str, bytes]:
    """An AlgorithmIdentifier's OID and its parameters, as they are or empty."""
    tag, start, end = der.read_tlv(algorithm_der)
    if tag == der.SEQUENCE and end == len(algorithm_der):
        tag, oid_start, oid_end = der.read_tlv(algorithm_der, start, end)
        if tag == der.OID:
            if oid_end < end and der.read_tlv(algorithm_der, oid_end, end)[2] != end:
                raise MalformedMessage(f"the {what} has more than one parameter", path=_PATH)
            return read_oid(algorithm_der[oid_start:oid_end]), algorithm_der[oid_end:end]
    raise MalformedMessage(f"the {what} must be an AlgorithmIdentifier", path=_PATH)


def _fields(parameters: bytes, what: str) -> list[tuple[int, bytes]]:
    """Tag and whole element of each field of a SEQUENCE."""
    if not parameters or parameters[0] != der.SEQUENCE:
        raise MalformedMessage(f"the {what} must be one SEQUENCE", path=_PATH)
    _, start, end = der.read_tlv(parameters)
    return [(tag, parameters[offset:stop]) for tag, offset, _, stop in der.children(parameters, start, end)]


def _content(element: bytes) -> bytes:
    return element[der.read_tlv(element)[1] :]


def _number(element: bytes, what: str) -> int:
    return typed.integer(_content(element), what)


def _refused(message: str) -> MalformedMessage:
    return MalformedMessage(message, code=ReasonCode.MESSAGE_ALGORITHM, path=_PATH)
