"""``pkigate``: the entry point. It ends every failed command with one line and a documented exit code."""

from __future__ import annotations

import os
import re
import sys
import traceback

from gateway import __version__
from gateway.errors import GatewayError

TRACEBACK_VARIABLE = "PKIGATE_TRACEBACK"
# Scripts ask often for the version, and building the command line takes a quarter of a second.
_VERSION_LINES = (["version"], ["--version"])


def main() -> None:
    """Run the command line of this process and end it."""
    if sys.argv[1:] in _VERSION_LINES:
        sys.stdout.write(f"pkigate {__version__}\n")
        return
    # SQLite and others make files by the process's mask; what is for everyone says so itself.
    os.umask(0o077)
    from gateway.cli.commands import app
    from gateway.cli.exit_codes import ExitCode, exit_code_of
    from gateway.cli.output import print_error

    try:
        app(prog_name="pkigate")
    except GatewayError as exc:
        # People at this keyboard administer the gateway: they may see what clients must not.
        detail = " ".join(re.split(r"\[SQL:|\(Background on", exc.detail)[0].split())
        print_error(f"{exc}: {detail}" if detail else str(exc))
        sys.exit(exit_code_of(exc))
    except BrokenPipeError:
        # The reader of our output went away (``| head``): no fault, but Python must not flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.OK)
    except Exception as exc:  # noqa: BLE001  # people are promised one line, never a traceback
        if os.environ.get(TRACEBACK_VARIABLE):
            traceback.print_exc()
        print_error(
            f"internal fault: {type(exc).__name__}: {exc}; "
            f"please report it with what the same command prints under {TRACEBACK_VARIABLE}=1"
        )
        sys.exit(ExitCode.FAILED)


if __name__ == "__main__":
    main()
