"""The weights of a run: what trained, and beside it what stayed frozen, of which equal runs share one copy.

weights.safetensors   the best weights; where much of the model stayed frozen, only those of the rest
frozen.safetensors    what stayed frozen: the same file on disk (a hard link) as in other runs that hold the same

A head of a few thousand numbers on a frozen backbone costs kilobytes a run, not the backbone each time. Whoever reads
`weights.safetensors` with `load_weights` gets both parts; deleting any of the runs leaves the others whole.
"""

from torch import nn

from reuse.runs.checkpoints import FOLDER, savable_tensors, still_tensors
from reuse.runs.folder import WEIGHTS, RunFolder
from reuse.runs.tensor_files import FROZEN, save_shared, save_tensors

WORTH_SHARING = 1 << 20  # bytes: below it one file is simpler


def save_weights(run: RunFolder, model: nn.Module) -> None:
    """Write the weights of a model that is trained.

    Args:
        run: where.
        model: with the weights to keep, frozen as it was at last.
    """
    tensors, still = savable_tensors(model), still_tensors(model)
    if sum(tensor.nbytes for tensor in still.values()) < WORTH_SHARING:
        (run.path / FROZEN).unlink(missing_ok=True)
        save_tensors(run.path / WEIGHTS, tensors)
        return
    save_shared(run.path / FROZEN, still, (run.path / FOLDER / FROZEN, *run.path.parent.glob(f"*/{FROZEN}")))
    held = {id(tensor) for tensor in still.values()}  # also under a second name
    trained = {name: tensor for name, tensor in tensors.items() if id(tensor) not in held}
    save_tensors(run.path / WEIGHTS, trained, beside=FROZEN)
