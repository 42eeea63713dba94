"""Requests as people write them down: in ``tests:`` of a Policy, in files for `pkigate policy explain`.

What is not said takes the value that fits the policy (``sample_request``): a test holds only what it is
about.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from gateway.errors import MalformedMessage
from gateway.model.evidence import Linking
from gateway.model.reasons import ReasonCode
from gateway.pki.names import email_name, ip_address_name, uri_name
from gateway.policy.complaints import Misfit, did_you_mean
from gateway.policy.name_documents import StrictModel
from gateway.policy.name_rules import normal_address
from gateway.policy.sample_keys import KEY_WORDS, read_key_word
from gateway.policy.terms import (
    Duration,
    ExtendedKeyUsage,
    Words,
    as_list,
    attribute_oid,
    read_dns_name,
)

MAX_TESTS = 200  # of one policy
FIXED_NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)  # of every test that names no other moment


def _attributes(value: object) -> object:
    if isinstance(value, dict):
        for name in value:
            if attribute_oid(str(name)) is None:
                raise Misfit(f"{name!r} is no attribute; write CN, O, serialNumber, ... or its OID", (name,))
    return value


def _each(read: Any) -> BeforeValidator:
    """Every text of a list must be one that ``read`` takes."""

    def check(value: object) -> object:
        values = as_list(value)
        for index, text in enumerate(values if isinstance(values, list) else ()):
            if not isinstance(text, str):
                continue  # the type of the field says so
            try:
                read(text)
            except Misfit as fault:
                raise Misfit(str(fault), (index,) if values is value else ()) from fault
            except MalformedMessage as fault:
                raise Misfit(f"{fault}; write another one", (index,) if values is value else ()) from fault
        return values

    return BeforeValidator(check, json_schema_input_type=str | list[str])


def _moment(value: object) -> object:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise Misfit(f"{value!r} is no moment; write one like '2030-01-31T12:00:00Z'") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _address(value: object) -> object:
    try:
        return str(normal_address(str(value)))
    except ValueError as error:
        raise Misfit(f"{value!r} is no address; write one like 192.0.2.7") from error


def _code(value: object) -> object:
    known = [str(code) for code in ReasonCode]
    if value not in known:
        raise Misfit(f"{value!r} is no reason code; {did_you_mean(str(value), known)}")
    return value


Attributes = Annotated[dict[str, Words], BeforeValidator(_attributes)]
Labels = dict[str, str]
Names = Annotated[tuple[str, ...], Field(max_length=1000)]
DnsTexts = Annotated[Names, _each(read_dns_name)]
IpTexts = Annotated[Names, _each(ip_address_name)]
EmailTexts = Annotated[Names, _each(email_name)]
UriTexts = Annotated[Names, _each(uri_name)]
Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "examples": ["2030-01-31T12:00:00Z"]}),
]
KeyWord = Annotated[
    str, BeforeValidator(read_key_word), WithJsonSchema({"type": "string", "examples": list(KEY_WORDS)})
]
Address = Annotated[str, BeforeValidator(_address), WithJsonSchema({"type": "string"})]
Code = Annotated[str, BeforeValidator(_code), WithJsonSchema({"enum": [str(code) for code in ReasonCode]})]


class AskedNames(StrictModel):
    """A subject and alternative names."""

    subject: Attributes = Field(default_factory=dict, description="Attributes by name, in their order")
    dns: DnsTexts = Field((), description="DNS names")
    ip: IpTexts = Field((), description="Addresses")
    email: EmailTexts = Field((), description="E-mail addresses")
    uri: UriTexts = Field((), description="URIs")


class SampleCsr(AskedNames):
    """What is asked for. Possession of the key is taken as proven."""

    key: KeyWord | None = Field(
        None, description="rsa-2048, ec-p256, ed25519, ml-dsa-65, ...; default: one that the policy allows"
    )
    hash: str | None = Field(None, description="Hash of the CSR's signature: sha256, ...")
    extensions: Words = Field(
        (), description="Further extensions that it asks for: ca, must-staple, or OIDs with an empty value"
    )


class SampleCredential(StrictModel):
    """A credential. ``valid: false``: it did not stand up to verification."""

    valid: bool = Field(True, description="false: it is refused when it is verified")
    reason: str = Field(
        "", max_length=200, description="Why it is refused, for the eyes of who reads the test"
    )
    name: str = Field("sample", max_length=200, description="Its name, for people")
    groups: Words = Field((), description="Groups that the administrator put it in")
    label: Labels = Field(default_factory=dict, description="Labels that the administrator wrote beside it")
    names: Words | None = Field(None, description="The names that it is bound to; default: it has no bound")
    profiles: Words | None = Field(None, description="The profiles that it is bound to")


class SampleAccount(SampleCredential):
    """An ACME account."""

    external: bool = Field(True, description="It is bound to an external account (RFC 8555, 7.3.4)")
    prevalidated: Words = Field((), description="Names that the external account needs no challenge for")


class SampleChallenge(SampleCredential):
    """A challengePassword (SCEP)."""

    attrs: Labels = Field(default_factory=dict, description="Its labels, under another name")
    kind: Literal["static", "dynamic"] | None = Field(None, description="default: one that the policy takes")


class SampleClient(AskedNames):
    """A certificate that authenticates. Keys that are none of these are facts that `extract` read in it."""

    model_config = ConfigDict(extra="allow")
    own_words: ClassVar[frozenset[str]] = frozenset({"identity", "kind"})

    trusted: bool = Field(True, description="false: it is refused when it is verified")
    reason: Literal["untrusted", "expired", "not-yet-valid", "revoked", "usage"] = Field(
        "untrusted", description="Why it is refused"
    )
    name: str = Field("", max_length=200, description="Its name, for people; default: its subject")
    groups: Words = Field((), description="Groups")
    label: Labels = Field(default_factory=dict, description="Labels")
    ours: bool | None = Field(None, description="This gateway issued it; default: where it is renewed")

    @model_validator(mode="after")
    def _facts_are_texts(self) -> SampleClient:
        for key, value in (self.model_extra or {}).items():
            if not isinstance(value, str):
                raise Misfit("a fact of a certificate is one text; write one", (key,))
            if key in self.own_words:
                raise Misfit(f"{key!r} is made by the gateway; remove it", (key,))
        return self

    @property
    def facts(self) -> Mapping[str, str]:
        """What ``extract`` would have read."""
        return {key: str(value) for key, value in (self.model_extra or {}).items()}


class SamplePrevious(AskedNames):
    """The certificate that is renewed; names default to those of the CSR."""

    key: Literal["same", "other"] | None = Field(
        None, description="Whether the CSR keeps its key; default: as the operation says"
    )
    expires_in: Duration | None = Field(None, description="Its time left; default: inside the renewal window")
    expired_since: Duration | None = Field(None, description="How long it has expired")
    issued_here: bool = Field(True, description="This gateway issued it")


class SampleLimits(StrictModel):
    """What counting would have found."""

    exceeded: bool = Field(description="A limit with on_exceed: pend is exceeded")


class SampleRequest(StrictModel):
    """A request, and what the gateway has found out about it."""

    protocol: str | None = Field(None, description="est, acme, scep, cmp; default: that of the policy")
    endpoint: str | None = Field(None, description="Default: one of the policy")
    operation: Literal["enroll", "renew", "rekey", "revoke"] | None = Field(
        None, description="Default: the first one of the policy"
    )
    profile: str | None = Field(None, description="The profile that is asked for")
    source_ip: Address | None = Field(None, description="Where it comes from")
    auth: Words = Field((), description="Kinds of credential that it brings; default: those below, else one")
    account: SampleAccount | None = Field(None, description="The ACME account")
    client: SampleClient | None = Field(None, description="The certificate that authenticates")
    challenge: SampleChallenge | None = Field(None, description="The challenge password")
    user: SampleCredential | None = Field(None, description="The user name with secret (HTTP Basic)")
    mac: SampleCredential | None = Field(None, description="The reference with secret (CMP)")
    csr: SampleCsr = Field(
        default_factory=lambda: SampleCsr.model_validate({}), description="What is asked for"
    )
    previous: SamplePrevious | None = Field(None, description="The certificate that is renewed")
    lists: dict[str, Words] = Field(
        default_factory=dict, alias="list", description="Entries of List documents; those not named are empty"
    )
    proven: Literal["all"] | tuple[str, ...] = Field(
        "all", description="Names that the ACME account has proven, with *. for a wildcard"
    )
    known_key: bool = Field(False, description="The key stands in a certificate of somebody else")
    limits: SampleLimits | None = Field(None, description="What limits say; default: none is exceeded")
    linking: Linking | None = Field(None, description="Link of the CSR to its TLS session (RFC 7030, 3.5)")
    not_before: Moment | None = Field(None, description="The begin that the client asks for")
    not_after: Moment | None = Field(None, description="The end that the client asks for")
    now: Moment = Field(FIXED_NOW, description="The moment of the decision")


class Expected(StrictModel):
    """What must come of it; everything that is said must hold."""

    decision: Literal["allow", "deny", "pend"] = Field(
        description="allow, deny, or pend: people must approve"
    )
    policy: str | None = Field(None, description="Which policy decides; default: any")
    backend: str | None = Field(None, description="The CA backend that issues")
    profile: str | None = Field(None, description="Its profile")
    subject: str | None = Field(None, description="The subject, like CN=a,O=b; the order does not count")
    san: Words | None = Field(None, description="All alternative names, like dns:a.example, in any order")
    eku: (
        Annotated[
            tuple[ExtendedKeyUsage, ...], BeforeValidator(as_list, json_schema_input_type=str | list[str])
        ]
        | None
    ) = Field(None, description="All extended key usages, in any order")
    validity: Duration | None = Field(None, description="From now to the end of the certificate")
    rule: str | None = Field(
        None, description="A rule that refuses, like names.dns or keys, or its beginning"
    )
    code: Code | None = Field(None, description="A reason code among those of the refusal")
    acme_error: str | None = Field(None, description="The problem type of ACME, like rejectedIdentifier")
    scep_failinfo: str | None = Field(None, description="The failInfo of SCEP, like badRequest")
    cmp_fail: str | None = Field(None, description="The PKIFailureInfo of CMP, like badCertTemplate")
    http: int | None = Field(None, ge=100, le=599, description="The HTTP status")

    @model_validator(mode="after")
    def _fits_the_decision(self) -> Expected:
        refused = {"rule", "code", "acme_error", "scep_failinfo", "cmp_fail"}
        granted = {"backend", "profile", "subject", "san", "eku", "validity"}
        wrong, what = (granted, "refused") if self.decision == "deny" else (refused, "granted")
        for key in self.model_fields_set & wrong:
            raise Misfit(f"nothing that is {what} has this; remove it", (key,))
        return self


class EmbeddedTest(StrictModel):
    """One request and what must come of it. Tests run whenever the policies are loaded."""

    name: str = Field(min_length=1, max_length=200, description="What it shows")
    request: SampleRequest = Field(
        default_factory=lambda: SampleRequest.model_validate({}), description="The request"
    )
    expect: Expected = Field(description="What must come of it")
