"""Probing: after some epochs, what an encoder's features of validation rows are worth, and whether they collapsed."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reuse.data.rows import Rows
from reuse.distributed import world_size
from reuse.features.feeding import feed_inputs
from reuse.heads.feature_scores import effective_rank, score_linear, score_neighbours
from reuse.setup.pretraining import PretrainSetup
from reuse.training.evaluation import eval_mode

MOST_ROWS = 2048  # of the validation rows, the first: their scores are within a few percent of those of all
AT_ONCE = 256
COLLAPSED = 2.0  # an effective rank below this, of features of many numbers
MANY = 8
ERROR = "probe_error"
"""The metric that `stop_on="probe"` watches: 1 less the linear probe's score."""


@dataclass(frozen=True)
class FeatureProbe:
    """Scores of an encoder's features of validation rows. Targets are looked at, and nothing of them is learned.

    Attributes:
        encoder: scored as it is, in evaluation mode.
        rows: the validation rows.
        targets: of these; None: they have none, and the rank alone is measured.
        num_classes: 0 where targets are numbers.
        every: epochs from one score to the next; 0: none.
    """

    encoder: nn.Module
    rows: Rows
    targets: Tensor | None
    num_classes: int
    every: int

    def __call__(self, epoch: int) -> dict[str, float]:
        """Return the scores after an epoch, by name; nothing after those that are not scored."""
        return self.scores() if self.every and epoch % self.every == 0 else {}

    def scores(self) -> dict[str, float]:
        """Return `knn`, `probe` and `probe_error`, where there are targets, and `rank`."""
        features = self.features()
        if self.targets is None:
            return {"rank": effective_rank(features)}
        targets = self.targets[: len(features)].to(features.device)
        probe = score_linear(features, targets, self.num_classes)
        return {
            "knn": score_neighbours(features, targets, self.num_classes),
            "probe": probe,
            ERROR: 1 - probe,
            "rank": effective_rank(features),
        }

    @torch.no_grad()
    def features(self) -> Tensor:
        """Return the features of the first validation rows, `(rows, features)`."""
        order = torch.arange(min(len(self.rows), MOST_ROWS), device=self.rows.device)
        with eval_mode(self.encoder):
            parts = [self.encoder(*self.rows.gather(some)).flatten(1).float() for some in torch.split(order, AT_ONCE)]
        return torch.cat(parts)

    def advice(self) -> str:
        """Return one line where the features have collapsed, else nothing."""
        features = self.features()
        rank = effective_rank(features)
        if features.shape[1] < MANY or len(features) < MANY or rank >= COLLAPSED:
            return ""
        same = "all rows have the same" if rank == 0 else f"so few differ that their effective rank is {rank:.1f}"
        return (
            f"collapse: of the {features.shape[1]} features of the encoder {same}: try a lower learning_rate, larger "
            "batches, stronger views, or a method that spreads features (vicreg, barlow_twins)"
        )


def probe_of(setup: PretrainSetup) -> FeatureProbe | None:
    """Return what scores the features of a pretraining; None where nobody asks, and the loss tells of a collapse."""
    settings, data = setup.settings, setup.data
    is_wanted = settings.probe_every is not None or setup.objective.monitor is None
    is_divided = settings.parallel != "ddp" and world_size() > 1
    if is_divided or not is_wanted or not len(data.valid):
        return None
    classes = len(data.classes) if data.task == "classification" else 0
    rows = feed_inputs(setup.trained, data, setup.compute).splits["valid"][0]
    return FeatureProbe(setup.encoder, rows, data.valid.targets, classes, settings.probe_every or 0)
