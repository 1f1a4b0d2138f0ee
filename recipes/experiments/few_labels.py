"""Few labels, draw by draw: layers that a method has pretrained, frozen and then not, and four ways that need none."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import torch
from reuse.recipes.experiments.budgets import pretrain_within
from reuse.recipes.experiments.choosing import best_validated
from reuse.recipes.experiments.experiment import Figures
from reuse.recipes.experiments.linear_heads import Features, features_of, rows_of, score_linear
from reuse.recipes.experiments.patches import PatchFeatures

import reuse
from reuse.data.dataset import Dataset, Split

SCRATCH, LINEAR, UNTRAINED, PATCHES = "from scratch", "logistic regression", "untrained", "k-means patches"
ALWAYS = (SCRATCH, LINEAR, UNTRAINED, PATCHES)
"""The ways without pretraining; the second and the fourth need no network either."""

DRAWS, PRETRAININGS, MINUTES, SHORT = 10, 2, 5.0, 1.0
TUNING: dict[str, Any] = {"epochs": 100, "patience": 30}
RATES, UNFREEZE = (1e-3, 3e-4), 10

Pretraining = Callable[["Case", int, Path, float], tuple[str, float]]
"""`(case, number, folder, minutes) -> run, minutes used`: another way to pretrain than `pretrain_within`."""


@dataclass(frozen=True, eq=False)
class Case:
    """Rows of which few have labels, and a network that is pretrained on them, or on others.

    Attributes:
        name: in the names of files.
        data: as `reuse.load` takes it.
        network: `model`, and what else `reuse.build` is to know of it.
        layers: those that are reused, as `freeze` takes them.
        source: settings of pretrainings.
        reading: settings with which `reuse.load` gives rows as the network takes them.
        known: classes that are pretrained on, and no others; None: all rows.
        new: classes of which there are few labels; None: all.
        own: further settings of the pretraining by some methods.
        otherwise: what pretrains by some methods.
        for_each_draw: methods that use the few labels: they are pretrained for each draw, so much the shorter.
    """

    name: str
    data: Any
    network: Mapping[str, Any]
    layers: str
    source: Mapping[str, Any]
    reading: Mapping[str, Any] = field(default_factory=dict)
    known: str | None = None
    new: str | None = None
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    otherwise: Mapping[str, Pretraining] = field(default_factory=dict)
    for_each_draw: tuple[str, ...] = ()

    def settings_of(self, way: str, number: int) -> dict[str, Any]:
        """Return the settings of a method's pretraining of a number."""
        rows = {"data": self.data, "classes": self.known, "seed": number, "split_seed": 0}
        return {**self.network, **self.source, **self.own.get(way, {}), **rows}

    def pretrainings(self, way: str) -> int:
        """Return how many pretrainings there are of a method, which draws take in turn."""
        return DRAWS if way in self.for_each_draw else PRETRAININGS


