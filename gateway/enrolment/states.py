"""The states of a recorded request and the moves between them; nothing else may change a state.

There is no state before the first decision: a request is judged first and then inserted in its first real
state, so that a crash leaves nothing that nobody can finish.
"""

from __future__ import annotations

from gateway.model.outcome import State

FIRST: frozenset[State] = frozenset(
    {State.REFUSED, State.AWAITING_APPROVAL, State.SUBMITTING, State.ISSUED, State.UNCONFIRMED}
)
"""A backend that signs in this process needs no durable intent, so its requests begin as issued."""

MOVES: dict[State, frozenset[State]] = {
    State.AWAITING_APPROVAL: frozenset({State.REFUSED, State.SUBMITTING, State.ISSUED, State.UNCONFIRMED}),
    State.SUBMITTING: frozenset(
        {State.ISSUED, State.UNCONFIRMED, State.AWAITING_CA, State.REFUSED, State.IN_DOUBT}
    ),
    State.AWAITING_CA: frozenset({State.ISSUED, State.UNCONFIRMED, State.REFUSED, State.IN_DOUBT}),
    State.UNCONFIRMED: frozenset({State.ISSUED, State.WITHDRAWN}),
    State.IN_DOUBT: frozenset({State.ISSUED, State.REFUSED, State.SUBMITTING}),
    State.ISSUED: frozenset(),
    State.REFUSED: frozenset(),
    State.WITHDRAWN: frozenset(),
}

CLOSED: frozenset[State] = frozenset(state for state, targets in MOVES.items() if not targets)


def check_move(source: State, target: State) -> None:
    """Raise ValueError if the table does not know this move: that is a fault of ours, never of a client."""
    if target not in MOVES[source]:
        raise ValueError(f"a request never goes from {source} to {target}")
