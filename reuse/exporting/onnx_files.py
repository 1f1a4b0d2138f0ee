"""ONNX: the graph with its weights, for runtimes in any language; facts on the run stand in the file's metadata."""

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
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
    """Write an ONNX file, in float32 at most, as runtimes have few layers in float64, and return what it computes.

    Raises:
        UsageError: the libraries are missing, or ONNX has no way to say what the model does.
    """
    check_onnx()
    served = source.served
    is_double = any(p.dtype == torch.float64 for p in served.parameters())
    program = traced_program(source, deepcopy(served).float() if is_double else served)
    names = [tensor.name for tensor in served.inputs]
    with _refused_in_one_line(source), _quiet():
        written: Any = torch.onnx.export(
            program, input_names=names, output_names=[served.output], dynamo=True, verbose=False
        )
        written.model.metadata_props.update(source.about)
    with _quiet():
        written.save(path)
    return _session(source, path)


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


def _session(source: Exportable, path: Path) -> Predict:
    import onnxruntime  # an extra

    with _refused_in_one_line(source):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def predict(rows: Sequence[Tensor]) -> Tensor:
        given = {tensor.name: part.numpy() for tensor, part in zip(source.served.inputs, rows, strict=True)}
        with _refused_in_one_line(source):
            return torch.from_numpy(session.run(None, given)[0])

    return predict


@contextmanager
def _refused_in_one_line(source: Exportable) -> Iterator[None]:
    """Say in one line what the converter and the runtime, which raise anything, refuse."""
    try:
        yield
    except Exception as error:
        raise UsageError(
            f"{source.recipe.spec} cannot be written as ONNX ({reason(error)}): export --to torch"
        ) from error


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
