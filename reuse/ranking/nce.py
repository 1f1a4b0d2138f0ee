"""NCE, what a source's labels leave unsaid of the classes (Tran et al. 2019, https://arxiv.org/abs/1908.08142)."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from reuse.heads.shares import shares_of


def score_nce(probabilities: Tensor, targets: Tensor, num_classes: int, weights: Tensor | None = None) -> float:
    """Return the negative conditional entropy of the data's classes given the source's labels, up to 0.

    With z the source's most probable class of each row, and P̂ the shares of rows,

        NCE = -H(Y | Z) = Σ_y,z P̂(y, z) log (P̂(y, z) / P̂(z))

    Args:
        probabilities: of the source's classes, `(rows, source classes)`.
        targets: class numbers, `(rows,)`.
        num_classes: of the data.
        weights: how much each row counts, above 0; None: all alike.
    """
    labels = one_hot(probabilities.argmax(1), probabilities.shape[1]).double()
    shares = shares_of(len(labels), weights).unsqueeze(1)
    joint = one_hot(targets, num_classes).double().mT @ (shares * labels)
    return float(torch.special.entr(joint.sum(0)).sum() - torch.special.entr(joint).sum())
