"""The reused weights as they began, which `l2_sp` pulls towards."""

from collections.abc import Sequence

from torch import Tensor, nn

from reuse.errors import UsageError
from reuse.layers.selecting import select
from reuse.runs.checkpoints import ANCHORS
from reuse.runs.folder import RunFolder
from reuse.runs.tensor_files import load_tensors_file


def reused_weights(model: nn.Module, restored: Sequence[str], later: Sequence[str] = ()) -> dict[str, Tensor]:
    """Return copies of the parameters that a source has given, by name.

    Args:
        model: as it begins, frozen as in its first phase.
        restored: names of the layers that hold the source's weights.
        later: patterns of the layers that are frozen now and train in a later phase.

    Raises:
        UsageError: nothing was restored, or no weight of it ever trains.
    """
    if not restored:
        raise UsageError("l2_sp pulls towards reused weights, and none are restored: leave it out, or use l2")
    tensors = dict(model.named_parameters(remove_duplicate=False))
    reused = {name: tensors[name] for name in select(model, list(restored)).parameters}
    training = {name for name, parameter in tensors.items() if parameter.requires_grad}
    training.update(select(model, list(later)).parameters if later else ())
    if not any(name in training and parameter.ndim > 1 for name, parameter in reused.items()):
        raise UsageError(
            "l2_sp pulls at reused weights that train, and all that are restored stay frozen: leave it out, or use l2"
        )
    return {name: parameter.detach().clone() for name, parameter in reused.items()}


def kept_anchors(run: RunFolder) -> dict[str, Tensor]:
    """Return what a run keeps of the reused weights as they began.

    Raises:
        UsageError: it began without `l2_sp`, so they are not known any more.
        RunError: the file is damaged.
    """
    path = run.path / ANCHORS
    if not path.exists():
        raise UsageError(
            f"l2_sp pulls towards the reused weights as they began, and {run.path} began without it and has not kept "
            "them: leave it out, or begin a new run"
        )
    return load_tensors_file(path)