class Comparison:
    """Measures a way on a draw of labels; what draws share is computed once.

    Args:
        folder: for fine-tuned runs and features.
        sources: folder of the pretrained runs; those that it holds are not trained again.
        minutes: of the processor, for each of two pretrainings.
        few: other settings of the training of everything.
    """

    def __init__(self, folder: Path, sources: Path, minutes: float, few: dict[str, Any]) -> None:
        self.folder, self.sources, self.minutes, self.few = folder, sources, minutes, few
        self.source: Callable[[Case, str, int], tuple[str, float]] = cache(self._source)
        self.features: Callable[[Case, str, int], Features] = cache(self._features)
        self.whole: Callable[[Case, str, str | None], Dataset] = cache(self._whole)

    def __call__(self, seed: int, case: Case, labels: int, way: str) -> Figures:
        """Return accuracies on the test rows, and the minutes of pretraining."""
        drawn = {"data": case.data, "classes": case.new, "labels": f"{labels}/class", "seed": seed, "split_seed": 0}
        name, number = f"{case.name}-{labels}-{_in_a_path(way)}-{seed}", seed % case.pretrainings(way)
        if way == SCRATCH:
            return {"unfrozen": self.trained(name, case, None, drawn)}
        frozen = {"frozen": self.frozen(case, way, number, reuse.load(**drawn, **_reading(case, way)))}
        if way in ALWAYS:
            return frozen
        run, minutes = self.source(case, way, number)
        return frozen | {"unfrozen": self.trained(name, case, run, drawn), "minutes": minutes}

    def trained(self, name: str, case: Case, run: str | None, drawn: dict[str, Any]) -> float:
        """Return the accuracy of a net that is trained as a whole, from scratch or from a run."""
        results = []
        for rate in RATES:
            settings: dict[str, Any] = {**TUNING, **drawn, "learning_rate": rate, "out": self.folder / f"{name}-{rate}"}
            settings |= self.few
            if run is None:
                results.append(reuse.pretrain("supervised", **case.network, **settings))
            else:
                phases: dict[str, Any] = {"freeze": case.layers, "unfreeze": f"{UNFREEZE}:all", "cache": False}
                results.append(reuse.finetune(run, **phases, **settings))
        accuracy: float = best_validated(results).metrics["test"]["accuracy"]
        return accuracy

    def frozen(self, case: Case, way: str, number: int, drawn: Dataset) -> float:
        """Return the accuracy of a linear head on frozen features."""
        features, (test, truth) = self.features(case, way, number), rows_of(self.whole(case, way, case.new).test)
        # Of all test rows, too large to be kept in memory for all ways.
        path = self.folder / f"{case.name}-{_in_a_path(way)}-{number}.npy"
        if not path.exists():
            np.save(path, features(test))
        x, y = all_rows(drawn.train, drawn.valid)
        accuracy: float = score_linear((features(x), y), (np.load(path, mmap_mode="r"), truth))
        return accuracy

    def _whole(self, case: Case, way: str, classes: str | None) -> Dataset:
        found: Dataset = reuse.load(case.data, classes=classes, split_seed=0, **_reading(case, way))
        return found

    def _features(self, case: Case, way: str, number: int) -> Features:
        whole = self.whole(case, way, case.known)
        if way == LINEAR:
            return lambda inputs: inputs.flatten(1).numpy()
        if way == PATCHES:
            return PatchFeatures.fit(rows_of(whole.train)[0], seed=number)
        run = None if way == UNTRAINED else self.source(case, way, number)[0]
        return features_of(case.network, whole, run=run, seed=number)

    def _source(self, case: Case, way: str, number: int) -> tuple[str, float]:
        minutes = self.minutes * PRETRAININGS / case.pretrainings(way)
        settings = case.settings_of(way, number)
        out = self.sources / f"{case.name}-{_in_a_path(way)}-{number}-{minutes:g}min-{settings['precision']}"
        kept = out / "pretrained.json"
        if not kept.exists():
            rmtree(out, ignore_errors=True)  # stopped on the way
            if way in case.otherwise:
                run, used = case.otherwise[way](case, number, out, minutes)
            else:
                run, used = pretrain_within(minutes, way, out / "run", **settings)
            kept.write_text(json.dumps({"run": run, "minutes": used}))
        found = json.loads(kept.read_text())
        return found["run"], found["minutes"]


def with_budget(name: str, way: str, minutes: float) -> str:
    """Return what a row is called, with its budget where it is another than that of the table."""
    return name if way in ALWAYS or minutes == MINUTES else f"{name}, {minutes:g} in place of {MINUTES:g} minutes"


def all_rows(*splits: Split) -> tuple[torch.Tensor, np.ndarray]:
    """Return the inputs and the class numbers of the rows of some splits together."""
    inputs, labels = zip(*map(rows_of, splits), strict=True)
    return torch.cat(inputs), np.concatenate(labels)


def _reading(case: Case, way: str) -> Mapping[str, Any]:
    """Return how rows are read: pixels and their patches as they are in images."""
    return {} if way in (LINEAR, PATCHES) else case.reading


def _in_a_path(way: str) -> str:
    """Return a way in the name of a file: settings of a method, such as its views, may hold slashes."""
    return way.replace("/", "+")
