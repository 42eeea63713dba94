"""The ``names`` part of a Policy document: which names may stand in a certificate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from gateway.model.names import ATTRIBUTE_OIDS
from gateway.policy.complaints import Misfit, did_you_mean
from gateway.policy.name_rules import Wildcard
from gateway.policy.rules import AttributeSource, SubjectForm
from gateway.policy.terms import DnsNames, Networks, Suffixes, Words, attribute_oid

OnExtra = Literal["deny", "drop"]


class StrictModel(BaseModel):
    """Refuses unknown keys. ``planned`` holds keys of the language that this version does not have yet,
    ``elsewhere`` those that do not belong here, with what is to be said of them: ``... ; what is right``."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    planned: ClassVar[frozenset[str]] = frozenset()
    elsewhere: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _no_key_is_empty(cls, value: Any) -> Any:
        # `basic:` with nothing behind it reads as if basic were on; as no value it would silently be off.
        if isinstance(value, dict):
            for key, written in value.items():
                if written is None:
                    raise Misfit(
                        "there is no value; write one, {} for none in particular, or remove the key", (key,)
                    )
        return value


class AllowedValues(StrictModel):
    """Which values a subject attribute may have; one of the ways must let the value through."""

    planned: ClassVar[frozenset[str]] = frozenset({"regex", "template", "list", "glob", "cidr"})

    suffix: Suffixes = Field((), description="DNS names: these and everything below them")
    exact: Words = Field((), description="Exactly these values, upper and lower case as written")
    wildcard: Wildcard = Field(Wildcard.DENY, description="DNS names with a wildcard: deny, allow or only")
    max_labels: int = Field(127, ge=1, le=127, description="DNS names with at most so many labels")
    plain: bool = Field(
        False,
        description="Up to 64 letters, digits, hyphens, underscores and blanks, no dot, such as 'device 17'",
    )
    any: bool = Field(False, description="Every value. Think twice")
    lab_loopback: bool = Field(False, description="In lab mode also 127.0.0.0/8 and ::1")

    @model_validator(mode="after")
    def _says_something(self) -> AllowedValues:
        if not (self.suffix or self.exact or self.plain or self.any or self.lab_loopback):
            raise Misfit("no value is allowed; name some by suffix, exact or plain, or write any: true")
        return self


