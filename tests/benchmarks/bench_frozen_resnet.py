"""Fine-tuning the head of a frozen ResNet-18 with the cache, beside computing the frozen layers anew each epoch.

Run: `python tests/benchmarks/bench_frozen_resnet.py [--quick]`. 2,000 images at 64×64, batch 32, 20 epochs, SGD; 1,800
rows to train on, 180 to validate on after each epoch, 20 that are only measured at the end.

Theirs is a loop written by hand on float32 tensors that lie ready: each epoch, for each batch, the frozen layers under
`no_grad` in eval mode, then the head, cross-entropy, backward, fused SGD; then the same without training over the
validation rows. The time in the frozen layers is taken inside it, and scaled from 1,980 rows to all 2,000: F. h is one
such epoch over features that lie in memory, gathered with `index_select`: the mean of as many as ours trains, before,
between and after our runs, so that other work on the machine falls on both. The loop's 20 epochs are 20 times one.

Ours is `seconds` of `finetune`: digests, computing and writing activations (its preprocessing of images included), and
training with validation after each epoch, history, checkpoints and the final metrics of all three splits. Cutting,
planning and loading are in none of these; the remark shows the whole call too. The first run has an empty cache, the
second finds everything. Gains are compared with what is possible: E (F + h) / (F + E h) and (F + h) / h.

Full fine-tuning is the same loop with every layer in train mode and under SGD, a tenth of an epoch's steps timed. The
compiled run's epochs are what its history says of them once they are compiled, the seconds of compiling left out: a
training as short as this one is not worth them, and `--compile auto` says so.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from measuring import Line, begin, print_table, timed
from torch.nn import functional

from reuse.finetuning.finetune import finetune
from reuse.runs.results import Result

SIZE, CLASSES, BATCH = 64, 10, 32
Network = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Work:
    """How much is done: rows of each split, and epochs."""

    train: int
    valid: int
    test: int
    epochs: int

    @property
    def all_rows(self) -> int:
        return self.train + self.valid + self.test


@dataclass
class Round:
    """Seconds of one round: the recomputing epoch, F, h, an epoch of full training, our two runs, a compiled epoch."""

    recomputed: float
    frozen: float
    head: float
    full: float
    compiled: float
    first: Result
    second: Result


def make_arrays(work: Work) -> dict[str, np.ndarray]:
    """Return random images and labels under the names that `reuse.load` takes."""
    pixels = np.random.default_rng(0).integers(0, 256, (work.all_rows, SIZE, SIZE, 3), np.uint8)
    labels, bounds = np.arange(work.all_rows) % CLASSES, [work.train, work.train + work.valid]
    parts = zip(("train", "valid", "test"), np.split(pixels, bounds), np.split(labels, bounds), strict=True)
    return {f"{letter}_{name}": array for name, x, y in parts for letter, array in (("x", x), ("y", y))}


class ByHand:
    """The loop written by hand, over images or over features."""

    def __init__(self, arrays: dict[str, np.ndarray], work: Work) -> None:
        self.work = work
        self.model = timm.create_model("resnet18", num_classes=CLASSES).eval().requires_grad_(False)
        self.head = self.model.fc.requires_grad_(True)
        self.optimizer = torch.optim.SGD(self.head.parameters(), lr=1e-3, fused=True)
        pixels = np.concatenate([arrays[f"x_{name}"] for name in ("train", "valid")])
        self.images = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()).float() / 255
        self.labels = torch.from_numpy(np.concatenate([arrays[f"y_{name}"] for name in ("train", "valid")]))
        self.in_frozen = 0.0
        self.whole = timm.create_model("resnet18", num_classes=CLASSES).train()
        self.of_whole = torch.optim.SGD(self.whole.parameters(), lr=1e-3, fused=True)
        with torch.no_grad():
            self.features = torch.cat([self.frozen(batch) for batch in self.images.split(BATCH)])

    def frozen(self, images: torch.Tensor) -> torch.Tensor:
        started = time.perf_counter()
        with torch.no_grad():
            features = self.model.forward_head(self.model.forward_features(images), pre_logits=True)
        self.in_frozen += time.perf_counter() - started
        return features

    def epoch(self, rows: torch.Tensor, network: Network) -> None:
        train, total = self.work.train, torch.zeros(())
        order = torch.randperm(train)
        for indices, labels in zip(order.split(BATCH), self.labels[order].split(BATCH), strict=True):
            loss = functional.cross_entropy(network(rows.index_select(0, indices)), labels)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        right, lost = torch.zeros((), dtype=torch.int64), torch.zeros(())
        with torch.no_grad():
            for some, labels in zip(rows[train:].split(BATCH), self.labels[train:].split(BATCH), strict=True):
                logits = network(some)
                lost += functional.cross_entropy(logits, labels, reduction="sum")
                right += (logits.argmax(1) == labels).sum()
        for value in (total, lost, right):
            value.item()

    def recomputing_epoch(self) -> tuple[float, float]:
        """Return the seconds of an epoch that computes the frozen layers, and F for all rows."""
        self.in_frozen = 0.0
        whole = timed(lambda: self.epoch(self.images, lambda images: self.head(self.frozen(images))))()
        return whole, self.in_frozen * self.work.all_rows / len(self.images)

    def full_epoch(self) -> float:
        """Return the seconds of an epoch that trains all layers, its validation left out, from a tenth of its steps."""
        some = torch.randperm(self.work.train)[: self.work.train // 10 // BATCH * BATCH or BATCH]

        def steps() -> None:
            for indices in some.split(BATCH):
                loss = functional.cross_entropy(self.whole(self.images.index_select(0, indices)), self.labels[indices])
                self.of_whole.zero_grad(set_to_none=True)
                loss.backward()
                self.of_whole.step()

        return timed(steps)() * self.work.train / len(some)

    def head_epoch(self) -> float:
        """Return h."""
        epochs = range(self.work.epochs)
        return statistics.mean(timed(lambda: self.epoch(self.features, self.head))() for _ in epochs)


def run_ours(arrays: dict[str, np.ndarray], work: Work, cache: Path) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        return tuned(arrays, work.epochs, cache, Path(folder) / "run")


def tuned(arrays: dict[str, np.ndarray], epochs: int, cache: Path, out: Path, **settings: Any) -> Result:
    return finetune(
        "timm:resnet18", random_weights=True, freeze="!fc", data=arrays, image_size=SIZE, epochs=epochs,
        batch_size=BATCH, optimizer="sgd", early_stopping=False, device="cpu", cache_dir=cache, out=out, **settings,
    )  # fmt: skip


def compiled_epoch(arrays: dict[str, np.ndarray], work: Work, cache: Path) -> float:
    """Return the seconds of an epoch of ours whose steps are compiled, the first half of the epochs left out."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        tuned(arrays, work.epochs, cache, run, compile=work.epochs > 2)  # a quick look compiles nothing
        history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
        return statistics.median(line["seconds"] for line in history[len(history) // 2 :])


def one_round(hand: ByHand, arrays: dict[str, np.ndarray], work: Work) -> Round:
    """Time all sides close together: what is short before and after what is long."""
    with tempfile.TemporaryDirectory() as cache:
        full = [hand.full_epoch()]
        before = (*hand.recomputing_epoch(), hand.head_epoch())
        first = run_ours(arrays, work, Path(cache))
        between = hand.head_epoch()
        second = run_ours(arrays, work, Path(cache))
        after = (hand.head_epoch(), *hand.recomputing_epoch())
        full.append(hand.full_epoch())
        compiled = compiled_epoch(arrays, work, Path(cache))
    assert [run.cache and run.cache["hit"] for run in (first, second)] == [False, True], "a run was not what it is for"
    recomputed, frozen = (before[0] + after[1]) / 2, (before[1] + after[2]) / 2
    head = statistics.mean((before[2], between, after[0]))
    return Round(recomputed, frozen, head, statistics.mean(full), compiled, first, second)


def of_result(result: Result) -> float:
    return sum(result.seconds[name] for name in ("digest", "cache", "train"))


def lines_of(rounds: list[Round], work: Work) -> list[Line]:
    epochs = work.epochs
    first_gain = [epochs * r.recomputed / of_result(r.first) for r in rounds]
    later_gain = [epochs * r.recomputed / of_result(r.second) for r in rounds]
    first_limit = [epochs * (r.frozen + r.head) / (r.frozen + epochs * r.head) for r in rounds]
    later_limit = [(r.frozen + r.head) / r.head for r in rounds]
    return [
        Line("first run: gain / E(F+h)/(F+Eh)", 0.93, _ratios(first_gain, first_limit),
             f"{statistics.median(first_gain):.1f} of {statistics.median(first_limit):.1f} times"),
        Line("second run: gain / (F+h)/h", 0.8, _ratios(later_gain, later_limit),
             f"{statistics.median(later_gain):.0f} of {statistics.median(later_limit):.0f} times"),
        Line("first run / full fine-tuning", 60, [epochs * r.full / of_result(r.first) for r in rounds]),
        Line("h / an epoch of ours, compiled", 1, [r.head / r.compiled for r in rounds]),
    ]  # fmt: skip


def _ratios(above: list[float], below: list[float]) -> list[float]:
    return [a / b for a, b in zip(above, below, strict=True)]


def print_seconds(rounds: list[Round]) -> None:
    medians = {name: statistics.median(getattr(r, name) for r in rounds) for name in ("frozen", "head")}
    print(f"F {medians['frozen']:.3f} s, h {medians['head'] * 1e3:.2f} ms")
    for name in ("first", "second"):
        parts = [getattr(r, name).seconds for r in rounds]
        shown = ", ".join(f"{key} {statistics.median(part[key] for part in parts) * 1e3:.0f}" for key in parts[0])
        print(f"{name} run, ms: {shown}")


def main() -> None:
    quick = begin(__doc__ or "")
    work, num_rounds = (Work(180, 20, 20, 2), 1) if quick else (Work(1800, 180, 20, 20), 7)
    arrays = make_arrays(work)
    hand = ByHand(arrays, work)
    if not quick:
        one_round(hand, arrays, work)  # kernels chosen, pages mapped
    rounds = [one_round(hand, arrays, work) for _ in range(num_rounds)]
    title = f"Frozen ResNet-18, {work.all_rows} images at {SIZE}×{SIZE}, batch {BATCH}, {work.epochs} epochs"
    print_table(title, lines_of(rounds, work))
    print_seconds(rounds)


if __name__ == "__main__":
    main()
