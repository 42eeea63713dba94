"""JSON payloads of ACME requests: one object, with members of the right types.

Members that RFC 8555 does not know are left alone (section 7.3); known ones of a wrong type are refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.acme.errors import AcmeError, malformed
from gateway.acme.strict_json import read_object as read_strictly


def read_object(payload: bytes) -> dict[str, object]:
    """The object that a payload holds. Raises malformed for anything else, the empty payload included."""
    if not payload:
        raise malformed("the payload is empty, which reads a resource, and here an object is needed")
    return read_strictly(payload, "the payload")


def text(members: Mapping[str, object], name: str) -> str | None:
    """A string member, None where there is none. Raises malformed."""
    value = members.get(name)
    if value is None and name not in members:
        return None
    if not isinstance(value, str):
        raise _wrong(name, "a string")
    return value


def required_text(members: Mapping[str, object], name: str) -> str:
    """A string member that must be there. Raises malformed."""
    value = text(members, name)
    if value is None:
        raise malformed(f"the member {name} is missing")
    return value


def flag(members: Mapping[str, object], name: str) -> bool:
    """A boolean member, False where there is none. Raises malformed."""
    value = members.get(name, False)
    if not isinstance(value, bool):
        raise _wrong(name, "true or false")
    return value


def number(members: Mapping[str, object], name: str) -> int | None:
    """An integer member, None where there is none. Raises malformed."""
    if name not in members:
        return None
    value = members[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(name, "a whole number")
    return value


def texts(members: Mapping[str, object], name: str) -> tuple[str, ...] | None:
    """A member that is a list of strings, None where there is none. Raises malformed."""
    values = items(members, name)
    if values is None:
        return None
    found = tuple(value for value in values if isinstance(value, str))
    if len(found) != len(values):
        raise _wrong(name, "a list of strings")
    return found


def items(members: Mapping[str, object], name: str) -> list[object] | None:
    """A member that is a list, None where there is none. Raises malformed."""
    if name not in members:
        return None
    value = members[name]
    if not isinstance(value, list):
        raise _wrong(name, "a list")
    return value


def nested(members: Mapping[str, object], name: str) -> dict[str, object] | None:
    """A member that is an object, None where there is none. Raises malformed."""
    if name not in members:
        return None
    value = members[name]
    if not isinstance(value, dict):
        raise _wrong(name, "an object")
    return value


def _wrong(name: str, wanted: str) -> AcmeError:
    return malformed(f"the member {name} is not {wanted}")
