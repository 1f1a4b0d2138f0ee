"""The outcome of a ranking: a row for each contender, and what each score and a static list would have chosen."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from reuse.ranking.contenders import Contender
from reuse.ranking.racing import RaceOutcome
from reuse.ranking.scores import Score

STATIC = "largest model, last layer"


@dataclass(frozen=True)
class ScoreChoice:
    """The contender that a score, or a rule, would have chosen.

    Attributes:
        by: name of the score, or the rule.
        model: of the contender.
        layer: of the contender.
        regret: by how much its probe is worse than the best probe, on the rows that both were validated on.
    """

    by: str
    model: str
    layer: str
    regret: float


@dataclass(frozen=True)
class Ranking:
    """The outcome of `rank`; `to_dict` is what `--json` prints.

    Attributes:
        data: the name of the data.
        sizes: `rows` that contenders are judged by, and `classes` among them, 0 for numbers.
        metric: of the probes: accuracy, or r2 of numbers.
        folds: of the race.
        table: a row for each contender, best first: `model`, `layer`, `width`, `row_bytes` in the cache, the metric,
            half the width of its 95 % `interval`, the fold after which it was `dropped` or None, whether it is `tied`
            with the best probe, each score or None.
        choices: what each score would have chosen, and a static list, with the regret.
        best: the first row, with `freeze`, the pattern that freezes the model up to that layer.
        command: to type next; None where the best model is a module.
        rows: how many rows went through each model (`computed`), by its name; none where all was cached.
        probes: how many were `solved` of those that cross-validation of all contenders would have solved (`all`).
        seconds: `wall` and `processor` seconds of `load`, `pass`, `scores`, `race` and `total`.
        notes: lines worth reading.
        tie: how many probes were within one standard error of the best, in words; None: there was no other.
    """

    data: str
    sizes: dict[str, int]
    metric: str
    folds: int
    table: list[dict[str, Any]]
    choices: list[ScoreChoice]
    best: dict[str, Any]
    command: str | None
    rows: dict[str, int]
    probes: dict[str, int]
    seconds: dict[str, dict[str, float]]
    notes: tuple[str, ...]
    tie: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Judged:
    """A contender as it was judged.

    Attributes:
        contender: the layer of a model.
        standing: in the race.
        scores: by name; None for one that it has not.
        evidence: breaks the tie of those whose probes are within one standard error of the best; None: it is not tied.
    """

    contender: Contender
    standing: RaceOutcome
    scores: Mapping[str, float | None]
    evidence: float | None = None

    def to_row(self, metric: str) -> dict[str, Any]:
        """Return its row of the table."""
        own, standing = self.contender, self.standing
        row = {"model": own.model, "layer": own.layer, "width": own.width, "row_bytes": own.row_bytes}
        return {
            **row,
            metric: standing.score,
            "interval": standing.interval,
            "dropped": standing.dropped,
            "tied": self.evidence is not None,
            **self.scores,
        }


def ordered(judged: Sequence[Judged]) -> list[Judged]:
    """Return contenders, best first: by evidence those that are tied with the best probe, and the others as they raced.

    Of these come first those that stayed to the end, and then those that were dropped last.
    """
    return sorted(judged, key=_standing, reverse=True)


def _standing(one: Judged) -> tuple[bool, float, int, float]:
    is_tied = one.evidence is not None
    return is_tied, one.evidence if one.evidence is not None else 0.0, one.standing.folds, one.standing.score


def choices_of(judged: Sequence[Judged], scores: Mapping[str, Score]) -> list[ScoreChoice]:
    """Return what each score would have chosen, and what a static list would have, each with its regret.

    Of equals the deepest layer is chosen; so it is by scores of a source's own classes, which all its layers share.

    Args:
        judged: best first.
        scores: by name; those that no contender has are left out.
    """
    found, leader = [], leading(judged)
    for name in scores:
        scored = [one for one in judged if one.scores[name] is not None]
        if scored:
            found.append(_choice(name, max(scored, key=lambda one: _key(one, name)), leader))
    largest = max(judged, key=lambda one: (one.contender.parameters, one.contender.is_last))
    return [*found, _choice(STATIC, largest, leader)]


def leading(judged: Sequence[Judged]) -> Judged:
    """Return the contender whose probe is best of those that stayed to the end."""
    return max(judged, key=lambda one: (one.standing.folds, one.standing.score))


def _key(one: Judged, name: str) -> tuple[float, bool]:
    value = one.scores[name]
    return (-math.inf if value is None else value), one.contender.is_last


def _choice(by: str, chosen: Judged, best: Judged) -> ScoreChoice:
    own = chosen.contender
    return ScoreChoice(by, own.model, own.layer, chosen.standing.behind(best.standing))
