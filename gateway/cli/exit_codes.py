"""Exit codes of every command. docs/cli.md is made from them."""

from __future__ import annotations

from enum import IntEnum

from gateway.errors import GatewayError, NotFound, RetryLater


class ExitCode(IntEnum):
    """What the shell is told."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNAVAILABLE = 4

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "refused or failed; wrong configurations and checks that found something too",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.NOT_FOUND: "no such object",
    ExitCode.UNAVAILABLE: "the database cannot be reached now; repeating later is safe",
}


def exit_code_of(error: GatewayError) -> ExitCode:
    """The exit code that an error ends a command with."""
    if isinstance(error, NotFound):
        return ExitCode.NOT_FOUND
    return ExitCode.UNAVAILABLE if isinstance(error, RetryLater) else ExitCode.FAILED
