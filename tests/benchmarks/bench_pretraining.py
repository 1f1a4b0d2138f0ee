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
from reuse.objectives.masked import Masked
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


def masked(network: nn.Module, rows: Tensor) -> Tensor:
    """The loss of a masked autoencoder as its paper tells it: shuffle, keep the first quarter, put the rest back."""
    encoder, decoder, side = network.encoder, network.decoder, 16
    count = (rows.shape[2] // side) * (rows.shape[3] // side)
    order = torch.rand(len(rows), count).argsort(1)
    back, kept = order.argsort(1), count - round(0.75 * count)
    tokens = encoder.patch_embed(rows).flatten(1, 2) + encoder.pos_embed[:, 1:]  # type: ignore[operator, union-attr, index]
    seen = tokens.gather(1, order[:, :kept, None].expand(-1, -1, tokens.size(2)))
    first = (encoder.cls_token + encoder.pos_embed[:, :1]).expand(len(rows), -1, -1)  # type: ignore[operator, union-attr, index]
    coded = decoder.embed(encoder.norm(encoder.blocks(torch.cat([first, seen], 1))))  # type: ignore[operator, union-attr]
    blanks = decoder.mask_token.expand(len(rows), count - kept, -1)  # type: ignore[operator, union-attr]
    shuffled = torch.cat([coded[:, 1:], blanks], 1)
    placed = shuffled.gather(1, back[:, :, None].expand(-1, -1, shuffled.size(2))) + decoder.positions
    told = decoder.told(decoder.norm(decoder.blocks(torch.cat([coded[:, :1], placed], 1))[:, 1:]))  # type: ignore[operator, union-attr]
    patches = rows.unfold(2, side, side).unfold(3, side, side).permute(0, 2, 3, 1, 4, 5).reshape(len(rows), count, -1)
    truth = (patches - patches.mean(2, keepdim=True)) / (patches.var(2, keepdim=True) + 1e-6).sqrt()
    hidden = (back >= kept).float()
    return ((told - truth).square().mean(2) * hidden).sum() / hidden.sum()


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
    model = "timm:test_vit" if isinstance(objective, Masked) else "convnet:16,32"
    network = objective.build(reuse.build(model, data.input_shape, 2), data)
    hand = copy.deepcopy(network)
    losses = {"simclr": simclr, "barlow_twins": barlow_twins, "denoising": denoising, "masked": masked}
    after = None
    if isinstance(objective, Byol):
        target = copy.deepcopy(nn.Sequential(hand.encoder, hand.projector))  # type: ignore[arg-type]
        losses["byol"], after = byol_by(objective._augment, target), following(hand, target)
        del hand.teacher
    return {"hand": by_hand(hand, losses[name], rows, after), "ours": by_trainer(network, objective, rows)}


def main() -> None:
    quick = begin(__doc__ or "")
    draw, small, large = np.random.default_rng(0), (1, 28, 28), (3, 96, 96)
    lines = []
    methods = {
        "simclr": SimClr(),
        "byol": Byol(),
        "barlow_twins": BarlowTwins(),
        "denoising": Denoising(),
        "masked": Masked(),
    }
    for name, objective in methods.items():
        rows, shape = (300, large) if name == "masked" else (600, small)
        images = draw.random((rows if quick else 6 * rows, *shape), dtype=np.float32)
        times = alternate(sides_of(name, objective, images), 3 if quick else 9)
        ratios = [hand / ours for hand, ours in zip(times["hand"], times["ours"], strict=True)]
        lines.append(Line(f"by hand / {name}", TARGET, ratios))
    print_table("an epoch of a pretraining, processor time", lines)


if __name__ == "__main__":
    main()
