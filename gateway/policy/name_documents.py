"""The ``names`` part of a Policy document: which names may stand in a certificate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from gateway.model.names import ATTRIBUTE_OIDS
from gateway.policy.complaints import Misfit, did_you_mean
from gateway.policy.name_kinds import (
    KINDS,
    Bounds,
    DirectoryRules,
    DnsRules,
    EmailRules,
    GroupRules,
    IpRules,
    OnExtra,
    OtherRules,
    RegisteredIdRules,
    UriRules,
)
from gateway.policy.name_ways import AllowedValues
from gateway.policy.rules import AttributeSource, SubjectForm
from gateway.policy.strict_model import StrictModel
from gateway.policy.template import Form, compile_template
from gateway.policy.terms import attribute_oid

__all__ = ["AllowedValues", "AttributeRules", "GroupRules", "NamesRules", "StrictModel", "SubjectRules"]


class AttributeRules(StrictModel):
    """What becomes of one type of subject attribute."""

    source: AttributeSource = Field(
        description="csr: as the CSR has it, if allowed. fixed: always `value`. template: what `value` makes "
        "of the request. drop: left out"
    )
    required: bool = Field(False, description="The CSR must have it")
    value: str | None = Field(
        None,
        min_length=1,
        max_length=512,
        description="The value of a fixed attribute, or a template such as ${client.serial}",
    )
    allow: AllowedValues | None = Field(None, description="Which values of the CSR are allowed")

    @model_validator(mode="after")
    def _fits_its_source(self) -> AttributeRules:
        made = self.source in (AttributeSource.FIXED, AttributeSource.TEMPLATE)
        if made and self.value is None:
            raise Misfit(f"a {self.source} attribute has no value; add the key value")
        if not made and self.value is not None:
            raise Misfit(
                "only a fixed attribute has a value; write source: fixed (or template) or remove value",
                ("value",),
            )
        if self.source is not AttributeSource.CSR and (self.allow is not None or self.required):
            key = "allow" if self.allow is not None else "required"
            raise Misfit(f"{key} is for source: csr only; remove it", (key,))
        if self.value is not None:
            self._check_value(self.value)
        return self

    def _check_value(self, value: str) -> None:
        if self.source is AttributeSource.FIXED:
            if len(value) > 256:
                raise Misfit("the value has more than 256 characters; shorten it", ("value",))
            if "${" in value:
                raise Misfit("this is a template; write source: template", ("source",))
            return
        try:
            template = compile_template(value, Form.TEXT)
        except Misfit as error:
            raise Misfit(str(error), ("value",)) from error
        for words in template.words:
            if words[0] == "subject":
                text = "the subject is what is being made; use a word of the request, such as csr.subject.CN"
                raise Misfit(text, ("value",))


def _subject_form(value: object) -> str:
    return "word" if isinstance(value, str | SubjectForm) else "rules"


SubjectRules = Annotated[
    Annotated[Literal["first-dns", "keep-from-previous"], Tag("word")]
    | Annotated[dict[str, AttributeRules], Tag("rules")],
    Discriminator(_subject_form),
]


class NamesRules(StrictModel):
    """Which names may stand in the certificate; kinds and attributes without a rule may not."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("add", "template"), "is said of each kind of name; write it below dns, uri or another"
        ),
        **dict.fromkeys(("x400", "edi_party"), "names are never issued; remove it"),
    }

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
    directory: DirectoryRules | None = Field(None, description="Directory names")
    other: OtherRules | None = Field(None, description="otherNames, by type: user principal names and more")
    registered_id: RegisteredIdRules | None = Field(None, description="Registered ids (object identifiers)")
    total_max: int = Field(100, ge=1, le=1000, description="At most so many alternative names in all")
    cn_in_san: bool = Field(True, description="A CN must equal one of the alternative names")
    on_extra: OnExtra = Field(
        "deny", description="Names and attributes that no rule allows: deny the request, or drop them"
    )
    same_as_previous_on_renew: bool = Field(
        False,
        description="A renewal has the alternative names of the certificate that it renews, all of them and "
        "no others; they need no other rule",
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
        for kind in KINDS:
            rules: Bounds | None = getattr(self, kind)
            if rules is None:
                continue
            ways = rules.said_here | ({"allow"} & rules.model_fields_set)
            for key in sorted(ways - {"wildcard", "max_labels"}):
                raise Misfit(f"{key} is said by the groups; move it into one of them", (kind, key))
            if rules.on_extra == "drop":
                raise Misfit("names cannot be dropped where groups are given; write deny", (kind, "on_extra"))
        if self.on_extra == "drop":
            raise Misfit("names cannot be dropped where groups are given; write deny", ("on_extra",))
        return self
