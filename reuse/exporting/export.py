"""`reuse export`: a trained run in a form that other programs read, checked against the run, beside its card."""

import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from reuse.errors import UsageError
from reuse.exporting.card import model_card
from reuse.exporting.checking import BATCHES, largest_difference
from reuse.exporting.exportable import Exportable, Format
from reuse.exporting.onnx_files import FILE as ONNX_FILE
from reuse.exporting.onnx_files import onnx_usage, write_onnx
from reuse.exporting.programs import FILE as PROGRAM_FILE
from reuse.exporting.programs import program_usage, write_program
from reuse.exporting.timm_weights import timm_usage, write_timm
from reuse.exporting.weight_files import FILE as WEIGHTS_FILE
from reuse.exporting.weight_files import weights_usage, write_weights
from reuse.menus import lookup
from reuse.paths import real_path
from reuse.runs.disk import number_of
from reuse.runs.folder import TOKENIZER
from reuse.settings.calling import takes
from reuse.settings.uses import ExportArguments

FORMATS = {
    "onnx": Format(ONNX_FILE, "onnx", True, write_onnx, onnx_usage),
    "torch": Format(PROGRAM_FILE, "pytorch", True, write_program, program_usage),
    "timm": Format(WEIGHTS_FILE, "timm", False, write_timm, timm_usage),
    "safetensors": Format(WEIGHTS_FILE, "reuse", False, write_weights, weights_usage),
}
CARD = "README.md"


@dataclass(frozen=True)
class Exported:
    """What an export has written.

    Attributes:
        run: the run folder.
        format: onnx, torch, timm or safetensors.
        out: the folder.
        file: the exported file, in the folder.
        card: the model card beside it.
        bytes: of all files.
        inputs: name, shape of a row and type of each input of a graph, which takes raw rows; empty for weights.
        output: what a graph gives, `probabilities` or `numbers`; empty for weights.
        difference: by how much predictions of what was written and of the run differed at most, of numbers in standard
            deviations of the targets.
        rows: on how many rows.
    """

    run: str
    format: str
    out: str
    file: str
    card: str
    bytes: int
    inputs: tuple[dict[str, Any], ...]
    output: str
    difference: float
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@takes(ExportArguments)
def export(arguments: ExportArguments) -> Exported:
    """Write a trained run in a form that other programs read, and a model card beside it.

    What is written is read back, by onnxruntime, torch, timm or a model built anew, and must predict what the run
    predicts; else nothing is kept.

    Raises:
        UsageError: an unknown form, a place that is in use, a model that the form cannot hold, or missing libraries.
        RunError: the run is damaged, of another version, or predicts nothing.
        ReuseError: what was written predicts otherwise than the run.

    Example:
        >>> export("runs/finetune-20261121-090000", to="onnx").file  # doctest: +SKIP
        'exports/finetune-20261121-090000-onnx/model.onnx'
    """
    form = lookup(FORMATS, arguments.to, "form of export")
    run = Path(arguments.run)
    out = Path(arguments.out or Path("exports") / f"{real_path(run).name}-{arguments.to}")
    _check_place(out, form)
    source = Exportable.of(run, arguments.trust)
    difference = _write(source, form, out)
    return Exported(
        run=str(run),
        format=arguments.to,
        out=str(out),
        file=str(out / form.file),
        card=str(out / CARD),
        bytes=sum(file.stat().st_size for file in out.rglob("*") if file.is_file()),
        inputs=source.inputs if form.is_graph else (),
        output=source.served.output if form.is_graph else "",
        difference=difference,
        rows=sum(BATCHES),
    )


def _check_place(out: Path, form: Format) -> None:
    if not out.name:
        raise UsageError(f"{out} is the folder that you are in: name a new one")
    if out.suffix and out.suffix == Path(form.file).suffix:
        raise UsageError(f"{out} names a file: give a folder, in which {form.file} and its card will stand")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is in use, and nothing is overwritten: give another --out, or remove it")


def _write(source: Exportable, form: Format, out: Path) -> float:
    """Write all files to a folder beside `out`, check them, and give it its name: nobody sees a part."""
    draft = out.with_name(f".{out.name}.draft")
    try:
        shutil.rmtree(draft, ignore_errors=True)  # what a killed export has left
        draft.mkdir(parents=True)
        difference = largest_difference(source, form.write(source, draft / form.file))
        (draft / CARD).write_text(model_card(source, form), encoding="utf-8")
        (draft / form.file).chmod((draft / CARD).stat().st_mode)  # safetensors lets nobody else read what it writes
        if (source.folder.path / TOKENIZER).is_dir():
            shutil.copytree(source.folder.path / TOKENIZER, draft / TOKENIZER)
        draft.replace(out)
    except (OSError, SafetensorError, RuntimeError) as error:
        number = number_of(error)
        if number is None and isinstance(error, RuntimeError):
            raise
        raise UsageError(f"{out} cannot be written: {error if number is None else os.strerror(number)}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return difference
