"""ONNX: the graph with its weights, for runtimes in any language; facts on the run stand in the file's metadata."""

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reuse.errors import UsageError
from reuse.exporting.exportable import Exportable, Predict
from reuse.exporting.programs import traced_program
from reuse.nn.probing import reason

FILE = "model.onnx"
PACKAGES = ("onnx", "onnxruntime", "onnxscript")
NOISY = ("onnxscript", "onnx_ir", "torch.onnx")


def check_onnx() -> None:
    """Raise where the libraries of ONNX are not installed.

    Raises:
        UsageError: the message says how to install them.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f'an export to ONNX needs {", ".join(missing)}, which is not installed: pip install "torch-reuse[onnx]"'
        )


def write_onnx(source: Exportable, path: Path) -> Predict:
    """Write an ONNX file and return what onnxruntime computes of it.

    Raises:
        UsageError: the libraries are missing, or ONNX has no way to say what the model does.
    """
    check_onnx()
    program = traced_program(source)
    names = [tensor.name for tensor in source.served.inputs]
    try:
        with _quiet():
            written: Any = torch.onnx.export(
                program, input_names=names, output_names=[source.served.output], dynamo=True, verbose=False
            )
            written.model.metadata_props.update(source.about)
            written.save(path)
            return _session(path, names)
    except Exception as error:
        raise UsageError(
            f"{source.recipe.spec} cannot be written as ONNX ({reason(error)}): export --to torch"
        ) from error


def onnx_usage(source: Exportable) -> str:
    """Return the code that runs an ONNX file."""
    zeros = [f'"{t.name}": np.zeros({(2, *t.shape)}, np.{t.kind})' for t in source.served.inputs]
    return f"""
import json

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{FILE}")
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
{source.served.output} = session.run(None, {{{", ".join(zeros)}}})[0]
"""


def _session(path: Path, names: Sequence[str]) -> Predict:
    import onnxruntime  # an extra

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def predict(rows: Sequence[Tensor]) -> Tensor:
        given = {name: part.numpy() for name, part in zip(names, rows, strict=True)}
        return torch.from_numpy(session.run(None, given)[0])

    return predict


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the converter says of its own code to itself: what it wrote is checked."""
    loggers = [logging.getLogger(name) for name in NOISY]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
