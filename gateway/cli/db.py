"""``pkigate db``: the database's schema."""

from __future__ import annotations

import typer

from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption, load_config
from gateway.cli.output import print_json
from gateway.cli.session import refuse_missing_database

app = typer.Typer(
    name="db", help="Create and upgrade the database's schema.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def migrate(
    data_dir: DataDirectoryOption = None, config_file: ConfigFileOption = None, as_json: JsonOption = False
) -> None:
    """Bring the schema to this version. `pkigate serve` does it by itself at every start."""
    from gateway.datadir import prepare
    from gateway.store.migrate import migrate as migrate_database
    from gateway.store.migrate import schema_version

    config = load_config(config_file, data_dir)
    prepare(config.data_directory)
    migrate_database(config.database_url)
    revision = schema_version(config.database_url)
    if as_json:
        print_json({"schema_version": revision})
    else:
        typer.echo(f"The database has schema version {revision}.")


@app.command()
def version(
    data_dir: DataDirectoryOption = None, config_file: ConfigFileOption = None, as_json: JsonOption = False
) -> None:
    """Print the schema version of the database."""
    from gateway.store.migrate import schema_version

    config = load_config(config_file, data_dir)
    refuse_missing_database(config)
    revision = schema_version(config.database_url)
    if as_json:
        print_json({"schema_version": revision})
    else:
        typer.echo(revision or "none: run `pkigate db migrate`")
