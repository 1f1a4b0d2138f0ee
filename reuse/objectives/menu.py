"""The objectives that `reuse pretrain` knows by name: one line each."""

from collections.abc import Callable
from dataclasses import dataclass

from reuse.data.dataset import Dataset
from reuse.objectives.autoencoder import Reconstruction
from reuse.objectives.bigan import Bidirectional
from reuse.objectives.byol import Byol
from reuse.objectives.colorization import Colorization
from reuse.objectives.gan import Adversarial
from reuse.objectives.inpainting import Inpainting
from reuse.objectives.jigsaw import Jigsaw
from reuse.objectives.masked import Masked
from reuse.objectives.masked_columns import MaskedColumns
from reuse.objectives.masked_step import MaskedStep
from reuse.objectives.multitask import MultiTask
from reuse.objectives.next_step import NextStep
from reuse.objectives.objective import Objective
from reuse.objectives.relative_patch import RelativePatch
from reuse.objectives.rotation import Rotation
from reuse.objectives.sample_weights import weighted
from reuse.objectives.scarf import Scarf
from reuse.objectives.siamese import Siamese
from reuse.objectives.stacked import Stacked
from reuse.objectives.supervised import supervised
from reuse.objectives.triplet import Triplet
from reuse.objectives.variational import Variational
from reuse.objectives.vime import Vime
from reuse.objectives.weighting import parse_class_weights
from reuse.settings.training import LabelSettings


@dataclass(frozen=True)
class MenuEntry:
    """One name.

    Attributes:
        summary: one line.
        make: makes the objective for some data.
        needs_labels: whether it learns from labels.
    """

    summary: str
    make: Callable[[Dataset, LabelSettings], Objective]
    needs_labels: bool = False


def from_labels(data: Dataset, settings: LabelSettings) -> Objective:
    """Return what is minimised for the labels of the data."""
    weights = None
    if settings.class_weights is not None and data.train.targets is not None:
        weights = parse_class_weights(settings.class_weights, data.classes, data.train.targets)
    objective = supervised(
        data.task,
        data.num_outputs,
        label_smoothing=settings.label_smoothing,
        class_weights=weights,
        scale=data.target_scale,
    )
    return objective if data.train.weights is None else weighted(objective)


OBJECTIVES: dict[str, MenuEntry] = {
    "autoencoder": MenuEntry("give the inputs back through narrow hidden layers", lambda *_: Reconstruction()),
    "denoising_autoencoder": MenuEntry(
        "give the clean inputs back from inputs of which a quarter is masked",
        lambda *_: Reconstruction(0.25, "masking"),
    ),
    "stacked": MenuEntry(Stacked.summary, lambda *_: Stacked()),
    "variational": MenuEntry("give the inputs back through codes drawn at random", lambda *_: Variational()),
    "byol": MenuEntry("tell from one view of a row what a slow copy says of another", lambda *_: Byol()),
    "gan": MenuEntry(Adversarial.summary, lambda *_: Adversarial()),
    "bigan": MenuEntry(Bidirectional.summary, lambda *_: Bidirectional()),
    "masked": MenuEntry(Masked.summary, lambda *_: Masked()),
    "colorization": MenuEntry(Colorization.summary, lambda *_: Colorization()),
    "inpainting": MenuEntry(Inpainting.summary, lambda *_: Inpainting()),
    "jigsaw": MenuEntry(Jigsaw.summary, lambda *_: Jigsaw()),
    "relative_patch": MenuEntry(RelativePatch.summary, lambda *_: RelativePatch()),
    "rotation": MenuEntry(Rotation.summary, lambda *_: Rotation()),
    "scarf": MenuEntry(Scarf.summary, lambda *_: Scarf()),
    "vime": MenuEntry(Vime.summary, lambda *_: Vime()),
    "masked_columns": MenuEntry(MaskedColumns.summary, lambda *_: MaskedColumns()),
    "next_step": MenuEntry(NextStep.summary, lambda *_: NextStep()),
    "masked_step": MenuEntry(MaskedStep.summary, lambda *_: MaskedStep()),
    "supervised": MenuEntry("train from scratch on the labels", from_labels, needs_labels=True),
    "multitask": MenuEntry(MultiTask.summary, lambda *_: MultiTask(), needs_labels=True),
    "siamese": MenuEntry(Siamese.summary, lambda *_: Siamese(), needs_labels=True),
    "triplet": MenuEntry(Triplet.summary, lambda *_: Triplet(), needs_labels=True),
}
