"""Rankings against the truth: what the race and each score would have chosen, and how much worse that is on test rows.

Seven networks of our own pretraining and three that are untrained are ranked with their layers for seven sets of
labels. The truth is the accuracy on test rows, none of which any part has seen before, of probes that learn from all
labelled rows, their penalty chosen by whole cross-validation. Regret is how many points worse than the best contender a
choice is there.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau, weightedtau

import reuse
from reuse.data.dataset import Split
from reuse.data.inputs import Inputs
from reuse.heads.logistic import solve_logistic
from reuse.ranking.contenders import Contender, contenders_of
from reuse.ranking.entrants import Entrant, open_entrant
from reuse.ranking.loads import Loads, labelled_rows
from reuse.ranking.naming import name_sources
from reuse.ranking.outcome import STATIC, Ranking
from reuse.ranking.racing import PENALTIES, divide_rows, probe, standardised
from reuse.ranking.scores import SCORES, JudgingRows
from reuse.reporting import Reporter
from reuse.settings.ranking import RankArguments

Arrays = dict[str, np.ndarray]
MODEL = {
    "model": "convnet:8,16",
    "activation": "relu",
    "pictures": False,
    "early_stopping": False,
    "learning_rate": 1e-3,
}
SOURCES: dict[str, tuple[str, str, dict[str, Any]]] = {  # an objective, on what, and which classes of it
    "mnist 0-4": ("supervised", "mnist", {"classes": "0-4"}),
    "mnist 5-9": ("supervised", "mnist", {"classes": "5-9"}),
    "mnist coder": ("autoencoder", "mnist", {}),
    "fashion 0-4": ("supervised", "fashion-mnist", {"classes": "0-4"}),
    "fashion coder": ("denoising_autoencoder", "fashion-mnist", {}),
    "fashion rotation": ("rotation", "fashion-mnist", {}),
    "digits": ("supervised", "digits", {}),
}
UNTRAINED = ("convnet:8,16", "convnet:32,32", "timm:resnet10t")
ODD = {label: label % 2 for label in range(10)}
LIKE: dict[str, Any] = {"image_size": 28, "channels": 1, "random_weights": True, "cache": False, "device": "cpu"}


def pictures(name: str, train: int, test: int, seed: int) -> Arrays:
    """Return other training rows for each seed, and test rows, as arrays."""
    data = reuse.load(name, image_size=28, test_fraction=0.5 if name == "digits" else None)
    order = np.random.default_rng(seed).permutation(len(data.train))
    found: Arrays = {}
    for part, split, rows in (
        ("train", data.train, order[:train]),
        ("test", data.test, np.arange(len(data.test))[:test]),
    ):
        some = torch.from_numpy(rows)
        assert split.targets is not None
        found |= {f"x_{part}": (255 * split.inputs.gather(some)[0]).round().byte().numpy()}
        found |= {f"y_{part}": split.targets[some].numpy()}
    return found


def told(data: Arrays, classes: Mapping[int, int]) -> Arrays:
    """Return rows with other classes."""
    return data | {part: np.vectorize(classes.get)(data[part]) for part in ("y_train", "y_test")}


def tasks(train: int, test: int) -> dict[str, tuple[Arrays, dict[str, Any]]]:
    """Return the sets of labels."""
    mnist, fashion, digits = (pictures(name, train, test, 1) for name in ("mnist", "fashion-mnist", "digits"))
    return {
        "digits": (digits, {}),
        "mnist": (mnist, {}),
        "mnist 5-9": (mnist, {"classes": "5-9"}),
        "mnist odd": (told(mnist, ODD), {}),
        "fashion": (fashion, {}),
        "fashion 5-9": (fashion, {"classes": "5-9"}),
        "fashion worn on feet": (told(fashion, {label: int(label in (5, 7, 9)) for label in range(10)}), {}),
    }


def few_tasks() -> dict[str, tuple[Arrays, dict[str, Any]]]:
    """Return sets of labels for a quick look, which need no data but scikit-learn's."""
    digits = pictures("digits", 250, 100, 1)
    return {"digits": (digits, {}), "digits odd": (told(digits, ODD), {})}


def pretrained(folder: Path, names: Sequence[str], rows: int, epochs: int) -> list[Path]:
    """Return the runs that are ranked."""
    made = []
    for name in names:
        objective, data, settings = SOURCES[name]
        own = pictures(data, rows, 100, 0)
        made.append(folder / name.replace(" ", "-"))
        reuse.pretrain(objective, data=own, epochs=epochs, out=made[-1], **MODEL, **settings)
    return made


def truth(arguments: RankArguments, table: list[dict[str, Any]]) -> dict[tuple[str, str], float]:
    """Return the accuracy of each contender on the test rows."""
    loads, found = Loads(arguments, Reporter()), {}
    for named in name_sources(arguments):
        entrant = open_entrant(named, arguments, loads, Reporter())
        names = [row["layer"] for row in table if row["model"] == named.name]
        rows, others = labelled_rows(entrant.data), tested(entrant)
        pairs = zip(measured(entrant, names, arguments), measured(others, names, arguments), strict=True)
        for learning, testing in pairs:
            found[learning.model, learning.layer] = accuracy(learning, testing, rows, labelled_rows(others.data))
    return found


def tested(entrant: Entrant) -> Entrant:
    """Return a source with the test rows in place of those that are labelled."""
    data = entrant.data
    nothing = Split(Nothing(data.valid.inputs), data.test.targets[:0], data.test.rows[:0])  # type: ignore[index]
    return replace(entrant, data=replace(data, train=data.test, valid=nothing))


