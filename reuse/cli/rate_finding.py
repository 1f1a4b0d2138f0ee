"""`reuse lr-find`."""

from typing import Any

import click

from reuse.cli.inspecting import chosen
from reuse.cli.options import with_settings
from reuse.cli.signatures import Setting, read_settings
from reuse.cli.training import FINETUNE, JSON, PRETRAIN
from reuse.settings import UNUSED_BY_RANGE_TEST

ROWS = 12  # of the table


def _settings() -> list[Setting]:
    """Return the options: those of `lr_find`, and those of the trainings whose rate is sought, each once."""
    own = {setting.name: setting for setting in read_settings("reuse.searching.rate_finding", "lr_find")}
    theirs = {setting.name: setting for setting in (*PRETRAIN, *FINETUNE) if setting.name not in UNUSED_BY_RANGE_TEST}
    return list({**own, **{name: setting for name, setting in theirs.items() if name not in own}}.values())


LR_FIND = _settings()


@click.command()
@with_settings(LR_FIND)
@JSON
@click.pass_context
def lr_find(context: click.Context, /, as_json: bool, **_: Any) -> None:
    """Raise the learning rate step by step and propose one a little below where the loss turns.

    It is tried on what `reuse finetune SOURCE` would train with the same options, or, with --objective, on what `reuse
    pretrain` would. Nothing is written but --plot.
    """
    from dataclasses import asdict

    from reuse.cli.printing import Printer, print_json, table
    from reuse.searching.rate_finding import lr_find as find

    given = chosen(context)
    printer = Printer()
    try:
        curve = find(**given, reporter=printer)
    finally:
        printer.close()
    if as_json:
        print_json({**asdict(curve), "plot": given.get("plot")})
        return
    places = sorted({round(number * (len(curve.rates) - 1) / (ROWS - 1)) for number in range(ROWS)})
    rows = [{"rate": curve.rates[p], "loss": curve.losses[p], "running mean": curve.smoothed[p]} for p in places]
    click.echo(table(rows) if curve.rates else "the loss was not finite in the first step")
    if curve.note:
        click.echo(curve.note)
    if curve.proposal is not None:
        rate = f"{curve.proposal:.2g}"
        click.echo(f"the loss turns at {curve.turn:.2g}; proposal: --learning-rate {rate}")
