"""Policy sources to a bundle: read, validate, cross-check, compile. Every mistake is reported at once."""

from __future__ import annotations

from gateway.policy.registry import Registry
from gateway.policy.rules import Bundle
from gateway.policy.sources import PolicySource, read_directory

__all__ = ["Bundle", "PolicySource", "Registry", "read_directory"]
