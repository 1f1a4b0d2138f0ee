"""The outcome of a sweep."""

from dataclasses import asdict, dataclass
from typing import Any

from reuse.searching.table import cv_results


@dataclass(frozen=True)
class SweepResult:
    """The outcome of a sweep; `to_dict` is what `--json` prints.

    Attributes:
        run: the run folder.
        source: where layers came from.
        settings: all settings, resolved, those that were tried as lists.
        metric: by which settings are ranked.
        table: a row for each combination of settings and number of labels, best first: mean and standard error of the
            metric on the validation rows over seeds and folds.
        best: the first row, with the mean and standard error of each metric on the test rows.
        configurations: each head, with the metrics of its best epoch on its validation rows.
        epochs: how many have run, by head architecture.
        sizes: rows of each split.
        frozen: names of the frozen layers.
        frontier: name, shape and type of each tensor at the cut.
        cache: what the cache gave, as `finetune` has it.
        seconds: `load`, `cache` (building, cutting, computing and writing activations), `train` and `total`.
        kept: the run of the best head, None where none was to be kept.
    """

    run: str
    source: str
    settings: dict[str, Any]
    metric: str
    table: list[dict[str, Any]]
    best: dict[str, Any]
    configurations: list[dict[str, Any]]
    epochs: dict[str, int]
    sizes: dict[str, int]
    frozen: tuple[str, ...]
    frontier: list[dict[str, Any]]
    cache: dict[str, Any] | None
    seconds: dict[str, float]
    kept: str | None = None

    @property
    def cv_results_(self) -> dict[str, Any]:
        """The heads as scikit-learn's searches list theirs, for code that reads `GridSearchCV.cv_results_`."""
        return cv_results(self.configurations, self.metric)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)
