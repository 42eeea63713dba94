"""Certification requests (PKCS#10, RFC 2986) and the proof of possession in them.

The structure is always read by our own reader over the received bytes: devices send attributes out of DER
order (strongSwan), which other readers refuse, and the signature is over the bytes as sent. ``cryptography``
does the arithmetic only. Whether a name, a key or an extension is allowed is policy's matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.errors import MalformedMessage
from gateway.model.enrolment import Extension, RequestedIdentity
from gateway.model.keys import ClientKey, Pop, PublicKey
from gateway.model.names import DistinguishedName, GeneralName
from gateway.model.reasons import ReasonCode
from gateway.pki import der, oids
from gateway.pki.extensions import read_extensions
from gateway.pki.keys import LoadedKey, read_key
from gateway.pki.names import decode_general_names, decode_name, read_general_names
from gateway.pki.oids import read_oid
from gateway.pki.signatures import (
    BROKEN_HASHES,
    SignatureAlgorithm,
    read_signature_algorithm,
    verify_signature,
)

_ATTRIBUTES = 0xA0  # attributes [0] IMPLICIT (RFC 2986 section 4.1)


@dataclass(frozen=True, slots=True)
class ChangeSubjectName:
    """The names wanted instead of the CSR's own (RFC 6402 section 2.8, RFC 7030 section 4.2.2).

    ``subject`` is None and ``sans`` is empty where that part is to stay.
    """

    subject: DistinguishedName | None
    sans: tuple[GeneralName, ...]


@dataclass(frozen=True, slots=True)
class ParsedCsr:
    """A well-formed certification request; the signature is not yet checked.

    ``challenge_password`` holds the raw content octets of the string (RFC 2985 section 5.4.1), and
    ``challenge_password_tag`` says of which type it is.
    ``signature_hash`` is "sha256" and so on, None where the algorithm has none of its own.
    """

    csr_der: bytes = field(repr=False)
    subject: DistinguishedName
    public_key: PublicKey
    identity: RequestedIdentity
    challenge_password: bytes | None = field(repr=False)
    change_subject_name: ChangeSubjectName | None
    signature_hash: str | None
    signature_algorithm: SignatureAlgorithm
    signed_der: bytes = field(repr=False)  # certificationRequestInfo as received
    signature: bytes = field(repr=False)
    loaded_key: LoadedKey | None = field(repr=False, compare=False)
    challenge_password_tag: int | None = None


@dataclass(frozen=True, slots=True)
class _Attributes:
    """What the attributes of a request say (RFC 2986 section 4.1, RFC 2985 section 5.4)."""

    sans: tuple[GeneralName, ...] = ()
    extensions: tuple[Extension, ...] = ()
    others: tuple[str, ...] = ()
    challenge_password: bytes | None = None
    challenge_password_tag: int | None = None
    change_subject_name: ChangeSubjectName | None = None


def parse_csr(csr_der: bytes) -> ParsedCsr:
    """Read one CertificationRequest as DER (RFC 2986 section 4.2).

    Raises MalformedMessage, nothing else: ``message.asn1`` for the structure, ``name.malformed`` for a name
    that no certificate may hold, ``key.*`` for a key that is none.
    """
    _check_one_structure(csr_der)
    info, algorithm, signature = _outer(csr_der)
    fields = der.children(csr_der, info[2], info[3])
    tags = [tlv[0] for tlv in fields]
    # RFC 2986 4.1 demands the attributes even if empty; some small clients leave them out
    if tags not in (
        [der.INTEGER, der.SEQUENCE, der.SEQUENCE, _ATTRIBUTES],
        [der.INTEGER, der.SEQUENCE, der.SEQUENCE],
    ):
        raise _malformed("the CSR must hold version, subject, public key and attributes, in this order")
    version, subject_tlv, key_tlv = fields[:3]
    if csr_der[version[2] : version[3]] != b"\x00":
        raise _malformed("the version of the CSR must be 0 (RFC 2986 section 4.1)", "version")
    subject = read_requested_subject(csr_der[subject_tlv[1] : subject_tlv[3]])
    public_key, loaded_key = read_key(csr_der[key_tlv[1] : key_tlv[3]])
    attributes = _read_attributes(csr_der, fields[3][2], fields[3][3]) if len(fields) == 4 else _Attributes()
    signature_algorithm = read_signature_algorithm(csr_der, algorithm[2], algorithm[3])
    return ParsedCsr(
        csr_der=csr_der,
        subject=subject,
        public_key=public_key,
        identity=RequestedIdentity(subject, attributes.sans, attributes.extensions, attributes.others),
        challenge_password=attributes.challenge_password,
        change_subject_name=attributes.change_subject_name,
        signature_hash=signature_algorithm.hash,
        signature_algorithm=signature_algorithm,
        signed_der=csr_der[info[1] : info[3]],
        signature=csr_der[signature[2] + 1 : signature[3]],
        loaded_key=loaded_key,
        challenge_password_tag=attributes.challenge_password_tag,
    )


def verify_possession(parsed: ParsedCsr, *, refused_hashes: frozenset[str] = BROKEN_HASHES) -> ClientKey:
    """Verify the CSR's signature with its own key over the received bytes (RFC 2986 section 4.2).

    Raises MalformedMessage: ``csr.signature``, ``key.signature-hash`` for the refused hashes (MD2, MD5 and
    SHA-1 unless said otherwise), ``key.type`` for a key that cannot sign or that we do not know.
    """
    if parsed.loaded_key is None:
        raise MalformedMessage(
            f"the key algorithm {parsed.public_key.algorithm_oid} is not supported; use RSA, EC or EdDSA",
            code=ReasonCode.KEY_TYPE,
            path="key",
        )
    verify_signature(
        parsed.signature_algorithm,
        parsed.loaded_key,
        parsed.public_key,
        parsed.signature,
        parsed.signed_der,
        refused_hashes=refused_hashes,
    )
    return ClientKey(parsed.public_key, Pop.SIGNATURE, parsed.signature_hash)


@dataclass(frozen=True, slots=True)
class OwnSignature:
    """What shows that the holder of a CSR's key has written the rest of it: read before all else."""

    algorithm: SignatureAlgorithm
    key: LoadedKey
    described: PublicKey
    signature: bytes = field(repr=False)
    signed_der: bytes = field(repr=False)

    @property
    def can_match(self) -> bool:
        """Whether key and algorithm are of one type."""
        return self.algorithm.key_type is self.described.type

    def verify(self, *, refused_hashes: frozenset[str] = BROKEN_HASHES) -> None:
        """Raises MalformedMessage as ``verify_signature`` does."""
        verify_signature(
            self.algorithm,
            self.key,
            self.described,
            self.signature,
            self.signed_der,
            refused_hashes=refused_hashes,
        )


