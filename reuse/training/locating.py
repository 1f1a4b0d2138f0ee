"""Finding the layer in which numbers first were not finite, by training the epoch again and looking at every layer.

By the end of an epoch whose loss became NaN, every weight is: the last step before is the one to look at.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from reuse.data.rows import Rows, rows_of_epoch, windows_of
from reuse.errors import ReuseError
from reuse.training.running_loss import LossError
from reuse.training.trainer import Trainer
from reuse.training.watching import layer_of


def locate(
    error: LossError,
    trainer: Trainer,
    state: Mapping[str, Any],
    train: Rows,
    targets: Tensor | None,
    *,
    epochs: int,
) -> LossError:
    """Return the error with the place: a row of the data, or a layer whose weights or outputs are not finite.

    The steps before the one that failed are taken again as they were (compiled ones uncompiled), so this takes as long
    as they did. The trainer is left in the middle of them. Where several processes train together, nobody looks.

    Args:
        error: of the epoch that failed.
        trainer: which failed.
        state: its `state_dict` from before that epoch.
        train: the rows, as given to `Trainer.epochs`.
        targets: as given to it.
        epochs: as given to it.
    """
    if trainer.share.count > 1:
        return error
    trainer.load_state_dict(state)
    trainer.compiling.chosen = False
    search = _Search(after=(error.step - 1) * trainer.loop.accumulate)
    try:
        with search.hooks(trainer.model):
            next(trainer.epochs(_Searched(train, search), targets, epochs=epochs), None)
    except _FoundError as found:
        return error.at(str(found))
    except ReuseError:
        return error.at("in the loss itself: the output of every layer is finite")
    return error


class _FoundError(Exception):
    """The place, in words."""


class _Search:
    """Looks for values that are not finite from some batch on."""

    def __init__(self, after: int) -> None:
        self.after, self.batches = after, 0

    @property
    def is_on(self) -> bool:
        return self.batches > self.after

    @contextmanager
    def hooks(self, model: nn.Module) -> Iterator[None]:
        """Look at the weights and the outputs of every layer while the block runs, the first one first."""
        handles = []
        for name, module in model.named_modules():
            if module._parameters or not list(module.children()):
                handles.append(module.register_forward_pre_hook(self._before(layer_of(name))))
                handles.append(module.register_forward_hook(self._behind(layer_of(name))))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _before(self, layer: str) -> Any:
        def look(module: nn.Module, _: object) -> None:
            if self.is_on and not all(_is_finite(p) for p in module._parameters.values()):
                raise _FoundError(f"in {layer or 'the model'}: its weights are not finite after the step before")

        return look

    def _behind(self, layer: str) -> Any:
        def look(_: nn.Module, __: object, outputs: object) -> None:
            tensors = outputs if isinstance(outputs, tuple) else (outputs,)
            if self.is_on and not all(_is_finite(tensor) for tensor in tensors):
                raise _FoundError(f"in {layer or 'the model'}: its outputs are not finite, its weights and inputs are")

        return look


class _Searched:
    """A source whose rows are looked at too."""

    def __init__(self, source: Rows, search: _Search) -> None:
        self.source, self.search, self.device = source, search, source.device
        self.windows = windows_of(source)

    def __len__(self) -> int:
        return len(self.source)

    def in_epoch(self, number: int) -> "_Searched":
        return _Searched(rows_of_epoch(self.source, number), self.search)

    @property
    def plain(self) -> "_Searched":
        return self

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        rows = self.source.gather(indices)
        self.search.batches += 1
        for tensor in rows if self.search.is_on else ():
            if not _is_finite(tensor):
                place = int((~tensor.isfinite()).flatten(1).any(1).nonzero()[0])
                raise _FoundError(f"in row {int(indices[place])} of the training rows, which is not finite")
        return rows


def _is_finite(value: object) -> bool:
    return not isinstance(value, Tensor) or not value.is_floating_point() or bool(torch.isfinite(value).all())
