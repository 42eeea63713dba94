"""``pkigate policy``: check policy files and describe their language."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.exit_codes import ExitCode
from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption, load_config
from gateway.cli.output import fail, print_fields, print_json
from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from gateway.policy.load import Bundle

app = typer.Typer(
    name="policy",
    help="Check policies and describe their language.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def validate(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="Directory of *.yaml files. Default: the gateway's."),
    ] = None,
    lab: Annotated[bool, typer.Option("--lab", help="Compile as lab mode does.")] = False,
    config_file: ConfigFileOption = None,
    data_dir: DataDirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load and compile a policy directory; every mistake is shown with file:line:column."""
    if directory is None:
        configuration = load_config(config_file, data_dir)
        directory, lab = configuration.policies, lab or configuration.lab.enabled
    try:
        bundle = load_directory(directory, lab=lab)
    except ConfigurationError as exc:
        if as_json:
            print_json({"ok": False, "directory": str(directory), "errors": str(exc).splitlines()})
            raise typer.Exit(int(ExitCode.FAILED)) from exc
        raise fail(str(exc)) from exc
    found: dict[str, object] = {
        "directory": str(directory),
        "bundle_sha256": bundle.sha256,
        "endpoints": [f"{protocol}/{name}" for protocol, name in bundle.endpoints],
        "backends": list(bundle.backends),
        "trust_stores": list(bundle.trust_stores),
        "policies": [policy.name for policy in bundle.policies],
    }
    if as_json:
        print_json({"ok": True, "errors": [], **found})
        return
    print_fields((key.replace("_", " "), value) for key, value in found.items())
    typer.echo("The policies are good.")


@app.command()
def schema() -> None:
    """Print the JSON Schema of policy files, for editors."""
    from gateway.policy.schema import json_schema

    print_json(json_schema())


def load_directory(directory: Path, *, lab: bool) -> Bundle:
    """Compile a directory with every installed front end and backend known. Raises ConfigurationError."""
    from gateway.plugins import load_plugins
    from gateway.policy.load import load_bundle
    from gateway.policy.sources import read_directory

    return load_bundle(read_directory(directory), load_plugins().registry(lab=lab))
