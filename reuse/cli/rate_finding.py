"""`reuse lr-find`."""

from typing import Any

import click

from reuse.cli.options import JSON, PATTERNS, given, refusing, with_settings
from reuse.cli.saying import announce, say
from reuse.settings.commands import LrFindArguments

ROWS = 12  # of the table


@click.command(cls=refusing(LrFindArguments), epilog=PATTERNS)
@with_settings(LrFindArguments)
@JSON
@click.pass_context
def lr_find(context: click.Context, /, as_json: bool, **_: Any) -> None:
    """Raise the learning rate step by step and propose one a little below where the loss turns.

    It is tried on what `reuse finetune SOURCE` would train with the same options, or, with --objective, on what `reuse
    pretrain` would. Nothing is written but --plot.

    Example: reuse lr-find timm:resnet18 --freeze '!head' --data photos/ --plot rates.png
    """
    announce(as_json=as_json)
    from dataclasses import asdict

    from reuse.cli.printing import Printer, print_json, table
    from reuse.searching.rate_finding import lr_find as find

    chosen = given(context, LrFindArguments)
    printer = Printer()
    try:
        curve = find(**chosen, reporter=printer)
    finally:
        printer.close()
    if as_json:
        print_json({**asdict(curve), "plot": chosen.get("plot")})
        return
    places = sorted({round(number * (len(curve.rates) - 1) / (ROWS - 1)) for number in range(ROWS)})
    rows = [{"rate": curve.rates[p], "loss": curve.losses[p], "running mean": curve.smoothed[p]} for p in places]
    click.echo(table(rows) if curve.rates else "the loss was not finite in the first step")
    if curve.note:
        say(curve.note)
    if curve.proposal is not None:
        rate = f"{curve.proposal:.2g}"
        say(f"the loss turns at {curve.turn:.2g}; proposal: --learning-rate {rate}")
