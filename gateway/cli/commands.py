"""The tree of commands, a module per noun. Heavy imports (database, web server) stand inside the commands."""

from __future__ import annotations

import typer

from gateway import __version__
from gateway.cli import acme, audit, cert, config, credential, db, lists, policy, request, serve
from gateway.cli.options import JsonOption
from gateway.cli.output import print_json

app = typer.Typer(
    name="pkigate",
    help="Certificate enrolment gateway: ACME, EST, SCEP and CMP in front of any CA, decided by policy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain texts: usage errors stay short, and help needs no rich
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
for noun in (config, policy, lists, credential, acme, request, cert, audit, db):
    app.add_typer(noun.app)


@app.command()
def version(as_json: JsonOption = False) -> None:
    """Print the version."""
    if as_json:
        print_json({"name": "pkigate", "version": __version__})
    else:
        typer.echo(f"pkigate {__version__}")
