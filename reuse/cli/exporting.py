"""`reuse export`."""

from typing import Any

import click

from reuse.cli.options import JSON, Command, given, with_settings
from reuse.cli.saying import announce, say
from reuse.settings.uses import ExportArguments


@click.command(cls=Command)
@with_settings(ExportArguments)
@JSON
@click.pass_context
def export(context: click.Context, /, as_json: bool, **_: Any) -> None:
    """Write the trained RUN for other programs, and a model card beside it.

    The file takes raw rows and gives probabilities or numbers (onnx, torch), or holds the weights (timm, safetensors).
    It is read back and must predict what RUN predicts, or nothing is kept.

    Example: reuse export runs/finetune-20261121-090000 --to onnx
    """
    announce(as_json=as_json)
    from reuse.cli.printing import print_json
    from reuse.exporting.export import export as export_run
    from reuse.units import format_bytes

    done = export_run(**given(context, ExportArguments))
    if as_json:
        print_json(done.to_dict())
        return
    for one in done.inputs:
        say(f"takes {one['name']}: raw rows (rows, {', '.join(map(str, one['shape']))}) of {one['type']}")
    if done.inputs:
        say(f"gives {done.output}")
    say(f"read back: on {done.rows} rows its predictions differ from the run's by {done.difference:.2g} at most")
    say(f"{done.file} and {done.card} written, {format_bytes(done.bytes)}")
