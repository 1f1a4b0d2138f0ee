"""`reuse ensemble`."""

from typing import Any

import click

from reuse.cli.completing import completing
from reuse.cli.options import JSON, Command, FromHome, given, with_settings
from reuse.cli.saying import announce, say
from reuse.settings.setting import settings_of
from reuse.settings.uses import EnsembleArguments, SoupArguments

METHOD = settings_of(SoupArguments)["method"]


@click.command(cls=Command)
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN…", shell_complete=completing("runs"))
@with_settings(EnsembleArguments, without=["runs"])
@click.option(
    "--soup",
    metavar="METHOD",
    shell_complete=completing("soup"),
    help=f"Average weights instead of predictions: {METHOD.help}",
)
@click.option("--out", type=FromHome(file_okay=False), help="The run folder of a soup; by default a new one.")
@JSON
@click.pass_context
def ensemble(context: click.Context, /, as_json: bool, soup: str | None, out: str | None, **_: Any) -> None:
    """Measure several trained RUNs together: the mean of their predictions, or of their weights.

    All runs are measured on the rows that are in the test split for each of them.

    Example: reuse ensemble runs/a runs/b --mix
    """
    announce(as_json=as_json)
    settings = given(context, EnsembleArguments)
    if soup is None:
        _refuse(["out"] if out else [], "is for --soup, which leaves a run; leave it out")
        _average(settings, as_json)
    else:
        averaged = settings_of(SoupArguments).keys() - {"data"}  # a command line gives no arrays
        _refuse([name for name in settings if name not in averaged], "is not for --soup: leave it out")
        _cook({**settings, "method": soup, "out": out}, as_json)


def _average(settings: dict[str, Any], as_json: bool) -> None:
    from reuse.cli.printing import print_json, table
    from reuse.inference.ensembling import evaluate_ensemble

    result = evaluate_ensemble(**settings)
    if as_json:
        print_json(result.to_dict())
        return
    for note in result.notes:
        say(note, err=True)
    rows = [{"run": member["run"], "weight": member["weight"], **member["metrics"]} for member in result.members]
    click.echo(table([*rows, {"run": f"all, on {result.rows} {result.split} rows", "weight": 1.0, **result.metrics}]))


def _cook(settings: dict[str, Any], as_json: bool) -> None:
    from reuse.cli.printing import print_json, table
    from reuse.inference.souping import soup_runs

    result = soup_runs(**settings)
    if as_json:
        print_json(result.to_dict())
        return
    for note in result.notes:
        say(note, err=True)
    rows: list[dict[str, Any]] = [
        {"run": one["run"], "split": "valid", "in the soup": one["run"] in result.ingredients, **one["valid"]}
        for one in result.candidates
    ]
    for split, metrics in (("valid", result.valid), ("test", result.test)):
        rows.append({"run": result.run, "split": split, "in the soup": None, **metrics})
    click.echo(table(rows))


def _refuse(names: list[str], why: str) -> None:
    from reuse.errors import UsageError

    if names:
        raise UsageError(f"--{names[0].replace('_', '-')} {why}")
