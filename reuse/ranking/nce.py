"""NCE, what a source's labels leave unsaid of the classes (Tran et al. 2019, https://arxiv.org/abs/1908.08142)."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def score_nce(probabilities: Tensor, targets: Tensor, num_classes: int) -> float:
    """Return the negative conditional entropy of the data's classes given the source's labels, up to 0.

    With z the source's most probable class of each row, and P̂ the shares of rows,

        NCE = -H(Y | Z) = Σ_y,z P̂(y, z) log (P̂(y, z) / P̂(z))

    Args:
        probabilities: of the source's classes, `(rows, source classes)`.
        targets: class numbers, `(rows,)`.
        num_classes: of the data.
    """
    labels = one_hot(probabilities.argmax(1), probabilities.shape[1]).double()
    joint = one_hot(targets, num_classes).double().mT @ labels / len(labels)
    return float(torch.special.entr(joint.sum(0)).sum() - torch.special.entr(joint).sum())
