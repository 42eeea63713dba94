"""Options of a Backend document with ``type: embedded``."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.pki.keyfile import KeyKind

CaName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
FileReference = Annotated[str, Field(pattern=r"^file:.+$")]


class IssuingCaOptions(BaseModel):
    """One CA that signs end-entity certificates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: CaName = Field(description="Name of the CA: of its files, and of the profile that routes to it.")
    key: KeyKind = Field(
        default=KeyKind.EC_P256,
        description="Kind of its key. Read only when the CA is made; an existing key stays as it is.",
    )


class EmbeddedOptions(BaseModel):
    """The embedded CA: one root and the issuing CAs below it, made at the first start."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    organization: str = Field(
        default="pkigate", min_length=1, max_length=64, description="O= of the CA certificates' subjects."
    )
    root_key: KeyKind = Field(
        default=KeyKind.RSA_3072, description="Kind of the root's key; RSA since every device can check it."
    )
    root_validity_years: int = Field(
        default=20, ge=1, le=100, description="Lifetime of the root certificate."
    )
    issuing_validity_years: int = Field(
        default=10, ge=1, le=100, description="Lifetime of an issuing CA's certificate."
    )
    issuing: tuple[IssuingCaOptions, ...] = Field(
        default=(IssuingCaOptions(name="issuing"),),
        min_length=1,
        description="The issuing CAs. One that is added later is made at the next start.",
    )
    default_issuing: str | None = Field(
        default=None,
        description="The issuing CA for routes that name no profile; without it the first of the list.",
    )
    passphrase: str | None = Field(
        default=None,
        description="Reference (file:, env:, cred:) of the passphrase of this CA's keys; "
        "without it the gateway's own passphrase is used.",
    )
    cross_certificates: tuple[FileReference, ...] = Field(
        default=(),
        max_length=8,
        description="PEM files (file:PATH, relative to the data directory), each with a certificate of an "
        "issuing CA or the root from another CA and its issuers up to the other root. ACME offers each as an "
        "alternate chain.",
    )

    @model_validator(mode="after")
    def _names_fit(self) -> EmbeddedOptions:
        names = [ca.name for ca in self.issuing]
        if len(set(names)) != len(names):
            raise ValueError("two issuing CAs have the same name; give each its own")
        if "root" in names:
            raise ValueError("no issuing CA can be named root, since the root's own files are")
        if self.default_issuing is not None and self.default_issuing not in names:
            raise ValueError(
                f"default_issuing is {self.default_issuing!r}, but the issuing CAs are {', '.join(names)}"
            )
        if self.issuing_validity_years > self.root_validity_years:
            raise ValueError("issuing_validity_years is more than root_validity_years; make it less")
        return self

    @property
    def default_issuing_name(self) -> str:
        return self.default_issuing or self.issuing[0].name

    @property
    def known_profiles(self) -> frozenset[str]:
        """``BackendPlugin``: each issuing CA signs the orders of the profile that has its name."""
        return frozenset(ca.name for ca in self.issuing)

    @property
    def default_profile(self) -> str:
        """``BackendPlugin``: what orders without a profile are signed as."""
        return self.default_issuing_name
