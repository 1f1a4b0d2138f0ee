"""`reuse report`."""

from typing import Any

import click

from reuse.cli.completing import completing
from reuse.cli.options import JSON, Command, given, with_settings
from reuse.cli.saying import announce, say
from reuse.settings.uses import ReportArguments


@click.command(cls=Command)
@click.argument("runs", nargs=-1, required=True, metavar="RUN [RUN…]", shell_complete=completing("runs"))
@with_settings(ReportArguments, without=["runs"])
@JSON
@click.pass_context
def report(context: click.Context, /, as_json: bool, **_: Any) -> None:
    """Write one HTML file on a trained RUN, or on several side by side.

    Curves, confusion matrix, worst mistakes, calibration, the model, its weights and features. The file loads nothing
    else and runs no script.

    Example: reuse report runs/frozen runs/unfrozen --out report.html
    """
    announce(as_json=as_json)
    from reuse.cli.printing import Printer, print_json
    from reuse.reports.report import report as write_report

    settings = given(context, ReportArguments)
    out = write_report(**settings, reporter=Printer())
    if as_json:
        print_json({"out": str(out), "runs": list(settings["runs"]), "bytes": out.stat().st_size})
        return
    say(f"report on {', '.join(settings['runs'])}: {out}")