def read_own_signature(csr_der: bytes) -> OwnSignature:
    """Of a CSR whose names and attributes need not be readable: its sender may then be told so.

    Only the outside and the key must be well-formed, with nothing behind them. Raises MalformedMessage as
    ``parse_csr`` does.
    """
    _check_one_structure(csr_der)
    info, algorithm, signature = _outer(csr_der)
    fields = der.children(csr_der, info[2], info[3])
    if len(fields) < 3:
        raise _malformed("the CSR must hold version, subject and public key")
    described, loaded_key = read_key(csr_der[fields[2][1] : fields[2][3]])
    if loaded_key is None:
        raise _malformed("the key of the CSR is of no supported algorithm", "key")
    return OwnSignature(
        read_signature_algorithm(csr_der, algorithm[2], algorithm[3]),
        loaded_key,
        described,
        csr_der[signature[2] + 1 : signature[3]],
        csr_der[info[1] : info[3]],
    )


def _check_one_structure(csr_der: bytes) -> None:
    if not csr_der:
        raise MalformedMessage("the message is empty", code=ReasonCode.MESSAGE_EMPTY)
    tag, _, end = der.read_tlv(csr_der)
    if tag != der.SEQUENCE:
        raise _malformed(f"a CSR starts with a SEQUENCE (30), not with {tag:02x}")
    if end < len(csr_der) and csr_der[end] == der.SEQUENCE:
        raise _malformed("the message holds more than one CSR; send one per request")
    der.check_shape(csr_der)


def _outer(csr_der: bytes) -> tuple[tuple[int, int, int, int], ...]:
    _, start, end = der.read_tlv(csr_der)
    parts = der.children(csr_der, start, end)
    if [tlv[0] for tlv in parts] != [der.SEQUENCE, der.SEQUENCE, der.BIT_STRING]:
        raise _malformed("a CSR must hold the request, the signature algorithm and the signature")
    signature = parts[2]
    if signature[2] == signature[3] or csr_der[signature[2]] != 0:
        raise _malformed("the signature must be a BIT STRING without unused bits", "signature")
    return tuple(parts)


def read_requested_subject(name_der: bytes) -> DistinguishedName:
    """A Name that is asked for; a fault in it points there. Raises MalformedMessage."""
    try:
        return decode_name(name_der)
    except MalformedMessage as exc:
        exc.path = exc.path or "identity.subject"
        raise


