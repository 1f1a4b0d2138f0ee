"""Soups: one model whose weights are the mean of the weights of several runs of the same architecture."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from reuse.data.inputs import ReadInputs
from reuse.data.rows import Converted
from reuse.errors import RunError, UsageError
from reuse.inference.ensembling import measure
from reuse.inference.members import CommonRows, Member, find_members, find_rows, own_data
from reuse.inference.pooling import average_weights
from reuse.inference.selecting import run_rows
from reuse.layers.freezing import freeze, unfreeze
from reuse.menus import lookup
from reuse.nn.by_name import by_position
from reuse.runs.checkpoints import savable_tensors
from reuse.runs.folder import RunFolder
from reuse.runs.models import load_whole
from reuse.runs.weights import save_weights
from reuse.settings.calling import takes
from reuse.settings.files import plain_settings
from reuse.settings.uses import SoupArguments
from reuse.training.batches import batch_sizes, batches, row_order
from reuse.training.state import copied
from reuse.training.statistics import compute_statistics
from reuse.units import format_count

METHODS = {"greedy": True, "uniform": False}
PREPARED = {"preprocessing": "prepare their inputs", "target_scale": "standardise their targets"}


@dataclass(frozen=True)
class SoupResult:
    """Outcome of a soup: the runs whose weights are averaged, and the metrics of the average.

    Attributes:
        run: the run folder of the soup.
        method: greedy or uniform.
        ingredients: the runs whose weights are averaged, the best first.
        candidates: of each run, the best first: `run` and `valid`, its metrics on the validation rows.
        valid: metrics of the soup on these rows.
        test: metrics of the soup on the test rows.
        rows: how many validation and test rows were counted.
        notes: lines worth reading.
    """

    run: str
    method: str
    ingredients: tuple[str, ...]
    candidates: tuple[dict[str, Any], ...]
    valid: dict[str, float]
    test: dict[str, float]
    rows: dict[str, int]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@takes(SoupArguments)
def soup_runs(arguments: SoupArguments) -> SoupResult:
    """Average the weights of runs of one architecture into a run of its own, at the cost of one model.

    Model soups (Wortsman et al. 2022, https://arxiv.org/abs/2203.05482). The runs should have begun from the same
    weights, as fine-tunings of one source do: the mean of networks that began apart is seldom any good, and a greedy
    soup of them is the best of them alone.

    Returns:
        The runs that were averaged, and the metrics of the average.

    Raises:
        UsageError: fewer than two runs, an unknown method, or runs of different tasks or classes.
        RunError: a run that is damaged, of another architecture, or with other preprocessing.
    """
    method, data = arguments.method, arguments.data
    is_greedy = lookup(METHODS, method, "way to make a soup")
    if len(arguments.runs) < 2:
        raise UsageError(f"a soup of {format_count(len(arguments.runs), 'run')}: give two or more")
    if isinstance(data, str | Path):
        raise UsageError(
            f"data {str(data)!r} for a soup, which is chosen on the runs' own validation rows: leave it out"
        )
    members = find_members([str(run) for run in arguments.runs], arguments.device, arguments.trust)
    _check_alike(members)
    averages = WeightAverages(members, data, arguments.batch_size)
    ranked = sorted(range(len(members)), key=lambda place: averages.score([place]), reverse=True)
    chosen = _greedily(averages, ranked) if is_greedy else ranked
    network = averages.load(chosen)
    folder = _write(members[ranked[0]], network, [members[place].name for place in chosen], method, arguments.out)
    result = SoupResult(
        str(folder.path),
        method,
        tuple([members[place].name for place in chosen]),
        tuple([{"run": members[place].name, "valid": averages.validate([place])} for place in ranked]),
        averages.validate(chosen),
        averages.evaluate(chosen, averages.test),
        {"valid": len(averages.valid.numbers), "test": len(averages.test.numbers)},
        tuple(dict.fromkeys((*averages.valid.notes, *averages.test.notes))),
    )
    folder.write_result(result.to_dict())
    return result


class WeightAverages:
    """Averages of the weights of some runs, and their metrics.

    Args:
        members: the runs; averages are loaded into the first one's network.
        data: arrays, where the runs were trained on such.
        batch_size: rows at a time.
    """

    def __init__(self, members: Sequence[Member], data: Any, batch_size: int) -> None:
        self.members, self.batch_size = members, batch_size
        self.first = members[0]
        self.states = [copied(savable_tensors(member.model.network), "cpu") for member in members]
        average_weights(self.states)  # refuses what does not fit together before anything is computed
        self.own = own_data(members, data)
        self.valid, self.test = (find_rows(members, self.own, split) for split in ("valid", "test"))
        self._validated: dict[tuple[int, ...], dict[str, float]] = {}

    def load(self, places: Sequence[int]) -> nn.Module:
        """Return the network with the average of members, its batch norms' statistics computed anew."""
        network, states = self.first.model.network, [self.states[place] for place in places]
        load_whole(network, average_weights(states), self.first.folder.path)
        if len(places) > 1:
            self._renew_statistics(network, states)
        return network

    def evaluate(self, places: Sequence[int], rows: CommonRows) -> dict[str, float]:
        """Return the metrics of the average of members on `rows`."""
        self.load(places)
        predicted = rows.predict(self.first, 0, self.batch_size)
        return measure(self.first.model.task, predicted, rows.targets(self.members), self.first.model.target_scale)

    def validate(self, places: Sequence[int]) -> dict[str, float]:
        """Return the metrics of the average of members on the validation rows, computed once."""
        key = tuple(places)
        if key not in self._validated:
            self._validated[key] = self.evaluate(places, self.valid)
        return self._validated[key]

    def score(self, places: Sequence[int]) -> float:
        """Return what is to be high on the validation rows: accuracy, or for numbers the negative squared error."""
        metrics = self.validate(places)
        return metrics["accuracy"] if "accuracy" in metrics else -metrics["mse"]

    def _renew_statistics(self, network: nn.Module, states: Sequence[Mapping[str, Tensor]]) -> None:
        """Compute anew what the mean of the statistics is not: those that differ, as frozen ones do not."""
        norms = {
            name: any(not torch.equal(state[f"{name}.running_mean"], module.running_mean.cpu()) for state in states)
            for name, module in network.named_modules()
            if isinstance(module, _BatchNorm) and module.running_mean is not None
        }
        if not any(norms.values()):
            return
        unfreeze(network)
        still = [name for name, differs in norms.items() if not differs]
        if still:
            freeze(network, still)
        inputs = run_rows(self.first.folder, self.first.model.preprocessing, self.own, "train").inputs
        kind = next(network.parameters())
        sizes = batch_sizes(len(inputs), self.batch_size)
        order = row_order(len(inputs), seed=0, epoch=0, shuffle=True, device=torch.device("cpu"))
        source = Converted(ReadInputs(inputs), (kind.dtype,) * len(inputs.layout))
        rows = batches(source, None, order, sizes, kind.device)
        compute_statistics(network, by_position(network, inputs.layout), rows)


def _greedily(averages: WeightAverages, ranked: Sequence[int]) -> list[int]:
    chosen = [ranked[0]]
    for place in ranked[1:]:
        if averages.score([*chosen, place]) >= averages.score(chosen):
            chosen.append(place)
    return chosen


def _write(best: Member, network: nn.Module, ingredients: list[str], method: str, out: str | Path | None) -> RunFolder:
    """Write the soup as a run, of which the rest is the best run's."""
    folder = RunFolder.create("soup", out)
    folder.write_settings("soup", plain_settings(best.folder.settings()))
    save_weights(folder, network)
    soup = replace(best.folder.manifest(), kind="soup", method=method, ingredients=tuple(ingredients), created="")
    folder.write_manifest(soup)
    return folder


def _check_alike(members: Sequence[Member]) -> None:
    """Refuse what cannot be seen from names and shapes: another activation, or inputs that mean something else."""
    first = members[0]
    for member in members[1:]:
        if _architecture(member) != _architecture(first):
            raise RunError(
                f"{first.name} and {member.name} are of different models: {_architecture(first)} and "
                f"{_architecture(member)}; average their predictions instead, by `reuse ensemble`"
            )
        for what, does in PREPARED.items():
            if getattr(member.model, what) != getattr(first.model, what):
                raise RunError(
                    f"{first.name} and {member.name} {does} differently, as they trained on other rows: train them "
                    "with the same split_seed and labels, or from one source"
                )


def _architecture(member: Member) -> dict[str, Any]:
    recipe = member.folder.manifest().model
    assert recipe is not None, "a member predicts, so it has a model"
    return recipe.architecture
