"""Lightning's `Trainer` without logger, progress bar, summary and checkpoints, on the faster of torch's loaders."""

import logging
import warnings

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn import functional
from torch.optim import SGD, Optimizer

from peers.data_loader import loader
from peers.rows import RATE, Ended, Rows, build_network


class _Module(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = build_network()
        self.loss, self.right = torch.zeros(()), torch.zeros((), dtype=torch.int64)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs, labels = batch
        return functional.cross_entropy(self.network(inputs), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        # Summed here and read once: its own `log` at each step takes longer than the step.
        inputs, labels = batch
        outputs = self.network(inputs)
        self.loss += functional.cross_entropy(outputs, labels, reduction="sum")
        self.right += (outputs.argmax(1) == labels).sum()

    def on_validation_epoch_end(self) -> None:
        self.loss.item(), self.right.item()
        self.loss, self.right = torch.zeros(()), torch.zeros((), dtype=torch.int64)

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), RATE, fused=True)


class _Turns(Callback):
    def __init__(self, ended: Ended) -> None:
        self.ended = ended

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.ended()


def train(rows: Rows, ended: Ended) -> None:
    """Train with SGD."""
    warnings.simplefilter("ignore")  # advice on worker processes, which rows in memory do not need
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1_000_000,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        inference_mode=True,
        callbacks=[_Turns(ended)],
    )
    train_rows = loader(rows.inputs, rows.labels, shuffle=True)
    trainer.fit(_Module(), train_rows, loader(rows.valid_inputs, rows.valid_labels, shuffle=False))
