"""Protection of PKIMessages (RFC 9810 section 5.1.3): reading, checking and making it, for both sides.

Whose secret or certificate it is, and whether that one may ask, is not decided here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from enum import StrEnum

from gateway.asn1 import cmp, der
from gateway.asn1.cmp import BodyType, PkiHeader, PkiMessage
from gateway.errors import GatewayError, MalformedMessage
from gateway.model.evidence import SecretBytes
from gateway.model.keys import KeyType
from gateway.model.reasons import ReasonCode
from gateway.pki.keys import read_key
from gateway.pki.mac_keys import MacKeys
from gateway.pki.message_mac import (
    Hmac,
    MacLimits,
    MacParameters,
    PbmParameters,
    encode_mac_algorithm,
    read_mac_algorithm,
    with_fresh_salt,
)
from gateway.pki.signatures import (
    BROKEN_HASHES,
    SignatureAlgorithm,
    read_signature_algorithm,
    verify_signature,
)
from gateway.pki.signer import Signer


class ProtectionKind(StrEnum):
    """How a message is protected; within a transaction it stays the same (RFC 9483 section 3.2)."""

    PBM = "pbm"
    PBMAC1 = "pbmac1"
    SIGNATURE = "signature"


@dataclass(frozen=True, slots=True)
class MacProtection:
    """A password-based MAC, not yet checked."""

    kind: ProtectionKind
    parameters: MacParameters
    mac: bytes = field(repr=False)
    protected_der: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignatureProtection:
    """A signature, not yet checked."""

    algorithm: SignatureAlgorithm
    signature: bytes = field(repr=False)
    protected_der: bytes = field(repr=False)
    kind: ProtectionKind = ProtectionKind.SIGNATURE


@dataclass(frozen=True, slots=True)
class Draft:
    """A message before its protection. ``header.protection_alg_der`` is filled in by whoever protects."""

    header: PkiHeader
    body_type: BodyType
    body_der: bytes = field(repr=False)
    extra_certs: tuple[bytes, ...] = field(default=(), repr=False)


def read_protection(message: PkiMessage, limits: MacLimits) -> MacProtection | SignatureProtection | None:
    """How a message is protected; None if it is not at all. Nothing is verified or derived.

    Raises GatewayError: message.integrity where algorithm and protection do not stand there together,
    message.algorithm for what is unknown, broken or out of bounds, message.asn1.
    """
    algorithm_der = message.header.protection_alg_der
    if (algorithm_der is None) != (message.protection is None):
        # RFC 9810 5.1.1: protectionAlg if and only if there is a protection
        there, missing = (
            ("a protection", "protectionAlg") if algorithm_der is None else ("protectionAlg", "a protection")
        )
        raise GatewayError(
            f"the message has {there}, but not {missing}",
            code=ReasonCode.MESSAGE_INTEGRITY,
            path="protection",
        )
    if algorithm_der is None or message.protection is None:
        return None
    try:
        parameters = read_mac_algorithm(algorithm_der, limits)
        if parameters is None:
            algorithm = _read_signature_algorithm(algorithm_der)
            return SignatureProtection(algorithm, message.protection, message.protected_der)
    except MalformedMessage as exc:
        exc.path = "protectionAlg"
        raise
    kind = ProtectionKind.PBM if isinstance(parameters, PbmParameters) else ProtectionKind.PBMAC1
    return MacProtection(kind, parameters, message.protection, message.protected_der)


async def mac_is_right(protection: MacProtection, secret: SecretBytes, keys: MacKeys) -> bool:
    """Whether the secret made this MAC. Raises Overloaded while too many long derivations wait."""
    return await keys.is_right(protection.parameters, secret, protection.protected_der, protection.mac)


def signature_is_right(protection: SignatureProtection, spki_der: bytes) -> bool:
    """Whether the private key to this SubjectPublicKeyInfo made the signature.

    False also for a key of another kind than the algorithm's. Raises MalformedMessage for a key that is none.
    """
    described, loaded = read_key(spki_der)
    if loaded is None:
        return False
    try:
        verify_signature(
            protection.algorithm, loaded, described, protection.signature, protection.protected_der
        )
    except MalformedMessage:
        return False
    return True


async def protect_with_secret(
    draft: Draft, parameters: MacParameters, secret: SecretBytes, keys: MacKeys, *, fresh_salt: bool = True
) -> bytes:
    """Write the message with a MAC.

    With ``fresh_salt`` the key is derived anew; without it, parameters of a message that was just found right
    cost nothing more, as RFC 9810 section 5.1.3.1 recommends within a transaction (not with GMAC, whose
    nonce must never come twice). Raises Overloaded.
    """
    if fresh_salt or not isinstance(parameters.mac, Hmac):
        parameters = with_fresh_salt(parameters)
    protected_der = _protected_part(draft, encode_mac_algorithm(parameters))
    mac = await keys.mac(parameters, secret, protected_der)
    return cmp.encode_message(protected_der, mac, draft.extra_certs)


async def protect_with_signer(draft: Draft, signer: Signer) -> bytes:
    """Write the message with a signature; in a thread if the key is slow."""
    protected_der = _protected_part(draft, signer.algorithm_der)
    if signer.slow:
        signature = await asyncio.to_thread(signer.sign, protected_der)
    else:
        signature = signer.sign(protected_der)
    return cmp.encode_message(protected_der, signature, draft.extra_certs)


def unprotected(draft: Draft) -> bytes:
    """Write the message without protection."""
    return cmp.encode_message(_protected_part(draft, None), None, draft.extra_certs)


def _protected_part(draft: Draft, algorithm_der: bytes | None) -> bytes:
    header = replace(draft.header, protection_alg_der=algorithm_der)
    return cmp.protected_part(header, draft.body_type, draft.body_der)


def _read_signature_algorithm(algorithm_der: bytes) -> SignatureAlgorithm:
    _, start, end = der.read_tlv(algorithm_der)
    algorithm = read_signature_algorithm(algorithm_der, start, end)
    if algorithm.key_type is KeyType.OTHER:
        fault = f"the protection algorithm {algorithm.oid} is not supported"
    elif algorithm.hash in BROKEN_HASHES:
        fault = f"a signature with {algorithm.hash.upper()} is not accepted; sign with SHA-256 or better"
    else:
        return algorithm
    raise GatewayError(fault, code=ReasonCode.MESSAGE_ALGORITHM, path="protectionAlg")
