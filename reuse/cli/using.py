"""`reuse evaluate` and `reuse predict`."""

import sys
from typing import Any

import click

from reuse.cli.options import JSON, Command, FromHome, given, with_settings
from reuse.cli.saying import announce, say
from reuse.settings.uses import EvaluateArguments, PredictArguments
from reuse.units import format_count


@click.command(cls=Command)
@with_settings(EvaluateArguments)
@JSON
@click.pass_context
def evaluate(context: click.Context, /, as_json: bool, **_: Any) -> None:
    """Measure the trained RUN: on the test rows of its own data, or on other data.

    Example: reuse evaluate runs/finetune-20261121-090000 --data new.csv --target price
    """
    announce(as_json=as_json)
    from reuse.cli.printing import Printer, print_json, table
    from reuse.inference.predicting import evaluate_run

    result = evaluate_run(**given(context, EvaluateArguments), reporter=Printer())
    if as_json:
        print_json(result.to_dict())
        return
    for note in result.notes:
        say(note, err=True)
    click.echo(table([{"data": result.data, "split": result.split, "rows": result.rows, **result.metrics}]))


@click.command(cls=Command)
@with_settings(PredictArguments)
@click.option("--out", type=FromHome(dir_okay=False), help="The CSV file to write; standard output without it.")
@click.option("--raw", is_flag=True, help="Leave cells alone that a spreadsheet would compute or a terminal act upon.")
@JSON
@click.pass_context
def predict(context: click.Context, /, as_json: bool, out: str | None, raw: bool, **_: Any) -> None:
    """Predict with the trained RUN and write CSV: one line a row, in the order of the data set.

    For classes: what is predicted and the probability of each class. For numbers: the numbers. Names that begin like a
    formula get a ' in front.

    Example: reuse predict runs/finetune-20261121-090000 --data new/ --out predictions.csv
    """
    announce(as_json=as_json or (out is None and not sys.stderr.isatty()))  # a program reads the lines
    from reuse.cli.printing import Printer, print_json
    from reuse.inference.predicting import predict_run

    found = predict_run(**given(context, PredictArguments), reporter=Printer())
    if out is not None:
        _write_file(found, out, raw)
    if as_json:
        summary = {"run": found.run, "data": found.data, "split": found.split, "task": found.task}
        rows = [] if out else [dict(zip(found.header, cells, strict=True)) for cells in found.lines()]
        listed: dict[str, Any] = {} if out else {"predictions": rows}
        counted = {"classes": list(found.classes), "rows": len(found.numbers), "out": out, "notes": list(found.notes)}
        print_json({**summary, **counted, **listed})
        return
    for note in found.notes:
        say(note, err=True)
    if out is None:
        _write(found, sys.stdout, raw)
    else:
        say(f"{format_count(len(found.numbers), 'row')} written to {out}")


def _write_file(found: Any, out: str, raw: bool) -> None:
    """Write predictions, all of them or none; into a pipe or device as they come."""
    import os
    from contextlib import suppress
    from pathlib import Path

    from reuse.errors import UsageError

    path = Path(os.path.realpath(out))
    is_file = path.is_file() or not path.exists()
    draft = path.with_name(f".{path.name}.draft") if is_file else path
    try:
        with draft.open("w", newline="", encoding="utf-8") as file:
            _write(found, file, raw)
        if is_file:
            draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            if is_file:
                draft.unlink()
        raise UsageError(f"{out} cannot be written: {error.strerror}") from error


def _write(found: Any, file: Any, raw: bool) -> None:
    import csv

    csv.writer(_Lines(file)).writerows(found.table(raw=raw))


class _Lines:
    """A file for csv.writer, which quotes a carriage return in a cell only where one ends its lines; here none does."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, line: str) -> None:
        self.file.write(line.removesuffix("\r\n") + "\n")
