"""The parts of a Policy document that are about time and people: validity, renewal, approval; and issue."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from gateway.policy.complaints import Misfit
from gateway.policy.content_rules import NewKey
from gateway.policy.extension_documents import ExtensionsRules
from gateway.policy.key_documents import KeyRules
from gateway.policy.strict_model import StrictModel
from gateway.policy.terms import Duration, read_duration

__all__ = ["ApprovalRules", "ExtensionsRules", "KeyRules", "RenewalRules", "ValidityRules"]

_MAX_BACKDATE = timedelta(days=30)
_LEAST_LIFE = timedelta(minutes=1)
_MAX_REVOKE_PREVIOUS = timedelta(days=366)
_RENEWING_CREDENTIAL = (
    "belongs to the credential; write it as authenticate: {renewal-cert: {trust: NAME, allow_expired: 7d}}"
)


def _read_revoke_previous(value: object) -> timedelta | None:
    """None: never. Raises Misfit."""
    if value == "never":
        return None
    if value == "at-once":
        return timedelta(0)
    try:
        span = read_duration(value)
    except Misfit as error:
        raise Misfit(f"{value!r} is none of never, at-once and a duration such as 14d; write one") from error
    if span > _MAX_REVOKE_PREVIOUS:
        raise Misfit("this is over a year; write a shorter duration, or never")
    return span


RevokePrevious = Annotated[
    timedelta | None,
    PlainValidator(_read_revoke_previous),
    WithJsonSchema(
        {"anyOf": [{"enum": ["never", "at-once"]}, {"type": "string", "pattern": "^[0-9]{1,9}[smhdwy]$"}]}
    ),
]


class ValidityRules(StrictModel):
    """How long a certificate lives; never longer than the certificate of the CA that issues it."""

    default: Duration = Field(description="Life counted from now, such as 90d")
    max: Duration | None = Field(
        None, description="Longest life that a client may ask for; default: `default`"
    )
    client_may_request: bool = Field(
        False, description="Whether a client may ask for begin and end; if not, such a request is denied"
    )
    backdate: Duration = Field(timedelta(minutes=5), description="notBefore lies so long before now")
    jitter: Duration = Field(
        timedelta(0),
        description="The life is shorter by up to so much, always the same for one key, so that what was "
        "enrolled together does not end together. Not where the client asks for the end",
    )

    @model_validator(mode="after")
    def _spans_fit(self) -> ValidityRules:
        if self.default < _LEAST_LIFE:
            raise Misfit("the life is under a minute; write a longer one, such as 90d", ("default",))
        if self.max is not None and self.max < self.default:
            raise Misfit("max is shorter than default; lengthen max or shorten default", ("max",))
        if self.max is not None and self.max > self.default and not self.client_may_request:
            raise Misfit(
                "max has no effect unless client_may_request: true; add that or remove max", ("max",)
            )
        if self.backdate > _MAX_BACKDATE:
            raise Misfit("backdate is over 30d; write a shorter one, such as 5m", ("backdate",))
        if self.jitter and self.default - self.jitter < max(_LEAST_LIFE, self.default / 2):
            raise Misfit("jitter takes more than half of default; write a shorter one", ("jitter",))
        return self


class RenewalRules(StrictModel):
    """What holds for renew and rekey, beside everything else."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "allow_expired": _RENEWING_CREDENTIAL,
        "authenticate_with": "is said by authenticate; write authenticate: {renewal-cert: {trust: NAME}}",
        "grace": _RENEWING_CREDENTIAL,
    }

    window: Duration | None = Field(
        None,
        description="Renewal is allowed from so long before the end of the old one; default: at any time",
    )
    window_percent: int | None = Field(
        None, ge=1, le=100, description="As `window`, in percent of the life of the old certificate"
    )
    ari: Literal["auto", "off"] | None = Field(
        None,
        description="ACME renewal information (RFC 9773) for certificates of this policy. auto (the "
        "default): from the beginning of the window on; off: none",
    )
    name_change: Literal["deny", "allow"] = Field(
        "deny", description="Whether the new certificate may have other names (allowed ones)"
    )
    new_key: NewKey = Field(NewKey.OPTIONAL, description="optional, required or forbidden")
    missing_san: Literal["reject", "copy"] = Field(
        "reject", description="A request without alternative names where the old certificate has some"
    )
    revoke_previous: RevokePrevious = Field(
        None,
        description="So long after the new certificate was issued (or confirmed) the old one is revoked as "
        "superseded, unless the new one was revoked meanwhile. never (the default), at-once, or 14d",
    )

    @model_validator(mode="after")
    def _one_window(self) -> RenewalRules:
        if self.window is not None and self.window_percent is not None:
            raise Misfit("window says the same in other words; keep one of them", ("window_percent",))
        return self


class ApprovalRules(StrictModel):
    """People decide before anything is issued."""

    planned: ClassVar[frozenset[str]] = frozenset({"steps"})

    when: str | None = Field(
        None, description="An expression of CEL: people are asked where it is true; without it, always"
    )
    required: int = Field(1, ge=1, le=10, description="How many people must approve")
    expires: Duration = Field(timedelta(days=7), description="Refused if not approved by then")
    retry_after: Duration = Field(
        timedelta(minutes=1), description="When the client is told to ask again (Retry-After)"
    )

    @model_validator(mode="after")
    def _waits_some_time(self) -> ApprovalRules:
        for key in ("expires", "retry_after"):
            if getattr(self, key) < timedelta(seconds=1):
                raise Misfit("this is no time at all; write at least 1s", (key,))
        return self
