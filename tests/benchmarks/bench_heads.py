"""What it costs to train 52 heads together beside one after another: 13 rates × 4 decays on features of a ResNet-18.

Run: `python tests/benchmarks/bench_heads.py --threads 1`. A block is an epoch of all heads over 2,048 rows of 512
float32, ten classes, without validation. One after another is, in each round, the faster of two: this project's
trainer, and a loop written by hand with torch's fused optimizer. A third side trains all heads together in the least
code that does it, by `torch.func`. Heads begin alike and see the same batches; how far their weights are from those of
the loop by hand after the first epoch is printed beside.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import torch
from measuring import Block, Line, alternate, print_table
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional

from reuse.data.rows import Resident
from reuse.heads.head import Head
from reuse.heads.many_heads import ManyHeads
from reuse.objectives.supervised import Classification
from reuse.optim.groups import OptimizerSettings
from reuse.optim.optimizers import build_optimizer
from reuse.training.batches import row_order
from reuse.training.settings import LoopSettings
from reuse.training.trainer import Trainer

ROWS, FEATURES, CLASSES, ROUNDS = 2048, 512, 10, 9
TARGETS = {32: 20.0, 256: 5.0}
WORTH_MORE_CODE = 1.5
OPTIMIZERS = ("sgd", "nesterov", "adam")
RATES, DECAYS = torch.logspace(-4, -1, 13).tolist(), (0.0, 1e-5, 1e-4, 1e-3)
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
ALONE = ("trainer", "by hand")


def block(work: Callable[[], object], device: torch.device, clock: Callable[[], float]) -> Block:
    def measure() -> float:
        started = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - started

    return measure


def by_hand(model: nn.Module, settings: OptimizerSettings, rows: Tensor, labels: Tensor, size: int) -> Iterator[int]:
    optimizer = build_optimizer(settings, list(model.named_parameters()))
    for epoch in range(1, 1_000_000):
        order = row_order(len(rows), seed=0, epoch=epoch, shuffle=True, device=rows.device)
        for indices, some in zip(order.split(size), labels[order].split(size), strict=True):
            loss = functional.cross_entropy(model(rows.index_select(0, indices)), some)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        yield epoch


def by_func(
    model: nn.Module,
    weights: dict[str, Tensor],
    grid: list[OptimizerSettings],
    rows: Tensor,
    labels: Tensor,
    size: int,
) -> Iterator[int]:
    zeros = {name: nn.Parameter(torch.zeros_like(stacked)) for name, stacked in weights.items()}
    optimizer = build_optimizer(OptimizerSettings(grid[0].name, 1.0), list(zeros.items()))
    rates, decays = (
        rows.new_tensor(own) for own in zip(*[(s.learning_rate, s.weight_decay) for s in grid], strict=True)
    )

    def loss(own: dict[str, Tensor], inputs: Tensor, wanted: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(model, own, inputs), wanted)

    for epoch in range(1, 1_000_000):
        order = row_order(len(rows), seed=0, epoch=epoch, shuffle=True, device=rows.device)
        for indices, some in zip(order.split(size), labels[order].split(size), strict=True):
            losses = vmap(loss, (0, None, None))(weights, rows.index_select(0, indices), some)
            gradients = torch.autograd.grad(losses.sum(), list(weights.values()))
            with torch.no_grad():
                for (name, own), gradient in zip(weights.items(), gradients, strict=True):
                    decay = decays.view(-1, 1, 1) * own if name == "weight" else 0.0
                    zeros[name].zero_().grad = (gradient + decay).contiguous()  # fused kernels want them as weights lie
                optimizer.step()
                for name, own in weights.items():
                    own.addcmul_(zeros[name], rates.view(-1, *[1] * (own.ndim - 1)))
        yield epoch


def compare(optimizer: str, size: int, quick: bool, device: torch.device, clock: Callable[[], float]) -> list[Line]:
    count, heads = (ROWS // 4, 4) if quick else (ROWS, len(RATES) * len(DECAYS))
    rows = torch.randn(count, FEATURES, device=device).relu_()  # as they come out of a pooled last layer
    labels = torch.randint(CLASSES, (count,), device=device)
    scale = 0.1 if optimizer == "adam" else 1.0  # at a rate of 0.1 Adam makes large what float32 rounds
    grid = [OptimizerSettings(optimizer, scale * rate, None, decay) for rate, decay in product(RATES, DECAYS)][:heads]
    start = nn.Linear(FEATURES, CLASSES, device=device).state_dict()
    models = [nn.Linear(FEATURES, CLASSES, device=device) for _ in range(2 * heads)]
    for model in models:
        model.load_state_dict(start)
    hands = [by_hand(m, own, rows, labels, size) for m, own in zip(models, grid, strict=False)]
    objective = Classification(CLASSES)
    trainers = [
        Trainer(m, objective, optimization=s, loop=LoopSettings(batch_size=size))
        for m, s in zip(models[heads:], grid, strict=True)
    ]
    trained = [trainer.epochs(Resident(rows), labels, epochs=1_000_000) for trainer in trainers]
    together = [Head(start, settings) for settings in grid]
    many = ManyHeads(nn.Linear(FEATURES, CLASSES, device=device), objective, together, batch_size=size)
    epochs = many.epochs(Resident(rows), labels, epochs=1_000_000)
    stacked = stack_module_state(models[:heads])[0]
    func = by_func(models[0], stacked, grid, rows, labels, size)
    sides: dict[str, list[Iterator[object]]] = {
        "together": [epochs],
        "trainer": trained,
        "by hand": hands,
        "torch.func": [func],
    }
    blocks = {name: block(partial(step_all, own), device, clock) for name, own in sides.items()}
    for own in sides.values():
        step_all(own)
    apart = max(distance(many.weights(h), models[h]) for h in range(heads))
    func_apart = max(distance({name: own[h] for name, own in stacked.items()}, models[h]) for h in range(heads))
    times = alternate(blocks, 3 if quick else ROUNDS)
    alone = [min(pair) for pair in zip(*(times[name] for name in ALONE), strict=True)]
    steps = count // size
    microseconds = [sorted(some)[len(some) // 2] / steps * 1e6 for some in (times["together"], alone)]
    remark = f"{microseconds[0]:.0f} µs a step, {microseconds[1] / heads:.0f} µs alone; weights {apart:.0e} apart"
    what = f"{heads} heads, {optimizer}, batch {size}"
    ratios = [[a / t for a, t in zip(some, times["together"], strict=True)] for some in (alone, times["torch.func"])]
    func_line = Line(f"{what}: torch.func", WORTH_MORE_CODE, ratios[1], f"weights {func_apart:.0e} apart")
    return [Line(what, TARGETS[size], ratios[0], remark), func_line]


def step_all(epochs: list[Iterator[object]]) -> None:
    for one in epochs:
        next(one)


def distance(weights: dict[str, Tensor], model: nn.Module) -> float:
    return max((weights[name] - parameter).abs().max().item() for name, parameter in model.named_parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__ and __doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds on little data: shows that it runs")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default 2)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: seconds computed")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    device, clock = torch.device(arguments.device), CLOCKS[arguments.clock]
    lines = [ln for size in TARGETS for o in OPTIMIZERS for ln in compare(o, size, arguments.quick, device, clock)]
    title = f"One after another, and together by torch.func / together, {device.type}, {arguments.clock} seconds"
    print_table(title, lines)


if __name__ == "__main__":
    main()
