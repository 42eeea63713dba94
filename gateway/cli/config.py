"""``pkigate config``: check and describe pkigate.yaml."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from gateway.cli.exit_codes import ExitCode
from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption, load_config
from gateway.cli.output import fail, note, print_fields, print_json
from gateway.cli.policy.loading import load_policies, policy_warnings
from gateway.errors import ConfigurationError, SecretUnavailable

if TYPE_CHECKING:
    from gateway.config import Config

app = typer.Typer(
    name="config", help="Check and describe pkigate.yaml.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def check(
    config_file: ConfigFileOption = None, data_dir: DataDirectoryOption = None, as_json: JsonOption = False
) -> None:
    """Check the configuration, the files that it names and the policies, without starting anything.

    Flags that a running gateway was started with are not seen.
    """
    from gateway.config import unknown_variables

    errors: list[str] = []
    warnings = list(unknown_variables(os.environ))
    summary: dict[str, object] = {}
    try:
        configuration = load_config(config_file, data_dir)
        summary = _summary(configuration)
        errors.extend(_unusable(configuration))
        if configuration.policies.is_dir():
            bundle = load_policies(configuration.policies, lab=configuration.lab.enabled)
            summary["bundle_sha256"] = bundle.sha256
            warnings.extend(policy_warnings(bundle))
    except ConfigurationError as exc:
        errors.extend(str(exc).splitlines())
    if as_json:
        print_json({"ok": not errors, "errors": errors, "warnings": warnings, **summary})
        raise typer.Exit(int(ExitCode.FAILED if errors else ExitCode.OK))
    for warning in warnings:
        note(f"warning: {warning}")
    if errors:
        raise fail("\n".join(errors))
    print_fields((name.replace("_", " "), value) for name, value in summary.items())
    typer.echo("The configuration is good.")
    typer.echo("Flags that a running gateway was started with, such as --https-port, are not seen here.")


@app.command()
def schema() -> None:
    """Print the JSON Schema of pkigate.yaml, for editors."""
    from gateway.config import config_schema

    print_json(config_schema())


@app.command()
def reference() -> None:
    """Print docs/configuration.md, made from the models."""
    from gateway.config import config_markdown

    typer.echo(config_markdown(), nl=False)


def _summary(config: Config) -> dict[str, object]:
    """What the settings come to. Raises ConfigurationError if ports.json cannot be read."""
    from gateway.datadir import DataDirectory, kept_ports

    kept = kept_ports(DataDirectory(config.data_directory))

    def port(name: str, number: int) -> str:
        return str(number or kept.get(name) or "0, picked at the first start")

    return {
        "data_directory": str(config.data_directory),
        "database": config.database_kind,
        "policies": str(config.policies),
        "workers": config.worker_count,
        "listeners": [
            f"{listener.name} ({'http' if listener.plain else 'https'}, {listener.address}, "
            f"port {port(listener.name, listener.port)}): {' '.join(listener.serves)}"
            for listener in config.listeners
        ],
    }


def _unusable(config: Config) -> Iterator[str]:
    """What the configuration names and this user cannot use."""
    from gateway.datadir import resolve_secret
    from gateway.quickstart import demo_wanted

    try:
        demo_wanted(config.demo_credentials, config.addresses)
    except ConfigurationError as exc:
        yield str(exc)
    references = [("passphrase", config.passphrase)]
    for listener in config.listeners:
        if isinstance(listener.tls, str):
            continue
        references.append((f"listeners.{listener.name}.tls.passphrase", listener.tls.passphrase))
        for name, path in (("certificate", listener.tls.certificate), ("key", listener.tls.key)):
            if not os.access(path, os.R_OK):
                yield f"listeners.{listener.name}.tls.{name}: {path} cannot be read; name a readable PEM file"
    for name, reference in references:
        try:
            if reference is not None:
                resolve_secret(reference, config.data_directory)
        except SecretUnavailable as exc:
            yield f"{name}: {exc}"
