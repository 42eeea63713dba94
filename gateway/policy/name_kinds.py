"""Rules for each kind of alternative name, as they are written in documents: ways, bounds, names put in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from gateway.model.names import ATTRIBUTE_OIDS
from gateway.policy.complaints import Misfit, did_you_mean
from gateway.policy.name_ways import (
    DirectoryNamesAllowed,
    DnsNamesAllowed,
    DnsTemplates,
    EmailAddressesAllowed,
    EmailTemplate,
    EmailTemplates,
    IpAddressesAllowed,
    IpTemplates,
    Oids,
    OtherNamesAllowed,
    RegisteredIdsAllowed,
    TextTemplate,
    UrisAllowed,
    UriTemplates,
)
from gateway.policy.strict_model import StrictModel
from gateway.policy.terms import attribute_oid

OnExtra = Literal["deny", "drop"]
KINDS = ("dns", "ip", "email", "uri", "directory", "other", "registered_id")


class Bounds(StrictModel):
    """How many names of a kind."""

    max: int = Field(100, ge=0, le=1000, description="At most so many names of this kind in one certificate")
    required: bool = Field(False, description="At least one name of this kind must be asked for or added")
    on_extra: OnExtra | None = Field(
        None,
        description="Names that are not allowed: deny the request, or drop them. Default: as for all names",
    )

    @property
    def said_here(self) -> frozenset[str]:
        """The ways that are written beside the bounds."""
        return frozenset(type(self).model_fields[field].alias or field for field in self.model_fields_set) - {
            "allow",
            "add",
            *Bounds.model_fields,
        }

    def _stand_once(self) -> None:
        if getattr(self, "allow", None) is not None and self.said_here:
            key = min(self.said_here)
            raise Misfit(f"{key} stands beside allow; write it below allow, or all ways without it", (key,))


_ALLOW = "The ways to let names through; short form: write them here without allow"
_ADD = "Names that are always put in, made by templates; they need no other rule"


class DnsRules(DnsNamesAllowed, Bounds):
    """DNS names: which ones (unless groups say so) and how many."""

    allow: DnsNamesAllowed | None = Field(None, description=_ALLOW)
    add: DnsTemplates = Field((), description=_ADD)

    @model_validator(mode="after")
    def _says_it_once(self) -> DnsRules:
        self._stand_once()
        return self


class IpRules(IpAddressesAllowed, Bounds):
    """IP addresses: which ones (unless groups say so) and how many."""

    allow: IpAddressesAllowed | None = Field(None, description=_ALLOW)
    add: IpTemplates = Field((), description=_ADD)

    @model_validator(mode="after")
    def _says_it_once(self) -> IpRules:
        self._stand_once()
        return self


class EmailRules(EmailAddressesAllowed, Bounds):
    """E-mail addresses: which ones (unless groups say so) and how many."""

    allow: EmailAddressesAllowed | None = Field(None, description=_ALLOW)
    add: EmailTemplates = Field((), description=_ADD)

    @model_validator(mode="after")
    def _says_it_once(self) -> EmailRules:
        self._stand_once()
        return self


class UriRules(UrisAllowed, Bounds):
    """URIs: which ones (unless groups say so) and how many."""

    allow: UrisAllowed | None = Field(None, description=_ALLOW)
    add: UriTemplates = Field((), description=_ADD)

    @model_validator(mode="after")
    def _says_it_once(self) -> UriRules:
        self._stand_once()
        return self


def _as_names(value: object) -> object:
    """One mapping stands for a list of one."""
    return [value] if isinstance(value, dict) else value


class DirectoryRules(DirectoryNamesAllowed, Bounds):
    """Directory names: which ones (unless groups say so) and how many."""

    allow: DirectoryNamesAllowed | None = Field(None, description=_ALLOW)
    add: Annotated[
        tuple[dict[str, TextTemplate], ...],
        BeforeValidator(_as_names, json_schema_input_type=dict[str, str] | list[dict[str, str]]),
    ] = Field((), max_length=20, description=f"{_ADD}: attributes, the outermost first")

    @model_validator(mode="after")
    def _says_it_once(self) -> DirectoryRules:
        self._stand_once()
        for index, name in enumerate(self.add):
            if not name:
                raise Misfit("this name has no attribute; write one like {CN: ...}", ("add", index))
            for attribute in name:
                if attribute_oid(attribute) is None:
                    hint = did_you_mean(attribute, ATTRIBUTE_OIDS)
                    text = f"{attribute!r} is no attribute of a name; {hint}"
                    raise Misfit(text, ("add", index, attribute))
        return self


class OtherRules(OtherNamesAllowed, Bounds):
    """otherNames: which ones (unless groups say so) and how many."""

    add: Annotated[
        tuple[dict[str, EmailTemplate], ...],
        BeforeValidator(_as_names, json_schema_input_type=dict[str, str] | list[dict[str, str]]),
    ] = Field((), max_length=20, description=f"{_ADD}: {{upn: ...}} or {{smtpUTF8Mailbox: ...}}")

    @model_validator(mode="after")
    def _adds_known_types(self) -> OtherRules:
        for index, name in enumerate(self.add):
            if len(name) != 1 or next(iter(name)) not in ("upn", "smtpUTF8Mailbox"):
                raise Misfit(
                    "only names of the types upn and smtpUTF8Mailbox can be added; write {upn: ...}",
                    ("add", index),
                )
        return self


class RegisteredIdRules(RegisteredIdsAllowed, Bounds):
    """Registered ids: which ones (unless groups say so) and how many."""

    allow: RegisteredIdsAllowed | None = Field(None, description=_ALLOW)
    add: Oids = Field((), description="Object identifiers that are always put in")

    @model_validator(mode="after")
    def _says_it_once(self) -> RegisteredIdRules:
        self._stand_once()
        return self


_BELONGS = "belongs to the whole certificate; write it beside groups"


class GroupRules(StrictModel):
    """Names that may stand together in one certificate."""

    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("subject", "total_max", "cn_in_san", "on_extra"), _BELONGS
    )

    name: str = Field(min_length=1, max_length=60, description="Stands in the trace")
    dns: DnsNamesAllowed | None = Field(None, description="DNS names of this group")
    ip: IpAddressesAllowed | None = Field(None, description="IP addresses of this group")
    email: EmailAddressesAllowed | None = Field(None, description="E-mail addresses of this group")
    uri: UrisAllowed | None = Field(None, description="URIs of this group")
    directory: DirectoryNamesAllowed | None = Field(None, description="Directory names of this group")
    other: OtherNamesAllowed | None = Field(None, description="otherNames of this group")
    registered_id: RegisteredIdsAllowed | None = Field(None, description="Registered ids of this group")
