"""The objectives that `reuse pretrain` knows by name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from reuse.objectives.autoencoder import Reconstruction
from reuse.objectives.objective import Objective
from reuse.objectives.supervised import supervised


@dataclass(frozen=True)
class MenuEntry:
    """A name's one-line summary, what makes the objective, and whether it needs labels.

    `make` takes `(task, num_outputs)` where labels are needed, and nothing otherwise.
    """

    summary: str
    make: Callable[..., Objective]
    needs_labels: bool = False


OBJECTIVES: dict[str, MenuEntry] = {
    "autoencoder": MenuEntry("give the inputs back through narrow hidden layers", Reconstruction),
    "denoising_autoencoder": MenuEntry(
        "give the clean inputs back from inputs of which a quarter is masked", partial(Reconstruction, 0.25, "masking")
    ),
    "supervised": MenuEntry("train from scratch on the labels", supervised, needs_labels=True),
}
