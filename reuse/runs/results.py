"""The result of `pretrain` and `finetune`, printed as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Result:
    """The outcome of a training; `to_dict` is what `--json` prints.

    Attributes:
        run: the run folder.
        source: where layers came from, None for a training from scratch.
        settings: all settings, resolved.
        frozen: names of the frozen layers.
        restored: names of the layers that hold weights of the source.
        fresh: names of the layers that began at random.
        frontier: name, shape and dtype of each tensor at the cut, of the first phase; empty without a cut.
        cache: None without a cache, else `hit` (no row had to be computed), `key`, `path`, `bytes` and `rows`, those
            `computed` and those `found` before the first epoch, and how many were computed for the cuts of `later`
            phases; with versions of the training rows also `views`: the `count` of them then, and how many `new` ones
            there were later.
        epochs: how many have run.
        best_epoch: whose weights were kept.
        sizes: rows of each split.
        phases: for each, its first `epoch`, what was `frozen`, and its `frontier`.
        metrics: of `train`, `valid` and `test` with the best weights, in evaluation mode, without penalties; empty for
            a split without rows.
        seconds: `start` (of the command, from the shell its imports too), `load`, `prepare` (cutting, checking the cut,
            planning), `digest`, `cache` (computing and writing activations), `train` (the epochs with validation and
            checkpoints) and `total`, all of the command's.
        plan: what was measured beforehand, None without a cut.
        notes: lines worth reading: what was imputed, set aside, assumed, why nothing was cached.
        comparison: metrics of the same training from `scratch`, `frozen` and `unfrozen`, of the test rows or, where
            there are none, of the validation rows; empty unless compared.
    """

    run: str
    source: str | None
    settings: dict[str, Any]
    epochs: int
    best_epoch: int
    sizes: dict[str, int]
    metrics: dict[str, dict[str, float]]
    seconds: dict[str, float]
    frozen: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    frontier: tuple[dict[str, Any], ...] = ()
    cache: dict[str, Any] | None = None
    phases: tuple[dict[str, Any], ...] = ()
    plan: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    comparison: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


WAYS = {"scratch": "from scratch", "frozen": "reused and frozen", "unfrozen": "reused, unfrozen"}
"""The rows of `Result.comparison`, as people read them."""


def with_intervals(row: Mapping[str, float]) -> dict[str, Any]:
    """Return a row of a comparison as people read it: over several draws each metric with half its interval.

    Args:
        row: of `Result.comparison`.
    """
    if "draws" not in row:
        return dict(row)
    metrics = [name for name in row if f"{name}_interval" in row]
    plain = {"epochs": round(row["epochs"]), "seconds": row["seconds"]}
    return plain | {name: f"{row[name]:.3f} ± {row[f'{name}_interval']:.3f}" for name in metrics}
