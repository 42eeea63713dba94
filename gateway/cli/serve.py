"""``pkigate serve``: start the gateway."""

from __future__ import annotations

import gc
import os
from typing import Annotated

import typer

from gateway.cli.options import ConfigFileOption, DataDirectoryOption
from gateway.cli.output import note


def serve(
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="ADDRESS", help="IP address of every listener but metrics."),
    ] = None,
    https_port: Annotated[
        int | None,
        typer.Option("--https-port", metavar="N", help="Port of the listener `https`; 0 picks one."),
    ] = None,
    http_port: Annotated[
        int | None, typer.Option("--http-port", metavar="N", help="Port of the listener `http`; 0 picks one.")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option("--metrics-port", metavar="N", help="Port of the metrics; 0 picks one.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", help="Worker processes.")] = None,
    lab: Annotated[
        bool,
        typer.Option("--lab", help="Lab mode: also loopback addresses in certificates. Not for production."),
    ] = False,
    log_level: Annotated[
        str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
    ] = None,
) -> None:
    """Start the gateway; the first start creates keys, CA, database and policies in the data directory."""
    from gateway.config import Flags, load, unknown_variables

    flags = Flags(
        data_dir=data_dir,
        host=host,
        https_port=https_port,
        http_port=http_port,
        metrics_port=metrics_port,
        workers=workers,
        lab=True if lab else None,
        log_level=log_level,
    )
    configuration = load(config_file, flags=flags, environment=os.environ)
    for report in unknown_variables(os.environ):
        note(f"warning: {report}")

    # Only now: the web server and the database take half a second to import, a mistake should not.
    # Imports leave no garbage, and looking for it takes a tenth of a second.
    gc.disable()
    from gateway.app import run

    gc.enable()
    raise typer.Exit(run(configuration))
