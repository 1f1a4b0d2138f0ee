"""LEEP, how well a source's own classes tell those of the data (Nguyen et al. 2020, https://arxiv.org/abs/2002.12462)."""

from torch import Tensor
from torch.nn.functional import one_hot

from reuse.heads.shares import shares_of


def score_leep(probabilities: Tensor, targets: Tensor, num_classes: int, weights: Tensor | None = None) -> float:
    """Return the mean log of what the expected empirical predictor gives each row's class, up to 0.

    With θ(x)_z the probability of the source's class z, and P̂(y, z) the mean over rows of class y of θ(x)_z,

        LEEP = 1/n Σ log Σ_z P̂(y_i | z) θ(x_i)_z

    Args:
        probabilities: of the source's classes, `(rows, source classes)`.
        targets: class numbers, `(rows,)`.
        num_classes: of the data.
        weights: how much each row counts, above 0; None: all alike.
    """
    source, shares = probabilities.double(), shares_of(len(probabilities), weights)
    joint = one_hot(targets, num_classes).double().mT @ (shares.unsqueeze(1) * source)
    given = joint / joint.sum(0).clamp_min(1e-300)
    told = (source @ given.mT).gather(1, targets.unsqueeze(1))
    return float(shares @ told.log().squeeze(1))