class Nothing(Inputs):
    """No rows, of the form of others."""

    def __init__(self, like: Inputs) -> None:
        super().__init__(0)
        self.shape, self.dtype = like.shape, like.dtype

    def _prepare(self, indices: np.ndarray) -> torch.Tensor:
        return torch.empty(0, *self.shape)

    def _digest(self) -> np.ndarray:
        return np.empty((0, 16), np.uint8)


def measured(entrant: Entrant, names: list[str], arguments: RankArguments) -> list[Contender]:
    return contenders_of(entrant, names, arguments, classes=False, reporter=Reporter())[0]


def accuracy(learning: Contender, testing: Contender, rows: JudgingRows, others: JudgingRows) -> float:
    """Return the accuracy on test rows of the probe with the penalty that cross-validates best."""
    both = standardised(torch.cat([learning.features, testing.features]))
    x, held = both[: len(rows)], both[len(rows) :]
    gains = torch.cat([probe(x, rows, some)[0] for some in divide_rows(rows, 5, 1)], dim=1)
    penalty = PENALTIES[int(gains.mean(1).argmax())]
    heads = solve_logistic(x, rows.targets, [penalty], num_classes=rows.num_classes, tolerance=1e-5)
    told = (held @ heads.weight[0, 0].mT + heads.bias[0, 0]).argmax(1)
    return float((told == others.targets).double().mean())


def regrets(ranking: Ranking, real: dict[tuple[str, str], float]) -> dict[str, float]:
    """Return how many points worse than the best contender each choice is, by what chose it."""
    best = max(real.values())
    chosen = {"race": (ranking.best["model"], ranking.best["layer"])}
    chosen |= {choice.by: (choice.model, choice.layer) for choice in ranking.choices}
    return {by: 100 * (best - real[which]) for by, which in chosen.items()}


def correlations(ranking: Ranking, real: dict[tuple[str, str], float]) -> dict[str, tuple[float, float]]:
    """Return Kendall's tau and its weighted form between the truth and each order."""
    known = [real[row["model"], row["layer"]] for row in ranking.table]
    orders = {"race": [-float(place) for place in range(len(known))]}
    orders |= {name: [row[name] for row in ranking.table] for name in SCORES}
    found = {}
    for name, order in orders.items():
        pairs = [(own, value) for own, value in zip(order, known, strict=True) if own is not None]
        if len(pairs) > 2:
            found[name] = (
                kendalltau(*zip(*pairs, strict=True)).statistic,
                weightedtau(*zip(*pairs, strict=True)).statistic,
            )
    return found


@dataclass(frozen=True)
class Outcome:
    """What a ranking for one set of labels came to.

    Attributes:
        best: the best contender on test rows, in words.
        lost: regret by what chose.
        agreed: both correlations by what orders.
        probes: how many the race solved, in words.
    """

    best: str
    lost: dict[str, float]
    agreed: dict[str, tuple[float, float]]
    probes: str


def judged(sources: Sequence[Any], data: Arrays, settings: dict[str, Any]) -> Outcome:
    """Rank, and find the truth."""
    given = LIKE | settings | {"data": data}
    ranking = reuse.rank(list(sources), **given)
    real = truth(RankArguments(list(sources), **given), ranking.table)
    model, layer = max(real, key=real.__getitem__)
    best = f"{Path(model).name}, {layer} ({100 * real[model, layer]:.1f} %)"
    probes = f"{ranking.probes['solved']} of {ranking.probes['all']} probes"
    return Outcome(best, regrets(ranking, real), correlations(ranking, real), probes)


def tell(outcomes: Mapping[str, Outcome]) -> None:
    """Print what was lost."""
    print(f"{'labels':22} {'best on test rows':36} {'race':>6}  best score, by hindsight")
    met = 0
    for name, own in outcomes.items():
        by = min(SCORES.keys() & own.lost.keys(), key=own.lost.__getitem__)
        met += own.lost["race"] <= own.lost[by]
        print(f"{name:22} {own.best:36} {own.lost['race']:6.2f}  {own.lost[by]:.2f} ({by}); {own.probes}")
    print(f"\n{'chosen by':26} mean regret  worst  best found  Kendall's tau  weighted tau")
    lost = {by: [own.lost[by] for own in outcomes.values() if by in own.lost] for by in ("race", *SCORES, STATIC)}
    for by, points in sorted(lost.items(), key=lambda item: np.mean(item[1])):
        taus = [own.agreed[by] for own in outcomes.values() if by in own.agreed]
        told = (
            "" if not taus else f"{np.mean([one for one, _ in taus]):13.2f} {np.mean([two for _, two in taus]):13.2f}"
        )
        best = f"{sum(point == 0 for point in points):6} of {len(points)}"
        print(f"{by:26} {np.mean(points):11.2f} {max(points):6.2f} {best} {told}")
    print(f"\nthe race's regret is at most that of the best score of each set in {met} of {len(outcomes)} sets")


def read_arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds on little data: shows that it runs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--labels", type=int, default=500, help="labelled rows of each set, of digits at most 898")
    return parser.parse_args()


def main() -> None:
    """Rank for all sets of labels, and print what was lost."""
    arguments = read_arguments()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    is_quick = arguments.quick
    with TemporaryDirectory() as folder:
        names, count, epochs = (["digits"], 100, 1) if is_quick else (list(SOURCES), 3000, 6)
        sources = [*pretrained(Path(folder), names, count, epochs), *UNTRAINED[: 1 if is_quick else None]]
        sets = few_tasks() if is_quick else tasks(arguments.labels, 1500)
        tell({name: judged(sources, *own) for name, own in sets.items()})


if __name__ == "__main__":
    main()
