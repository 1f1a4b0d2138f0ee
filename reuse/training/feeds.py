"""The feed of a trainer: the three splits as it reads them, and the network that takes their batches."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from reuse.data.rows import ChangingRows, Rows, windows_of
from reuse.objectives.objective import Network
from reuse.reporting import Reporter


@dataclass
class Feed:
    """The three splits as the trainer reads them, and the network that takes their batches.

    Attributes:
        network: the model, or the suffix of its cut.
        splits: rows and targets of each split.
        cache: what the cache gave, as `--json` prints it; None without one.
        seconds: of cutting, checking and planning; of digesting; of computing and writing activations.
        features: whether the network is a suffix, and reads what frozen layers have computed.
        viewed: whether the training rows are versions that augmentation has changed already.
        held: the key of the prefix whose activations are in memory alone; None where none are.
    """

    network: Network
    splits: dict[str, tuple[Rows, Tensor | None]]
    cache: dict[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"prepare": 0.0, "digest": 0.0, "cache": 0.0})
    features: bool = False
    viewed: bool = False
    held: str | None = None

    def __post_init__(self) -> None:
        self._began_with = self.splits["train"][0] if self.splits else None  # splits may be exchanged

    @property
    def windowed(self) -> bool:
        """Whether training rows are shuffled window by window, as they are more than fit into memory."""
        return windows_of(self.splits["train"][0]) is not None

    def close(self, reporter: Reporter) -> None:
        """Stop what is computed in the background, and say what had failed there unnoticed."""
        if isinstance(self._began_with, ChangingRows):
            for line in self._began_with.close():
                reporter.line(line)
            if self.cache is not None:
                self.cache["views"]["new"] = self._began_with.computed
