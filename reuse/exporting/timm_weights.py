"""timm's models: weights under timm's names, from which `timm.create_model(…, checkpoint_path=…)` makes the model."""

from pathlib import Path
from typing import Any

import timm
import torch

from reuse.errors import UsageError
from reuse.exporting.exportable import Exportable, Predict
from reuse.exporting.weight_files import FILE, outputs_of, prediction_of, save_state

OTHERS = "export --to onnx, torch or safetensors"


def write_timm(source: Exportable, path: Path) -> Predict:
    """Write weights and return what timm's model computes with them.

    Raises:
        UsageError: the run's model is none of timm's, or its layers were exchanged for others.
    """
    family, _, name = source.recipe.spec.partition(":")
    if family != "timm":
        raise UsageError(f"{source.folder.path} is a run of {source.recipe.spec}, no model of timm's: {OTHERS}")
    if source.recipe.side is not None:
        raise UsageError(f"beside this timm:{name} trains a {source.recipe.side}, which timm cannot make: {OTHERS}")
    exchanged = [layer for layer in ("norm", "activation") if getattr(source.recipe.options, layer)]
    if exchanged:
        raise UsageError(
            f"the {exchanged[0]} layers of this timm:{name} were exchanged, so timm cannot make it: {OTHERS}"
        )
    save_state(source.model.network, path, source.about)
    model = timm.create_model(name, checkpoint_path=str(path), **timm_arguments(source))
    return prediction_of(source, model)


def timm_arguments(source: Exportable) -> dict[str, Any]:
    """Return the arguments with which timm makes the model; of a size those models are told that take one."""
    recipe = source.recipe
    channels, *size = recipe.input_shape
    arguments = {"num_classes": recipe.num_outputs, "in_chans": channels}
    return arguments | ({"img_size": tuple(size)} if _takes_size(recipe.spec.partition(":")[2], tuple(size)) else {})


def timm_usage(source: Exportable) -> str:
    """Return the code with which timm loads the weights."""
    name = source.recipe.spec.partition(":")[2]
    arguments = "".join(f", {key}={value!r}" for key, value in timm_arguments(source).items())
    return f"""
import timm

model = timm.create_model("{name}"{arguments}, checkpoint_path="{FILE}")
model.eval()  # takes prepared rows and gives {outputs_of(source)}
"""


def _takes_size(name: str, size: tuple[int, ...]) -> bool:
    try:
        with torch.device("meta"):
            timm.create_model(name, img_size=size)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        return False
    return True
