"""``pkigate policy validate|schema``: check policy files and describe their language."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.exit_codes import ExitCode
from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption, load_config
from gateway.cli.output import fail, note, print_fields, print_json
from gateway.cli.policy.loading import load_policies, policy_warnings
from gateway.errors import ConfigurationError


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
    by another CA than its endpoint hands out, or that a guardrail cuts short.
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
        "shadow_policies": [policy.name for policy in bundle.shadows],
        "guardrails": [guardrail.name for guardrail in bundle.guardrails],
        "compat": [f"{one.protocol}/{one.name}" for of in bundle.compatibility.values() for one in of],
    }
    if as_json:
        print_json({"ok": True, "errors": [], "warnings": warnings, **found})
        return
    for warning in warnings:
        note(f"warning: {warning}")
    print_fields((key.replace("_", " "), value) for key, value in found.items())
    typer.echo("The policies are good.")


def schema() -> None:
    """Print the JSON Schema of policy files, for editors."""
    from gateway.policy.schema import json_schema

    print_json(json_schema())