def _read_attributes(source: bytes, start: int, end: int) -> _Attributes:
    """Read the attributes, in any order: strongSwan does not sort them as DER wants."""
    values: dict[str, bytes] = {}
    for tag, _, content, stop in der.children(source, start, end):
        if tag != der.SEQUENCE:
            raise _malformed("an attribute of the CSR must be a SEQUENCE", "attributes")
        oid, value = _read_attribute(source, content, stop)
        if oid in values:
            raise _malformed(f"the attribute {oid} stands in the CSR twice", "attributes")
        values[oid] = value
    known = (
        oids.EXTENSION_REQUEST,
        oids.MICROSOFT_EXTENSION_REQUEST,
        oids.CHALLENGE_PASSWORD,
        oids.CHANGE_SUBJECT_NAME,
    )
    requested, microsoft, challenge, change = (values.pop(oid, None) for oid in known)
    sans, extensions = _read_requested(requested, microsoft)
    password, password_tag = (None, None) if challenge is None else _read_challenge_password(challenge)
    return _Attributes(
        sans,
        extensions,
        tuple(values),
        password,
        password_tag,
        None if change is None else _read_change_subject_name(change),
    )


def _read_attribute(source: bytes, start: int, end: int) -> tuple[str, bytes]:
    """The OID of one attribute and the content of its SET of values."""
    tag, oid_start, oid_end = der.read_tlv(source, start, end)
    if tag != der.OID:
        raise _malformed("an attribute of the CSR must start with its object identifier", "attributes")
    oid = read_oid(source[oid_start:oid_end])
    tag, values_start, values_end = der.read_tlv(source, oid_end, end)
    # RFC 2986 4.1: values SET SIZE(1..MAX)
    if tag != der.SET or values_end != end or values_start == values_end:
        raise _malformed(f"the attribute {oid} must have a SET with at least one value", "attributes")
    return oid, source[values_start:values_end]


def _one_value(values: bytes, tag: int, what: str) -> tuple[int, int]:
    found, start, end = der.read_tlv(values)
    if found != tag or end != len(values):
        raise _malformed(f"the {what} must hold exactly one SEQUENCE", "attributes")
    return start, end


def _read_requested(
    requested: bytes | None, microsoft: bytes | None
) -> tuple[tuple[GeneralName, ...], tuple[Extension, ...]]:
    """The SANs and the other extensions of both attributes that can ask for extensions."""
    if microsoft is not None and microsoft != requested:
        found = _read_extension_request(microsoft)
        if requested is not None:
            found += _read_extension_request(requested)
            if len({extension.oid for extension in found}) != len(found):
                raise _malformed(
                    "both extension requests of the CSR ask for the same extension", "attributes"
                )
    elif requested is not None:
        found = _read_extension_request(requested)
    else:
        return (), ()
    for index, extension in enumerate(found):
        if extension.oid == oids.SUBJECT_ALT_NAME:
            return read_requested_sans(extension.value_der), found[:index] + found[index + 1 :]
    return (), found


def _read_extension_request(values: bytes) -> tuple[Extension, ...]:
    start, end = _one_value(values, der.SEQUENCE, "extension request")
    return read_extensions(values, start, end)


def read_requested_sans(value_der: bytes) -> tuple[GeneralName, ...]:
    """The value of a subjectAltName that is asked for. Raises MalformedMessage."""
    der.check_shape(value_der)
    try:
        return decode_general_names(value_der)
    except MalformedMessage as exc:
        exc.path = f"identity.{exc.path or 'sans'}"
        raise


def _read_challenge_password(values: bytes) -> tuple[bytes, int]:
    tag, start, end = der.read_tlv(values)
    # RFC 2985 5.4.1: a DirectoryString, single value; old clients write IA5String
    if tag not in (0x0C, 0x13, 0x14, 0x16, 0x1C, 0x1E) or end != len(values):
        raise _malformed("the challenge password must be exactly one character string", "attributes")
    return values[start:end], tag


def _read_change_subject_name(values: bytes) -> ChangeSubjectName:
    start, end = _one_value(values, der.SEQUENCE, "changeSubjectName attribute")
    subject: DistinguishedName | None = None
    sans: tuple[GeneralName, ...] = ()
    for tag, offset, content, stop in der.children(values, start, end):
        # Both parts are SEQUENCEs without a tag of their own; what is inside tells them apart
        is_name = content == stop or values[content] == der.SET
        if tag != der.SEQUENCE or sans or (is_name and subject is not None):
            raise _malformed("changeSubjectName must hold a subject, then alternative names", "attributes")
        if is_name:
            subject = decode_name(values[offset:stop])
        else:
            sans = read_general_names(values, content, stop)
    if subject is None and not sans:
        # RFC 6402 2.8: at least one of the two
        raise _malformed("changeSubjectName must hold a subject or alternative names", "attributes")
    return ChangeSubjectName(subject, sans)


def _malformed(message: str, path: str = "") -> MalformedMessage:
    return MalformedMessage(message, path=path)
