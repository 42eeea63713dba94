"""``pkigate policy``: check policy files and describe their language."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.exit_codes import ExitCode
from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption, load_config
from gateway.cli.output import fail, note, print_fields, print_json
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
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR|FILE",
            help="Directory of *.yaml files, or one file alone. Default: the gateway's directory.",
        ),
    ] = None,
    lab: Annotated[bool, typer.Option("--lab", help="Compile as lab mode does.")] = False,
    config_file: ConfigFileOption = None,
    data_dir: DataDirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load and compile policies; every mistake is shown with file:line:column.

    A policy that others hide, so that no request can ever select it, is a warning, and so is one that issues
    by another CA than its endpoint hands out.
    """
    if path is None:
        configuration = load_config(config_file, data_dir)
        path, lab = configuration.policies, lab or configuration.lab.enabled
    try:
        bundle = load_policies(path, lab=lab)
    except ConfigurationError as exc:
        if as_json:
            errors = str(exc).splitlines()
            print_json({"ok": False, "directory": str(path), "errors": errors, "warnings": []})
            raise typer.Exit(int(ExitCode.FAILED)) from exc
        ended = fail(str(exc))
        if path.is_file():
            note(
                f"{path.name} was read alone; name its directory if it uses documents of the files beside it."
            )
        raise ended from exc
    warnings = policy_warnings(bundle)
    found: dict[str, object] = {
        "directory": str(path),
        "bundle_sha256": bundle.sha256,
        "endpoints": [f"{protocol}/{name}" for protocol, name in bundle.endpoints],
        "backends": list(bundle.backends),
        "trust_stores": list(bundle.trust_stores),
        "policies": [policy.name for policy in bundle.policies],
        "compat": [f"{one.protocol}/{one.name}" for of in bundle.compatibility.values() for one in of],
    }
    if as_json:
        print_json({"ok": True, "errors": [], "warnings": warnings, **found})
        return
    for warning in warnings:
        note(f"warning: {warning}")
    print_fields((key.replace("_", " "), value) for key, value in found.items())
    typer.echo("The policies are good.")


@app.command()
def schema() -> None:
    """Print the JSON Schema of policy files, for editors."""
    from gateway.policy.schema import json_schema

    print_json(json_schema())


def load_policies(path: Path, *, lab: bool) -> Bundle:
    """Compile a directory or a file with every installed front end and backend known.

    Raises ConfigurationError.
    """
    from gateway.plugins import load_plugins
    from gateway.policy.load import load_bundle
    from gateway.policy.sources import read_sources

    return load_bundle(read_sources(path), load_plugins().registry(lab=lab))


def policy_warnings(bundle: Bundle) -> list[str]:
    """What is allowed but hardly meant."""
    from gateway.policy.handed_out import foreign_issuers
    from gateway.policy.reach import hidden_policies

    return [str(warning) for warning in (*hidden_policies(bundle), *foreign_issuers(bundle))]
