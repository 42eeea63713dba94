"""``pkigate policy``: a module for each group of commands; this file only lists them."""

from __future__ import annotations

import typer

from gateway.cli.policy import check, difference, explain, history, layout, replay, testing

app = typer.Typer(
    name="policy",
    help="Check policies and describe their language.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("validate")(check.validate)
app.command("schema")(check.schema)
app.command("explain")(explain.explain)
app.command("replay")(replay.replay)
app.command("test")(testing.run_tests)
app.command("fmt")(layout.fmt)
app.command("activate")(history.activate)
app.command("rollback")(history.rollback)
app.command("history")(history.history)
app.command("show")(history.show)
app.command("diff")(difference.diff)
