"""What a certificate request message asks for, and the proof of possession in it (RFC 4211 sections 4 and 5).

Names, keys and extensions are read as those of a CSR are. Whether they are allowed is policy's matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.asn1 import der, typed
from gateway.asn1.crmf import (
    OLD_CERT_ID,
    CertId,
    CertReqMsg,
    CertTemplate,
    PkMacValue,
    PrivateKeyPop,
    RaVerified,
    SigningKeyInput,
    SigningKeyPop,
    decode_cert_id,
)
from gateway.errors import MalformedMessage
from gateway.model.enrolment import Extension, RequestedIdentity
from gateway.model.evidence import SecretBytes
from gateway.model.keys import ClientKey, Pop, PublicKey
from gateway.model.names import DistinguishedName, GeneralName
from gateway.model.reasons import ReasonCode
from gateway.pki import oids
from gateway.pki.csr import read_requested_sans, read_requested_subject
from gateway.pki.extensions import read_extensions
from gateway.pki.keys import LoadedKey, read_key
from gateway.pki.mac_keys import MacKeys
from gateway.pki.message_mac import MacLimits, read_mac_algorithm
from gateway.pki.names import decode_name, names_match
from gateway.pki.signatures import read_signature_algorithm, verify_signature

_DIRECTORY_NAME = 0xA4
_VERSION_3 = 2


@dataclass(frozen=True, slots=True)
class CrmfRequest:
    """A well-formed request; possession is not yet checked.

    ``public_key`` is None where the key pair is to be made for the requester: then ``wanted_key_alg_der`` is
    the AlgorithmIdentifier of the wanted key, or None where that too is left open. ``subject_given`` tells an
    absent subject from an empty one. ``misplaced`` names fields of the template that a requester must leave
    to the CA (RFC 4211 section 5), "version" if it is not 2.
    """

    message: CertReqMsg = field(repr=False)
    identity: RequestedIdentity
    public_key: PublicKey | None
    subject_given: bool
    wanted_key_alg_der: bytes | None = None
    misplaced: tuple[str, ...] = ()
    old_cert_id: CertId | None = None
    loaded_key: LoadedKey | None = field(default=None, repr=False, compare=False)


def read_request(message: CertReqMsg) -> CrmfRequest:
    """Read what one CertReqMsg asks for.

    Raises MalformedMessage, nothing else: ``message.asn1``, ``name.malformed`` or ``key.*`` as for a CSR.
    """
    template = message.template
    subject = DistinguishedName(())
    if template.subject_der is not None:
        subject = read_requested_subject(template.subject_der)
    sans, extensions = _read_extensions(template.extensions_der)
    public_key: PublicKey | None = None
    loaded_key: LoadedKey | None = None
    wanted_key_alg_der = _wanted_key_alg(template.public_key_der)
    if template.public_key_der is not None and wanted_key_alg_der is None:
        public_key, loaded_key = read_key(template.public_key_der)
    old = message.control(OLD_CERT_ID)
    return CrmfRequest(
        message=message,
        identity=RequestedIdentity(subject, sans, extensions),
        public_key=public_key,
        subject_given=template.subject_der is not None,
        wanted_key_alg_der=wanted_key_alg_der,
        misplaced=_misplaced(template),
        old_cert_id=None if old is None else decode_cert_id(old.value_der),
        loaded_key=loaded_key,
    )


async def verify_possession(
    request: CrmfRequest,
    *,
    sender_der: bytes | None,
    secret: SecretBytes | None,
    keys: MacKeys,
    limits: MacLimits,
) -> ClientKey:
    """Verify the proof of possession over the received bytes (RFC 4211 section 4.1).

    ``sender_der`` is the sender as its message's protection proved it (a whole GeneralName), ``secret`` the
    one that protected the message; None where there is no such. The answer has ``Pop.NONE`` where no proof is
    given and ``Pop.RA_VERIFIED`` where a registration authority vouches: policy decides about both.

    Raises MalformedMessage: ``csr.signature``, ``csr.possession``, ``key.signature-hash``, ``key.type``,
    ``message.algorithm``, ``message.asn1``; Overloaded.
    """
    public_key, pop = request.public_key, request.message.pop
    if public_key is None:
        raise _unproven("there is no public key whose possession could be proven", "popo")
    match pop:
        case None:
            return ClientKey(public_key, Pop.NONE)
        case RaVerified():
            return ClientKey(public_key, Pop.RA_VERIFIED)
        case PrivateKeyPop():
            raise _unproven(
                f"a proof of possession for {pop.use} by {pop.method} is not supported; sign the request, or"
                " let a registration authority vouch for it",
                "popo",
            )
        case SigningKeyPop():
            if pop.input is not None:
                await _check_input(pop.input, request.message.template, sender_der, secret, keys, limits)
            return _verify_signature(request, public_key, pop)


def _verify_signature(request: CrmfRequest, public_key: PublicKey, pop: SigningKeyPop) -> ClientKey:
    if request.loaded_key is None:
        raise MalformedMessage(
            f"the key algorithm {public_key.algorithm_oid} is not supported; use RSA, EC or EdDSA",
            code=ReasonCode.KEY_TYPE,
            path="key",
        )
    _, start, end = der.read_tlv(pop.algorithm_der)
    algorithm = read_signature_algorithm(pop.algorithm_der, start, end)
    signed_der = request.message.cert_req_der if pop.input is None else pop.input.signed_der
    verify_signature(algorithm, request.loaded_key, public_key, pop.signature, signed_der)
    return ClientKey(public_key, Pop.SIGNATURE, algorithm.hash)


async def _check_input(
    key_input: SigningKeyInput,
    template: CertTemplate,
    sender_der: bytes | None,
    secret: SecretBytes | None,
    keys: MacKeys,
    limits: MacLimits,
) -> None:
    """The rules of RFC 4211 section 4.1 for a signature that is not over the request itself."""
    if template.subject_der is not None and template.public_key_der is not None:
        # RFC 4211 appendix B: then poposkInput must be omitted; else the signature would bind no subject
        raise _unproven(
            "the certTemplate has subject and public key, so the signature must be over the certReq and"
            " poposkInput be left out",
            "poposkInput",
        )
    if key_input.public_key_der != template.public_key_der:
        raise _unproven(
            "the public key of the poposkInput is not exactly that of the certTemplate", "poposkInput"
        )
    if isinstance(key_input.authenticator, PkMacValue):
        await _check_public_key_mac(key_input.authenticator, key_input.public_key_der, secret, keys, limits)
    elif sender_der is None or not _same_name(key_input.authenticator, sender_der):
        raise _unproven(
            "the sender of the poposkInput is not the one who protected the message", "poposkInput"
        )


async def _check_public_key_mac(
    value: PkMacValue, spki_der: bytes, secret: SecretBytes | None, keys: MacKeys, limits: MacLimits
) -> None:
    parameters = read_mac_algorithm(value.algorithm_der, limits)
    if parameters is None:
        raise _unproven("the publicKeyMAC is no password-based MAC", "poposkInput")
    if secret is None or not await keys.is_right(parameters, secret, spki_der, value.mac):
        raise _unproven(
            "the publicKeyMAC was not made with the secret that protects the message", "poposkInput"
        )


def _same_name(left_der: bytes, right_der: bytes) -> bool:
    if left_der == right_der:
        return True
    if left_der[0] != _DIRECTORY_NAME or right_der[0] != _DIRECTORY_NAME:
        return False
    names = [decode_name(name[der.read_tlv(name)[1] :]) for name in (left_der, right_der)]
    return names_match(*names)


def _read_extensions(
    extensions_der: bytes | None,
) -> tuple[tuple[GeneralName, ...], tuple[Extension, ...]]:
    if extensions_der is None:
        return (), ()
    _, start, end = der.read_tlv(extensions_der)
    found = read_extensions(extensions_der, start, end)
    for index, extension in enumerate(found):
        if extension.oid == oids.SUBJECT_ALT_NAME:
            return read_requested_sans(extension.value_der), found[:index] + found[index + 1 :]
    return (), found


def _wanted_key_alg(spki_der: bytes | None) -> bytes | None:
    """The algorithm of a SubjectPublicKeyInfo whose BIT STRING is empty: a key of this kind is to be made."""
    if spki_der is None:
        return None
    parts = typed.fields_of(spki_der, "public key")
    if [part[0] for part in parts] != [der.SEQUENCE, der.BIT_STRING]:
        return None
    return typed.element(spki_der, parts[0]) if typed.content(spki_der, parts[1]) == b"\x00" else None


def _misplaced(template: CertTemplate) -> tuple[str, ...]:
    present = {
        "version": template.version not in (None, _VERSION_3),
        "serialNumber": template.serial_number is not None,
        "signingAlg": template.signing_alg_der is not None,
        "issuerUID": template.issuer_uid is not None,
        "subjectUID": template.subject_uid is not None,
    }
    return tuple(name for name, there in present.items() if there)


def _unproven(message: str, path: str) -> MalformedMessage:
    return MalformedMessage(message, code=ReasonCode.CSR_POSSESSION, path=path)
