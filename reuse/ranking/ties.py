"""Ties at the end of a race: probes that differ by less than their noise, among which evidence chooses.

Those within one standard error of the best probe are tied with it (the rule of Breiman, Friedman, Olshen & Stone 1984,
Classification and Regression Trees, section 3.4.3). Rows held out cannot tell them apart any more; LogME, which is
computed from all rows at once and none of whose noise is that of a split, chooses among them.
"""

from collections.abc import Mapping, Sequence

from reuse.ranking.contenders import Contender
from reuse.ranking.racing import RaceOutcome
from reuse.ranking.scores import SCORES, JudgingRows

BREAKS_TIES = "logme"


def tied_with_best(outcomes: Sequence[RaceOutcome]) -> list[int]:
    """Return the places of those that stayed to the end and are within one standard error of the best, it first.

    Args:
        outcomes: of all candidates of a race.
    """
    last = max(one.folds for one in outcomes)
    stayed = [place for place, one in enumerate(outcomes) if one.folds == last]
    stayed.sort(key=lambda place: outcomes[place].score, reverse=True)
    return [place for place in stayed if outcomes[place].errors_behind(outcomes[stayed[0]]) <= 1]


def evidence_of_tied(
    contenders: Sequence[Contender],
    outcomes: Sequence[RaceOutcome],
    scored: Sequence[Mapping[str, float | None]],
    rows: JudgingRows,
) -> list[float | None]:
    """Return what breaks the tie with the best probe; None for contenders that are not tied with it.

    Args:
        contenders: all of them.
        outcomes: of each in the race.
        scored: the scores of each, as far as they are asked for.
        rows: the labels.
    """
    found: list[float | None] = [None] * len(contenders)
    for place in tied_with_best(outcomes):
        known = scored[place].get(BREAKS_TIES)
        found[place] = _evidence(contenders[place], rows) if known is None else known
    return found


def _evidence(contender: Contender, rows: JudgingRows) -> float | None:
    return rows.scored(SCORES[BREAKS_TIES], contender.features)
