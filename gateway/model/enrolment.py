"""A request for one certificate, in the words that every protocol shares."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.model.evidence import Linking, PresentedCredential, RemoteInfo
from gateway.model.ids import EndpointName, ProtocolName
from gateway.model.keys import ClientKey, KeyToCome, ServerKey
from gateway.model.names import DistinguishedName, GeneralName
from gateway.model.reasons import Reason


class Operation(StrEnum):
    """What is asked for. ``renew`` keeps the key, ``rekey`` brings a new one."""

    ENROLL = "enroll"
    RENEW = "renew"
    REKEY = "rekey"
    KEYGEN = "keygen"
    REVOKE = "revoke"


@dataclass(frozen=True, slots=True)
class Extension:
    """An X.509 extension; ``value_der`` is the content of extnValue (RFC 5280 section 4.1.2.9)."""

    oid: str
    critical: bool
    value_der: bytes


@dataclass(frozen=True, slots=True)
class RequestedIdentity:
    """Everything that the request wants in the certificate besides the key, without loss.

    ``extensions`` holds every requested extension but subjectAltName. ``attributes`` are the OIDs of CSR
    attributes other than extensionRequest and challengePassword.
    """

    subject: DistinguishedName
    sans: tuple[GeneralName, ...] = ()
    extensions: tuple[Extension, ...] = ()
    attributes: tuple[str, ...] = ()


class Differing(StrEnum):
    """What becomes of a message with the correlation of an earlier one, but with other content."""

    REPEAT = "repeat"  # content does not matter: it is the same request (EST, ACME)
    NEW_ONCE_CLOSED = "new-once-closed"  # a poll while the earlier is open, then a new request (SCEP)
    REFUSE = "refuse"  # the transaction is in use; afterwards the same content is refused instead (CMP)


@dataclass(frozen=True, slots=True)
class Correlation:
    """What makes two messages the same request (decisions: "What counts as the same request").

    The service hashes protocol, endpoint, ``parts`` and, if ``with_identity``, the verified identity and the
    renewed certificate, each length-prefixed. Without identity the parts are the protocol's own transaction
    (an ACME order), by which ``Enrolments.outcome_of`` finds the request again. ``grace_s``: how long a
    closed request answers repeats; None = endpoint's setting. ``content_sha256`` names in hex what must be
    equal in a true repeat; ``differing`` says what becomes of one that is not.
    """

    parts: tuple[bytes, ...]
    with_identity: bool = True
    grace_s: int | None = None
    content_sha256: str = ""
    differing: Differing = Differing.REPEAT


@dataclass(frozen=True, slots=True)
class EnrolmentRequest:
    """One request for one certificate. A message may carry several (RFC 9810 section 5.3.1)."""

    protocol: ProtocolName
    endpoint: EndpointName
    operation: Operation
    correlation: Correlation
    identity: RequestedIdentity
    key: ClientKey | KeyToCome | ServerKey
    remote: RemoteInfo
    presented: tuple[PresentedCredential, ...] = ()
    profile: str | None = None
    csr_der: bytes | None = None
    renews_der: bytes | None = None  # the certificate that is to be renewed
    not_before: datetime | None = None
    not_after: datetime | None = None
    linking: Linking = Linking.ABSENT
    confirm_within_s: int | None = None  # the requester must confirm what it gets (RFC 9810 section 5.2.8)
    transaction_id: str = ""  # the protocol's own name of it, for the record: an ACME order's id


@dataclass(frozen=True, slots=True)
class CertificatePlan:
    """Exactly what will be signed, but for serial number, issuer and what the issuer always adds.

    Only ``gateway.policy`` makes one. ``key_usage`` holds RFC 5280 bit names (``digitalSignature``),
    ``extended_key_usage`` OIDs; ``extensions`` are further ones in full. Basic constraints are always
    CA:FALSE. ``without`` holds OIDs of extensions that the CA would add of itself and must not.
    """

    subject: DistinguishedName
    sans: tuple[GeneralName, ...]
    spki_der: bytes
    not_before: datetime
    not_after: datetime
    key_usage: tuple[str, ...] = ()
    extended_key_usage: tuple[str, ...] = ()
    extensions: tuple[Extension, ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BadMessage:
    """A message that never became an EnrolmentRequest, to be recorded. ``endpoint`` is as asked for.

    ``identity`` is who was proven to have sent it (``acme:ACCOUNT-ID``), ``names`` what is wrong with it is
    about (``dns:a.test``), where that much is known.
    """

    protocol: ProtocolName
    endpoint: str
    operation: str
    reason: Reason
    remote: RemoteInfo
    identity: str = "anonymous"
    names: tuple[str, ...] = ()
