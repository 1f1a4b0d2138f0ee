"""What an epoch of a pretraining costs beside the same method written by hand in plain torch.

Run: `python tests/benchmarks/bench_pretraining.py`. Processor time, blocks of an epoch each in turn; above 1 ours is
the faster. Both sides make the same views, by the same code, and take the same network, batch and optimizer.
"""

import copy
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))

from measuring import Block, Line, alternate, begin, print_table

import reuse
from reuse.objectives.autoencoder import Denoising
from reuse.objectives.barlow_twins import BarlowTwins
from reuse.objectives.byol import Byol
from reuse.objectives.objective import Objective
from reuse.objectives.simclr import SimClr

BATCH, RATE, TARGET = 128, 1e-3, 0.9
HandLoss = Callable[[nn.Module, Tensor], Tensor]


def simclr(network: nn.Module, rows: Tensor) -> Tensor:
    views = torch.cat([network.augment(rows), network.augment(rows)])  # type: ignore[operator]
    unit = functional.normalize(network.projector(network.encoder(views)))  # type: ignore[operator]
    logits = unit @ unit.T / 0.5
    logits = logits.masked_fill(torch.eye(len(unit), dtype=torch.bool), -torch.inf)
    half = len(rows)
    return functional.cross_entropy(logits, torch.cat([torch.arange(half, 2 * half), torch.arange(half)]))


def barlow_twins(network: nn.Module, rows: Tensor) -> Tensor:
    views = torch.cat([network.augment(rows), network.augment(rows)])  # type: ignore[operator]
    first, second = network.projector(network.encoder(views)).chunk(2)  # type: ignore[operator]
    first, second = ((z - z.mean(0)) / z.std(0, correction=0) for z in (first, second))
    correlations = first.T @ second / len(rows)
    own = correlations.diagonal()
    return (1 - own).square().sum() + 0.005 * (correlations.square().sum() - own.square().sum())


def byol_by(augment: Callable[[Tensor], Tensor], target: nn.Module) -> HandLoss:
    def byol(network: nn.Module, rows: Tensor) -> Tensor:
        views = augment(rows), augment(rows)
        predicted = [network.predictor(network.projector(network.encoder(view))) for view in views]  # type: ignore[operator]
        with torch.no_grad():
            taught = [target(view) for view in views]
        agreed = sum(functional.cosine_similarity(p, t) for p, t in zip(predicted, reversed(taught), strict=True))
        return (4 - 2 * agreed).mean()  # type: ignore[operator, return-value]

    return byol


def denoising(network: nn.Module, rows: Tensor) -> Tensor:
    return functional.mse_loss(network(rows * (torch.rand_like(rows) >= 0.25)), rows)


def by_hand(network: nn.Module, loss: HandLoss, rows: Tensor, after: Callable[[], None] | None = None) -> Block:
    """Return a block of one epoch of a loop as people write it."""
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)

    def block() -> float:
        started = time.process_time()
        network.train()
        for chosen in torch.randperm(len(rows)).split(BATCH):
            value = loss(network, rows[chosen])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            if after is not None:
                after()
        return time.process_time() - started

    return block


def by_trainer(network: nn.Module, objective: Objective, rows: Tensor) -> Block:
    """Return a block of one epoch of ours."""
    trainer = reuse.Trainer(network, objective, loop=reuse.LoopSettings(batch_size=BATCH))
    epochs = trainer.epochs(rows, None, epochs=1_000_000)

    def block() -> float:
        started = time.process_time()
        next(epochs)
        return time.process_time() - started

    return block


def following(network: nn.Module, target: nn.Module) -> Callable[[], None]:
    """Return what lets a target follow a network, parameter by parameter."""

    @torch.no_grad()
    def follow() -> None:
        pairs = zip(target.parameters(), nn.Sequential(network.encoder, network.projector).parameters(), strict=True)  # type: ignore[arg-type]
        for own, theirs in pairs:
            own.mul_(0.99).add_(theirs, alpha=0.01)

    return follow


def sides_of(name: str, objective: Objective, images: np.ndarray) -> dict[str, Block]:
    """Return one epoch by hand and one of ours, from the same weights."""
    data = reuse.load((images, None))
    rows = data.train.inputs.resident()
    assert rows is not None
    network = objective.build(reuse.build("convnet:16,32", data.input_shape, 2), data)
    hand = copy.deepcopy(network)
    after, losses = None, {"simclr": simclr, "barlow_twins": barlow_twins, "denoising": denoising}
    if isinstance(objective, Byol):
        target = copy.deepcopy(nn.Sequential(hand.encoder, hand.projector))  # type: ignore[arg-type]
        losses["byol"], after = byol_by(objective._augment, target), following(hand, target)
        del hand.teacher
    return {"hand": by_hand(hand, losses[name], rows, after), "ours": by_trainer(network, objective, rows)}


def main() -> None:
    quick = begin(__doc__ or "")
    images = np.random.default_rng(0).random((600 if quick else 4000, 1, 28, 28), dtype=np.float32)
    lines = []
    methods = {"simclr": SimClr(), "byol": Byol(), "barlow_twins": BarlowTwins(), "denoising": Denoising()}
    for name, objective in methods.items():
        times = alternate(sides_of(name, objective, images), 3 if quick else 9)
        ratios = [hand / ours for hand, ours in zip(times["hand"], times["ours"], strict=True)]
        lines.append(Line(f"by hand / {name}", TARGET, ratios))
    print_table("an epoch of a pretraining, processor time", lines)


if __name__ == "__main__":
    main()
