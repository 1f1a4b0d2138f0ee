"""A run as its folder tells of it, without its data and without building its model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reuse.data.dataset import SPLITS
from reuse.paths import real_path
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import Manifest, PhaseRecord
from reuse.settings.files import plain_settings


@dataclass(frozen=True)
class RunRecord:
    """The records of a run.

    Attributes:
        folder: where they are.
        name: by which the report calls it.
        manifest: what was trained on what.
        result: what it came to; None while it is not finished.
        history: a line an epoch.
    """

    folder: RunFolder
    name: str
    manifest: Manifest
    result: Mapping[str, Any] | None
    history: Sequence[Mapping[str, Any]]

    @classmethod
    def read(cls, path: str | Path, name: str) -> "RunRecord":
        """Return the records of the run in a folder.

        Raises:
            RunError: it is no run, or damaged.
        """
        folder = RunFolder.open(path)
        return cls(folder, name, folder.manifest(), folder.result(), folder.history())

    @property
    def settings(self) -> Mapping[str, Any]:
        """The resolved settings, as plain values."""
        settings: Mapping[str, Any] | None = self.told("settings")
        return plain_settings(self.folder.settings()) if settings is None else settings

    @property
    def phases(self) -> tuple[PhaseRecord, ...]:
        """What was frozen from which epoch on."""
        return self.manifest.phases

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose weights were kept; None while that is open."""
        epoch: int | None = self.told("best_epoch")
        return epoch

    @property
    def sizes(self) -> Mapping[str, int]:
        """Rows by split, where the result says so."""
        sizes: Mapping[str, int] = self.told("sizes") or self.told("rows") or {}
        return {split: sizes[split] for split in SPLITS if split in sizes}

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        """Metrics by split, of those that were measured."""
        told: Mapping[str, Any] = self.result or {}
        measured: Mapping[str, Mapping[str, float]] = told.get("metrics", told)  # a soup's stand by themselves
        return {split: measured[split] for split in SPLITS if measured.get(split)}

    @property
    def epochs(self) -> int:
        """How many have run."""
        epochs = self.told("epochs")
        return epochs if isinstance(epochs, int) else len(self.history)

    def told(self, name: str) -> Any:
        """Return an entry of the result; None where there is none."""
        return None if self.result is None else self.result.get(name)


def short_names(paths: Sequence[str | Path]) -> list[str]:
    """Return for each run the name of its folder, or as much of its path as tells it from the others."""
    parts = [real_path(path).parts for path in paths]
    depth = next(
        (depth for depth in range(1, max(map(len, parts)) + 1) if len({p[-depth:] for p in parts}) == len(parts)), 1
    )
    return [str(Path(*part[-depth:])) for part in parts]
