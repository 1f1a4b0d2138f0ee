"""Programs of torch: `torch.export` writes the graph with its weights, and torch alone reads it, without our code."""

import json
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from reuse.errors import UsageError
from reuse.exporting.exportable import Exportable, Predict, called
from reuse.exporting.serving import ServedModel
from reuse.nn.probing import reason

FILE = "model.pt2"
TRACED_ROWS = 2  # one row would be taken for a constant
ABOUT = "about.json"


def traced_program(source: Exportable, served: ServedModel) -> ExportedProgram:
    """Return a graph for any number of rows.

    Args:
        source: the run.
        served: its model, from raw rows on.

    Raises:
        UsageError: it cannot be written as a graph.
    """
    rows = source.examples.drawn(TRACED_ROWS)
    any_number = tuple({0: Dim("batch")} for _ in rows)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of torch's own code
            return torch.export.export(served, rows, dynamic_shapes=(any_number,), strict=False)
    except Exception as error:
        raise UsageError(
            f"{source.recipe.spec} cannot be written as a graph ({reason(error)}): export --to safetensors"
        ) from error


def write_program(source: Exportable, path: Path) -> Predict:
    """Write a program and return what it computes when it is read back."""
    about = json.dumps(source.about, indent=2, ensure_ascii=False)
    program = traced_program(source, source.served)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.9 warns of how it reads its own file
        written = BytesIO()  # torch's own writer of files ends in an error of its own where the disk is full
        torch.export.save(program, written, extra_files={ABOUT: about})
        path.write_bytes(written.getbuffer())
        return called(torch.export.load(path).module())


def program_usage(source: Exportable) -> str:
    """Return the code that loads a program."""
    zeros = ", ".join(f"torch.zeros(2, {_shape(t.shape)}dtype=torch.{t.kind})" for t in source.served.inputs)
    return f"""
import json

import torch

about = {{"{ABOUT}": ""}}
model = torch.export.load("{FILE}", extra_files=about).module()
facts = json.loads(about["{ABOUT}"])
{source.served.output} = model({zeros})
"""


def _shape(shape: Sequence[int]) -> str:
    return "".join(f"{size}, " for size in shape)
