"""What an API token may be allowed to do: a closed list. What is not in it, nobody may."""

from __future__ import annotations

from enum import StrEnum


class Permission(StrEnum):
    """Each operation of the REST API asks for one."""

    CREDENTIAL_ADD = "credential.add"
    CREDENTIAL_READ = "credential.read"
    CREDENTIAL_REVOKE = "credential.revoke"
