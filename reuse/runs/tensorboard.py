"""TensorBoard's view of a training: losses, metrics, the rate, and histograms of weights and gradients."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch.nn import Parameter

from reuse.distributed import is_main, whole
from reuse.errors import UsageError
from reuse.reporting import Epoch
from reuse.runs.disk import saving

FOLDER = "tensorboard"


class TensorBoard:
    """Writes events into a folder; `tensorboard --logdir RUN` shows them. Of several processes the first one writes.

    Args:
        folder: where; made where it is missing. Events of earlier parts of a training stay beside the new ones.
        since: number of the epoch that is written next: events of this one and later ones are those of a part that is
            trained again, and TensorBoard is told to forget them.

    Raises:
        UsageError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, since: int = 1) -> None:
        purge, writer = since if folder.is_dir() else None, _writer_class()
        self._folder = folder
        with saving(folder):
            self._writer: Any = writer(str(folder), purge_step=purge) if is_main() else None

    def write(self, epoch: Epoch, named_parameters: Iterable[tuple[str, Parameter]]) -> None:
        """Write an epoch; the step of all its events is its number.

        Args:
            epoch: what it came to.
            named_parameters: what trains; of what has a gradient, that of the last step is shown. Values that are not
                finite are left out.
        """
        tensors = [
            (f"{kind}/{name}", whole(tensor).float())
            for name, parameter in named_parameters
            for kind, tensor in (("weights", parameter.detach()), ("gradients", parameter.grad))
            if tensor is not None
        ]
        if self._writer is None:
            return
        with saving(self._folder):
            for name, value in _scalars(epoch).items():
                self._writer.add_scalar(name, value, epoch.number)
            for name, tensor in tensors:
                finite = tensor[tensor.isfinite()]
                if finite.numel():
                    self._writer.add_histogram(name, finite, epoch.number)
            self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            with saving(self._folder):
                self._writer.close()


def _scalars(epoch: Epoch) -> dict[str, float]:
    """Return what is drawn as lines."""
    scalars = {f"train/{name}": value for name, value in epoch.train.items()}
    scalars |= {f"valid/{name}": value for name, value in epoch.valid.items()}
    scalars |= {"learning_rate": epoch.learning_rate, "seconds": epoch.seconds}
    return {name: value for name, value in scalars.items() if math.isfinite(value)}


def check_tensorboard() -> None:
    """Raise a UsageError where tensorboard is not installed, which is better known before hours of training."""
    _writer_class()


def _writer_class() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # optional, and slow to import
    except ImportError as error:
        raise UsageError(
            'tensorboard is not installed: pip install "torch-reuse[report]", or train without it'
        ) from error
    return SummaryWriter
