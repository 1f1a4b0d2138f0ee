"""Monte-Carlo dropout: predictions with dropout at work, and how far they lie apart."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from reuse.data.inputs import Inputs
from reuse.errors import UsageError
from reuse.nn.outputs import is_timm
from reuse.nn.recurrent_layers import RecurrentLayer
from reuse.reporting import UNHEARD, Progress
from reuse.runs.models import SavedModel
from reuse.seeding import untouched_random_state


@dataclass(frozen=True)
class SampledPredictions:
    """Predictions of several passes with dropout.

    Attributes:
        mean: mean probabilities or numbers, `(rows, outputs)`.
        uncertainty: for classes the entropy of the mean probabilities in nats, of labels the sum of theirs,
            `(rows, 1)`; for numbers the standard deviation over the passes, `(rows, outputs)`.
    """

    mean: Tensor
    uncertainty: Tensor


def sample_predictions(
    model: SavedModel,
    inputs: Inputs | Tensor,
    passes: int,
    *,
    batch_size: int = 256,
    seed: int = 0,
    progress: Progress = UNHEARD,
) -> SampledPredictions:
    """Predict several times with dropout as in training, all else as in evaluation.

    The passes are draws from an approximate posterior (Gal & Ghahramani 2016, https://arxiv.org/abs/1506.02142). Batch
    norms keep their statistics, and drop-path, which is none of the paper's, stays off.

    Args:
        model: whose modules' modes are left as they were.
        inputs: as `SavedModel.values` takes them.
        passes: how many, 2 or more.
        batch_size: rows at a time.
        seed: of what is dropped; the global random state is left alone.
        progress: told of the rows of each pass that are done.

    Raises:
        UsageError: fewer than 2 passes, or a model without dropout.
    """
    if passes < 2:
        raise UsageError(f"mc_dropout is {passes}: give 2 passes or more, such as 50, or 0 for none")
    with enabled_dropout(model), untouched_random_state():
        torch.manual_seed(seed)
        first = model.values(inputs, batch_size, progress).double()
        total, squares = torch.zeros_like(first), torch.zeros_like(first)
        for number in range(passes):
            # Distances from the first pass, not from 0: squares of large numbers would lose a small spread.
            apart = torch.zeros_like(first)
            if number:
                apart = model.values(inputs, batch_size, progress).double() - first
            total += apart
            squares += apart.square()
    mean = first + total / passes
    if model.task == "regression":
        variance = (squares - total.square() / passes) / (passes - 1)
        return SampledPredictions(mean, variance.clamp(min=0).sqrt())
    return SampledPredictions(mean, _entropy(mean, model.task).sum(1, keepdim=True))


@contextmanager
def enabled_dropout(model: nn.Module) -> Iterator[None]:
    """Let the dropouts of a model drop, and nothing else of it train.

    Raises:
        UsageError: it has none.
    """
    chosen = dropouts(model)
    if not chosen:
        raise UsageError(
            "the model has no dropout to sample with, as a module: train it with dropout, such as --dropout 0.2"
        )
    modes = [(module, module.training) for module in chosen]
    for module in chosen:
        module.training = True
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def dropouts(model: nn.Module) -> list[nn.Module]:
    """Return the modules that, in train mode, do no more than drop values with a probability above 0.

    A model of timm without any is among them by itself where it has a `drop_rate`: in front of its classifier it drops
    by a function (resnet, efficientnet, mobilenet and others), by the mode of the whole, not of what is in it.
    """
    found: list[nn.Module] = [m for m in model.modules() if isinstance(m, _DropoutNd) and m.p > 0]
    found += [m for m in model.modules() if isinstance(m, nn.RNNBase) and m.dropout > 0]
    found += [m.recurrent for m in model.modules() if isinstance(m, RecurrentLayer) and m.recurrent_dropout > 0]
    return found or [m for m in model.modules() if is_timm(m) and getattr(m, "drop_rate", 0) > 0]


def _entropy(probabilities: Tensor, task: str) -> Tensor:
    """Return each output's part of the entropy."""
    own: Tensor = torch.special.entr(probabilities)
    if task == "multilabel":
        own = own + torch.special.entr(1 - probabilities)
    return own
