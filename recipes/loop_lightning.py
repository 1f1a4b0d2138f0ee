"""Lightning on cached features: three lines changed, the same losses, step by step.

`train` is the fit as it was, `train_cached` the same with the frozen layers computed once. `ReadCached` unfreezes
layers too: `ReadCached(features, unfreezing={5: "body"})`.
"""

from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from reuse.recipes.loop_digits import compared
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import reuse
from reuse.loops.lightning import ReadCached

QUIET: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Digits(lightning.LightningModule):
    """The usual module around a network."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.losses = net, list[float]()

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Return the loss of a batch."""
        images, labels = batch
        loss = functional.cross_entropy(self.net(images), labels)
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer of what trains."""
        return torch.optim.SGD((p for p in self.net.parameters() if p.requires_grad), lr=0.1, momentum=0.9)


def train(net: nn.Module, data: TensorDataset, cache: Path, epochs: int) -> list[float]:  # noqa: ARG001 - all loops take the same
    """Return the losses of all steps."""
    module = Digits(net)
    reuse.freeze(net, "body")
    trainer = lightning.Trainer(accelerator="cpu", max_epochs=epochs, **QUIET)
    trainer.fit(module, DataLoader(data, batch_size=64, shuffle=True))
    return module.losses


def train_cached(net: nn.Module, data: TensorDataset, cache: Path, epochs: int) -> list[float]:
    """Return the losses of all steps, the frozen layers computed once."""
    module = Digits(net)
    features = reuse.cached(net, data, freeze="body", cache_dir=cache)
    trainer = lightning.Trainer(accelerator="cpu", max_epochs=epochs, callbacks=[ReadCached(features)], **QUIET)
    trainer.fit(module, DataLoader(features, batch_size=64, shuffle=True))
    return module.losses


def main(quick: bool = False) -> dict[str, Any]:
    """Train both ways and return how far apart any two losses are."""
    outcome: dict[str, Any] = compared(train, train_cached, quick)
    return outcome
