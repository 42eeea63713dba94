"""``pkigate policy test``: the tests that stand in policies, one line each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.exit_codes import ExitCode
from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption
from gateway.cli.output import escaped, note, print_json
from gateway.cli.policy.loading import policy_files, policy_registry

if TYPE_CHECKING:
    from gateway.policy.embedded_tests import TestResult


def run_tests(
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
    """Run the tests that stand in policies and say what came of each.

    The gateway runs them too: policies with a failing test are not loaded. Ends with 1 if one fails.
    """
    from gateway.policy.load import load_with_tests
    from gateway.policy.sources import read_sources

    path, lab = policy_files(path, config_file, data_dir, lab=lab)
    bundle, results = load_with_tests(read_sources(path), policy_registry(lab=lab))
    failed = [result for result in results if result.differences]
    if as_json:
        print_json(
            {
                "ok": not failed,
                "bundle_sha256": bundle.sha256,
                "passed": len(results) - len(failed),
                "failed": len(failed),
                "tests": [_document(result) for result in results],
            }
        )
    else:
        _print(results, failed)
    if failed:
        raise typer.Exit(int(ExitCode.FAILED))


def _document(result: TestResult) -> dict[str, object]:
    return {
        "policy": result.policy,
        "name": result.name,
        "where": result.where,
        "passed": not result.differences,
        "verdict": result.verdict,
        "decided_by": result.decision.policy,
        "differences": [
            {
                "key": ".".join(map(str, difference.at)),
                "where": result.document.where((*result.path, *difference.at)),
                "text": difference.text,
            }
            for difference in result.differences
        ],
    }


def _print(results: tuple[TestResult, ...], failed: list[TestResult]) -> None:
    for result in results:
        mark = typer.style("FAILED", fg="red", bold=True) if result.differences else "ok"
        by = result.decision.policy or "no policy"
        verdict = result.verdict if by == result.policy else f"{result.verdict} by {by}"
        typer.echo(f"{mark}  {result.policy}: {escaped(result.name)}  [{verdict}]  {result.where}")
        for difference in result.differences:
            place = result.document.where((*result.path, *difference.at))
            typer.echo(f"        {place}: {'.'.join(map(str, difference.at))}: {escaped(difference.text)}")
    if not results:
        note("There is no test: write some under `tests:` in a Policy.")
    elif failed:
        typer.echo(f"{len(failed)} of {len(results)} tests failed.")
    else:
        typer.echo(f"All {len(results)} tests passed.")
