"""Weights alone, in safetensors: all of them in one file, under the model's own names, with the facts on the run."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from reuse.exporting.exportable import Exportable, Predict, called
from reuse.exporting.serving import with_network

FILE = "model.safetensors"


def write_weights(source: Exportable, path: Path) -> Predict:
    """Write the weights and return what a freshly built model computes with them."""
    save_state(source.model.network, path, source.about)
    network = source.recipe.build()
    network.to(next((p.dtype for p in source.model.parameters()), torch.float32))
    network.load_state_dict(load_file(path))
    return prediction_of(source, network)


def weights_usage(source: Exportable) -> str:
    """Return the code that fills a model from the file."""
    return f"""
import json

from reuse.nn.recipe import ModelRecipe
from safetensors import safe_open
from safetensors.torch import load_file

with safe_open("{FILE}", "pt") as file:
    facts = file.metadata()
network = ModelRecipe.from_dict(json.loads(facts["model"])).build()
network.load_state_dict(load_file("{FILE}"))
network.eval()  # takes prepared rows and gives {outputs_of(source)}
"""


def outputs_of(source: Exportable) -> str:
    """Return in words what the network itself gives."""
    if source.model.task != "regression":
        return "logits"
    return "numbers, to be put back by `target_scale`" if source.model.target_scale else "numbers"


def save_state(network: nn.Module, path: Path, about: Mapping[str, str]) -> None:
    """Write a state dict; tensors that are tied are written under each name."""
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in network.state_dict().items()}
    save_file(tensors, path, {"format": "pt", **about})


def prediction_of(source: Exportable, network: nn.Module) -> Predict:
    """Return what another network with the run's weights predicts."""
    return called(with_network(source.model, network))
