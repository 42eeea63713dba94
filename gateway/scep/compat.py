"""Habits of families of SCEP clients, as Compat documents describe them (``policies/compat.yaml``).

A document says by what its clients are known (User-Agent, path, query) and which settings of the endpoint
are different for them. The first that fits counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.frontend import Compatibility
from gateway.scep.options import ScepOptions, ScepSettings


class ScepClientMatch(BaseModel):
    """By what a client is known: everything that is given must fit. Letter case does not count."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_agent: tuple[str, ...] = Field(
        default=(), description="One of these texts stands in the User-Agent header."
    )
    path_suffix: tuple[str, ...] = Field(default=(), description="The path ends with one of these.")
    without_user_agent: bool = Field(default=False, description="The request has no User-Agent header.")

    @model_validator(mode="after")
    def _knows_somebody(self) -> ScepClientMatch:
        if not (self.user_agent or self.path_suffix or self.without_user_agent):
            raise ValueError("say by what the clients are known: user_agent, path_suffix, without_user_agent")
        if self.user_agent and self.without_user_agent:
            raise ValueError("a request cannot both have a User-Agent and have none; keep one of them")
        return self

    def fits(self, user_agent: str | None, path: str) -> bool:
        if self.without_user_agent and user_agent:
            return False
        if self.user_agent:
            given = (user_agent or "").casefold()
            if not any(text.casefold() in given for text in self.user_agent):
                return False
        return not self.path_suffix or path.casefold().endswith(
            tuple(suffix.casefold() for suffix in self.path_suffix)
        )


class ScepCompat(BaseModel):
    """What a Compat document of protocol scep holds besides its name and priority."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clients: ScepClientMatch = Field(description="Whom it is about")
    settings: ScepSettings = Field(description="Settings of the endpoint that are different for them")

    def applied_to(self, options: ScepOptions) -> ScepOptions:
        """The options with what this document says, and nothing else, in place of their own."""
        # Both were validated when they were loaded, and no setting depends on another.
        said = {name: getattr(self.settings, name) for name in self.settings.model_fields_set}
        return options.model_copy(update=said)


def options_for(
    options: ScepOptions, compatibility: Sequence[Compatibility], user_agent: str | None, path: str
) -> tuple[ScepOptions, str]:
    """The options that count for this client, and the name of the document that changed them ("" if none)."""
    for document in compatibility:
        compat: ScepCompat = document.settings
        if compat.clients.fits(user_agent, path):
            return compat.applied_to(options), document.name
    return options, ""
