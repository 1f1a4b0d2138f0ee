"""transformers on cached features: two lines changed, the same losses, step by step.

`train` is the training as it was, `train_cached` the same with the frozen layers computed once.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
from reuse.recipes.loop_digits import digits, largest_difference
from torch import nn
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

import reuse
from reuse.loops.transformers import CachedTrainer

Samples = list[dict[str, Any]]


def arguments(folder: Path, epochs: int) -> TrainingArguments:
    """Return the arguments of both trainings."""
    return TrainingArguments(
        output_dir=str(folder / "out"),
        num_train_epochs=epochs,
        per_device_train_batch_size=32,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )


def train(net: nn.Module, data: Samples, folder: Path, epochs: int) -> list[float]:
    """Return the losses of all steps."""
    reuse.freeze(net, "vit")
    trainer = Trainer(model=net, args=arguments(folder, epochs), train_dataset=data)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def train_cached(net: nn.Module, data: Samples, folder: Path, epochs: int) -> list[float]:
    """Return the losses of all steps, the frozen layers computed once."""
    features = reuse.cached(net, data, freeze="vit", cache_dir=folder)
    trainer = CachedTrainer(model=net, args=arguments(folder, epochs), train_dataset=features)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def main(quick: bool = False) -> dict[str, Any]:
    """Train both ways and return how far apart any two losses are."""
    data: Samples = [
        {"pixel_values": image.expand(3, 8, 8), "labels": label} for image, label in digits(100 if quick else 1797)
    ]
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=8,
        patch_size=4,
        num_labels=10,
    )
    with tempfile.TemporaryDirectory() as folder:
        both = []
        for function in (train, train_cached):
            torch.manual_seed(0)
            net = ViTForImageClassification(config).double()
            both.append(function(net, data, Path(folder), 2 if quick else 10))
    return {"steps": len(both[0]), "last_loss": both[1][-1], "largest_difference": largest_difference(*both)}
