"""Mutants of a good signed ACME request, each with the answers that are right for it (acme.md C12-C40, E8).

A mutant whose ``place`` is ``codec`` is refused by the JWS codec alone, one of ``wire`` only where there are
URLs, nonces and accounts. What is wrong is wrong before any payload is read, but for the few named so.
"""

from __future__ import annotations

from tests.support import jws_mutants_envelope as envelope
from tests.support import jws_mutants_header as header
from tests.support import jws_mutants_keys as keys
from tests.support import jws_mutants_wire as wire
from tests.support.jws_target import Mutant, Target, good

__all__ = ["Mutant", "Target", "good", "mutants"]


def mutants() -> tuple[Mutant, ...]:
    """All of them; their names are unique."""
    families = (
        *(envelope.bodies, envelope.serializations, envelope.parts, envelope.base64url),
        *(header.raw_headers, header.extensions, header.algorithms, header.members),
        *(keys.bad_jwks, keys.misfits, keys.signatures),
        *(wire.on_the_wire, wire.nonces, wire.urls, wire.kids),
    )
    return tuple(mutant for family in families for mutant in family())
