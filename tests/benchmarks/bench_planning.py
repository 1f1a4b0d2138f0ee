"""The plan beside what is then measured: each option that it foretells is trained too.

Run: `python tests/benchmarks/bench_planning.py [--quick]`. Three models are fine-tuned for a few epochs with each
option of their plan: no cache, each cut on disk in each type, and in memory. Foretold and measured are the seconds of
filling the cache and training, validation and final metrics included; each run makes its own plan right before. Only a
quiet machine can confirm a plan: what it measures takes milliseconds, and what it foretells seconds.

A line a model says how far the plan of the option that it chose was off (1 is right; 0.8 to 1.25 is the aim), and a
line a model and budget what part of the chosen option's seconds the best one took (0.9 is the aim).
"""

import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Line, begin, print_table

from reuse.features import choosing
from reuse.finetuning.finetune import finetune, plan
from reuse.planning.options import Option, choose
from reuse.planning.plan import Plan
from reuse.runs.results import Result

REPEATS = 5
PLANS: dict[str, Plan] = {}


@dataclass(frozen=True)
class Case:
    """A model, what of it is frozen, and its data."""

    spec: str
    freeze: str
    shape: tuple[int, ...]
    rows: int
    epochs: int


CASES = {
    "ResNet-18": Case("timm:resnet18", "!fc", (64, 64, 3), 1200, 6),
    "MobileNetV3": Case("timm:mobilenetv3_small_100", "!classifier", (64, 64, 3), 4000, 6),
    "mlp that widens": Case("mlp:100,3000", "hidden1,hidden2", (784,), 20_000, 4),
}


def main() -> None:
    quick = begin(__doc__ or "")
    lines: list[Line] = []
    for name, case in CASES.items():
        small = replace(case, rows=60, epochs=2) if quick else case
        lines += measure(name, small, 1 if quick else REPEATS)
    print_table("The plan and what came of it", lines)


def measure(name: str, case: Case, repeats: int) -> list[Line]:
    """Train with every option, in turns, and compare."""
    arrays, settings = data_of(case), settings_of(case)
    made: list[Plan] = []
    taken: dict[int, list[float]] = {}
    for _ in range(repeats):
        for number in range(len(plan_of(arrays, settings).options)):
            own, seconds = train(arrays, settings, number)
            taken.setdefault(number, []).append(seconds)
            made.append(own)
    measured = {number: statistics.median(values) for number, values in taken.items()}
    chosen = [own.options.index(picked(own, None)) for own in made]
    errors = [own.options[number].first / measured[number] for own, number in zip(made, chosen, strict=True)]
    lines = [Line(f"{name}: foretold / measured", 0.8, errors, f"{len(measured)} options")]
    sizes = sorted({option.bytes for option in made[-1].options[1:]})
    for budget in (None, sizes[-1] - 1, sizes[0] - 1):
        best = min(seconds for number, seconds in measured.items() if fits(made[-1].options[number], budget))
        ratios = [best / measured[own.options.index(picked(own, budget))] for own in made]
        words = "no budget" if budget is None else f"{budget} bytes"
        lines.append(Line(f"{name}, {words}: best / chosen", 0.9, ratios))
    return lines


def fits(option: Option, budget: int | None) -> bool:
    return option.exact and (option.kind != "disk" or budget is None or option.bytes <= budget)


def picked(made: Plan, budget: int | None) -> Option:
    """Return what the plan chooses within a budget."""
    over = [o if fits(o, budget) or not o.exact else replace(o, why_not="over the budget") for o in made.options]
    return made.options[over.index(choose(over, None, None))]


def train(arrays: Mapping[str, np.ndarray], settings: dict[str, Any], number: int) -> tuple[Plan, float]:
    """Train with one option of the plan in an empty cache; return the plan and the seconds that count."""
    make, made = choosing.make_plan, []

    def forced(*arguments: Any) -> Plan:
        own = make(*arguments)
        made.append(own)
        option = own.options[number]
        return replace(own, cache=option.kind != "none", kind=option.kind, behind=option.behind)

    choosing.make_plan = forced
    dtype = {} if number == 0 else stored_type(arrays, settings, number)
    try:
        with tempfile.TemporaryDirectory() as folder:
            result: Result = finetune(
                data=arrays, cache_dir=Path(folder) / "cache", out=Path(folder) / "run", **settings, **dtype
            )
    finally:
        choosing.make_plan = make
    return made[0], result.seconds["cache"] + result.seconds["train"]


def stored_type(arrays: Mapping[str, np.ndarray], settings: dict[str, Any], number: int) -> dict[str, str]:
    option = plan_of(arrays, settings).options[number]
    return {} if option.exact else {"cache_dtype": option.dtype}


def plan_of(arrays: Mapping[str, np.ndarray], settings: dict[str, Any]) -> Plan:
    """Return the plan over an empty cache; which options there are depends on no measurement."""
    key = str(settings)
    if key not in PLANS:
        with tempfile.TemporaryDirectory() as folder:
            PLANS[key] = plan(data=arrays, cache_dir=folder, **settings)[1].plan
    return PLANS[key]


def data_of(case: Case) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    image = len(case.shape) == 3
    x = (
        random.integers(0, 256, (case.rows, *case.shape), np.uint8)
        if image
        else random.random((case.rows, *case.shape))
    )
    return {"x": x if image else x.astype(np.float32), "y": np.arange(case.rows) % 10}


def settings_of(case: Case) -> dict[str, Any]:
    image = {"image_size": case.shape[0]} if len(case.shape) == 3 else {}
    return {
        "source": case.spec,
        "freeze": case.freeze,
        "random_weights": True,
        "epochs": case.epochs,
        "early_stopping": False,
        **image,
    }


if __name__ == "__main__":
    main()