class AttributeRules(StrictModel):
    """What becomes of one type of subject attribute."""

    source: AttributeSource = Field(
        description="csr: as the CSR has it, if allowed. fixed: always `value`. drop: left out"
    )
    required: bool = Field(False, description="The CSR must have it")
    value: str | None = Field(
        None, min_length=1, max_length=256, description="The value of a fixed attribute"
    )
    allow: AllowedValues | None = Field(None, description="Which values of the CSR are allowed")

    @model_validator(mode="before")
    @classmethod
    def _template_is_planned(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("source") == "template":
            raise Misfit("'template' is not available in this version; use csr, fixed or drop", ("source",))
        return value

    @model_validator(mode="after")
    def _fits_its_source(self) -> AttributeRules:
        if self.source is AttributeSource.FIXED and self.value is None:
            raise Misfit("a fixed attribute has no value; add the key value")
        if self.source is not AttributeSource.FIXED and self.value is not None:
            raise Misfit(
                "only a fixed attribute has a value; write source: fixed or remove value", ("value",)
            )
        if self.source is not AttributeSource.CSR and (self.allow is not None or self.required):
            key = "allow" if self.allow is not None else "required"
            raise Misfit(f"{key} is for source: csr only; remove it", (key,))
        return self


def _subject_form(value: object) -> str:
    return "word" if isinstance(value, str | SubjectForm) else "rules"


SubjectRules = Annotated[
    Annotated[Literal["first-dns", "keep-from-previous"], Tag("word")]
    | Annotated[dict[str, AttributeRules], Tag("rules")],
    Discriminator(_subject_form),
]


class DnsNamesAllowed(StrictModel):
    """DNS names of one group."""

    planned: ClassVar[frozenset[str]] = frozenset({"allow", "add", "template", "regex", "glob", "list"})

    suffix: Suffixes = Field((), description="These names and everything below them, label by label")
    exact: DnsNames = Field((), description="Exactly these names")
    wildcard: Wildcard = Field(Wildcard.DENY, description="Names with a wildcard: deny, allow or only")
    max_labels: int = Field(127, ge=1, le=127, description="At most so many labels, the wildcard counted")

    @model_validator(mode="after")
    def _exact_fits_wildcard(self) -> DnsNamesAllowed:
        for index, name in enumerate(self.exact):
            if name.startswith("*.") and self.wildcard is Wildcard.DENY:
                raise Misfit(f"{name!r} needs wildcard: allow; add it", ("exact", index))
            if not name.startswith("*.") and self.wildcard is Wildcard.ONLY:
                raise Misfit(f"{name!r} can never pass wildcard: only; remove it", ("exact", index))
        return self


class IpAddressesAllowed(StrictModel):
    """IP addresses of one group."""

    planned: ClassVar[frozenset[str]] = frozenset({"allow", "add", "template", "list"})

    cidr: Networks = Field((), description="Networks of both versions, such as 10.0.0.0/8")
    lab_loopback: bool = Field(False, description="In lab mode also 127.0.0.0/8 and ::1")


class EmailAddressesAllowed(StrictModel):
    """E-mail addresses of one group."""

    planned: ClassVar[frozenset[str]] = frozenset({"allow", "add", "template", "regex", "list"})

    suffix: Suffixes = Field((), description="Domains of the addresses: these and everything below them")


class UrisAllowed(StrictModel):
    """URIs of one group."""

    planned: ClassVar[frozenset[str]] = frozenset({"allow", "add", "template", "regex", "list"})

    prefix: Words = Field((), description="Beginnings of the URIs, such as spiffe://example.com/ns/web")

    @model_validator(mode="after")
    def _prefix_is_whole(self) -> UrisAllowed:
        for index, prefix in enumerate(self.prefix):
            scheme, colon, rest = prefix.partition(":")
            authority = rest[2:].partition("/")
            if not colon or not scheme or not rest:
                raise Misfit(
                    f"{prefix!r} is no beginning of a URI; write scheme: and more", ("prefix", index)
                )
            if rest.startswith("//") and not (authority[0] and authority[1]):
                raise Misfit(
                    f"{prefix!r} leaves the host open; write it with a slash after it", ("prefix", index)
                )
        return self


class _Bounds(StrictModel):
    """How many names of a kind."""

    max: int = Field(100, ge=0, le=1000, description="At most so many names of this kind in one certificate")
    required: bool = Field(False, description="At least one name of this kind must be asked for")
    on_extra: OnExtra | None = Field(
        None,
        description="Names that are not allowed: deny the request, or drop them. Default: as for all names",
    )


class DnsRules(DnsNamesAllowed, _Bounds):
    """DNS names: which ones (unless groups say so) and how many."""


class IpRules(IpAddressesAllowed, _Bounds):
    """IP addresses: which ones (unless groups say so) and how many."""


class EmailRules(EmailAddressesAllowed, _Bounds):
    """E-mail addresses: which ones (unless groups say so) and how many."""


class UriRules(UrisAllowed, _Bounds):
    """URIs: which ones (unless groups say so) and how many."""


class GroupRules(StrictModel):
    """Names that may stand together in one certificate."""

    name: str = Field(min_length=1, max_length=60, description="Stands in the trace")
    dns: DnsNamesAllowed | None = Field(None, description="DNS names of this group")
    ip: IpAddressesAllowed | None = Field(None, description="IP addresses of this group")
    email: EmailAddressesAllowed | None = Field(None, description="E-mail addresses of this group")
    uri: UrisAllowed | None = Field(None, description="URIs of this group")


class NamesRules(StrictModel):
    """Which names may stand in the certificate; kinds and attributes without a rule may not."""

    planned: ClassVar[frozenset[str]] = frozenset(
        {"same_as_previous_on_renew", "other", "directory", "add", "template"}
    )

    subject: SubjectRules = Field(
        description="Rules by attribute (CN: {source: csr, ...}), or first-dns, or keep-from-previous"
    )
    groups: tuple[GroupRules, ...] = Field(
        (),
        max_length=200,
        description="All alternative names of one request must fit into one of these groups",
    )
    dns: DnsRules | None = Field(None, description="DNS names")
    ip: IpRules | None = Field(None, description="IP addresses")
    email: EmailRules | None = Field(None, description="E-mail addresses")
    uri: UriRules | None = Field(None, description="URIs")
    total_max: int = Field(100, ge=1, le=1000, description="At most so many alternative names in all")
    cn_in_san: bool = Field(True, description="A CN must equal one of the alternative names")
    on_extra: OnExtra = Field(
        "deny", description="Names and attributes that no rule allows: deny the request, or drop them"
    )

    @model_validator(mode="after")
    def _subject_is_bounded(self) -> NamesRules:
        if isinstance(self.subject, str):
            return self
        for name, rule in self.subject.items():
            if attribute_oid(name) is None:
                raise Misfit(
                    f"{name!r} is no subject attribute; {did_you_mean(name, ATTRIBUTE_OIDS)}",
                    ("subject", name),
                )
            bounded = rule.allow is not None or (name == "CN" and self.cn_in_san)
            if rule.source is AttributeSource.CSR and not bounded:
                raise Misfit(
                    "nothing bounds this value; add allow: {suffix: [...]}, or allow: {any: true}",
                    ("subject", name),
                )
        return self

    @model_validator(mode="after")
    def _groups_stand_alone(self) -> NamesRules:
        if not self.groups:
            return self
        for kind in ("dns", "ip", "email", "uri"):
            rules: _Bounds | None = getattr(self, kind)
            if rules is None:
                continue
            for key in sorted(rules.model_fields_set & {"suffix", "exact", "cidr", "prefix", "lab_loopback"}):
                raise Misfit(f"{key} is said by the groups; move it into one of them", (kind, key))
            if rules.on_extra == "drop":
                raise Misfit("names cannot be dropped where groups are given; write deny", (kind, "on_extra"))
        if self.on_extra == "drop":
            raise Misfit("names cannot be dropped where groups are given; write deny", ("on_extra",))
        return self
