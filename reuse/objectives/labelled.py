"""Learning from the labels of the data, whatever these are: classes, several labels a row, numbers."""

from dataclasses import dataclass
from typing import ClassVar

from reuse.data.dataset import Dataset
from reuse.objectives.objective import Objective
from reuse.objectives.sample_weights import weighted
from reuse.objectives.supervised import supervised
from reuse.objectives.weighting import parse_class_weights
from reuse.settings.training import LabelSettings


@dataclass(frozen=True)
class Supervised(Objective):
    """The loss that the labels of the data call for: cross-entropy, of each label, or the squared error."""

    needs_labels: ClassVar[bool] = True
    summary: ClassVar[str] = "train from scratch on the labels"
    paper: ClassVar[str] = "Yosinski et al. 2014, https://arxiv.org/abs/1411.1792"

    def settled(self, data: Dataset, labels: LabelSettings) -> Objective:
        """Return what is minimised for the labels of the data."""
        return from_labels(data, labels)


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
