"""Samples of a torch Dataset: which of their parts a model takes, and which it should give."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from reuse.data.digests import digest_bytes, digest_rows, stack_digests
from reuse.data.inputs import Inputs
from reuse.errors import DataError, UsageError
from reuse.layout import InputNames

TARGETS = ("labels", "label", "targets", "target", "y")
"""Names that the target of a sample usually has, where a sample is a dictionary."""

CLOSE = 0.8  # of two names that are taken for one, misspelt


@dataclass(frozen=True)
class SampleForm:
    """Where inputs and target stand in each sample of a data set.

    Attributes:
        inputs: places or names of the inputs; empty: the sample itself is the input.
        target: place or name of the target; None: there is none.
        by_name: whether the model takes its inputs by these names, as keywords.
    """

    inputs: tuple[int | str, ...]
    target: int | str | None
    by_name: bool = False

    def take_apart(self, sample: Any) -> tuple[tuple[Any, ...], Any]:
        """Return the inputs and the target of a sample; None in place of a target that is not there.

        Raises:
            DataError: it has another form than the first one.
        """
        if not self.inputs:
            return (sample,), None
        try:
            target = None if self.target is None else sample[self.target]
            return tuple([sample[place] for place in self.inputs]), target
        except (KeyError, IndexError, TypeError) as error:
            raise DataError(
                f"a sample of type {type(sample).__name__} has not what the first one has, {self}: give samples of "
                "one form"
            ) from error

    def __str__(self) -> str:
        return ", ".join([*map(repr, self.inputs), *([] if self.target is None else [repr(self.target)])])


def form_of(sample: Any, target: int | str | None, accepted: InputNames) -> SampleForm:
    """Return the form of samples, found on the first one.

    Of a tuple or list the last part is the target, and all before are inputs. Of a mapping it is what has one of the
    names `TARGETS`, and inputs are what the model takes by name. Anything else is an input.

    Args:
        sample: the first.
        target: place or name of the target; None: as above.
        accepted: names of the model's inputs.

    Raises:
        UsageError: there is no such target, or not all that the model takes.
    """
    if isinstance(sample, Mapping):
        return _form_of_mapping(sample, target, accepted)
    if isinstance(sample, tuple | list):
        last = len(sample) - 1
        place = last if target is None else target
        if not isinstance(place, int) or not -len(sample) <= place <= last:
            raise UsageError(f"target is {target!r}, and samples are tuples of {len(sample)}: give 0 to {last}")
        place %= len(sample)
        if len(sample) == 1:
            return SampleForm((0,), None)
        return SampleForm(tuple(number for number in range(len(sample)) if number != place), place)
    if target is not None:
        raise UsageError(f"target is {target!r}, and a sample is one {type(sample).__name__}: leave target out")
    return SampleForm((), None)


def _form_of_mapping(sample: Mapping[str, Any], target: int | str | None, accepted: InputNames) -> SampleForm:
    found = target if target is not None else next((name for name in TARGETS if name in sample), None)
    if found is not None and found not in sample:
        raise UsageError(f"target is {found!r}, and samples have {_listed(sample)}: give one of these")
    names = tuple(name for name in sample if name != found and name in accepted)
    if lacking := accepted.lacking(names) if names or accepted.required else [*accepted.names]:
        missed = "" if len(lacking) == len(accepted.names) else f", of which they lack {_listed(lacking)}"
        raise UsageError(
            f"samples have {_listed(sample)}, and the model's forward takes {_listed(accepted.names)}{missed}: name "
            "inputs as forward names its parameters"
        )
    if not names:
        raise UsageError(f"samples have {_listed(sample)}, and the model's forward takes no input by name: give tuples")
    _tell_of_left([name for name in sample if name != found and name not in names], found, accepted, names)
    return SampleForm(names, found, by_name=True)


def _tell_of_left(left: Sequence[str], target: int | str | None, accepted: InputNames, given: Sequence[str]) -> None:
    """Warn of what samples have and nobody takes, where it may be the target, or an input under another name."""
    optional = [name for name in accepted.names if name not in given]
    meant = {name: near[0] for name in left if (near := get_close_matches(name, optional, n=1, cutoff=CLOSE))}
    for name, other in meant.items():
        warnings.warn(
            f"{name!r} of the samples is left out: forward takes {other!r}, and none of that name", stacklevel=2
        )
    if target is None and left and not meant:
        warnings.warn(
            f"no target was found, and the model does not take {_listed(left)}: if one of these is the target, name "
            f"it, as in target={left[0]!r}, or call it one of {_listed(TARGETS)}",
            stacklevel=2,
        )


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(repr, names))


class SampleInputs(Inputs):
    """Inputs of a few samples that lie in memory.

    Args:
        tensors: one for each input of the model, each `(rows, …)`.
        keys: digests of the rows, `(rows, 16)` uint8.
    """

    def __init__(self, tensors: Sequence[Tensor], keys: np.ndarray) -> None:
        super().__init__(len(keys))
        self.tensors = tuple(tensors)
        self.shape, self.dtype = tuple(self.tensors[0].shape[1:]), self.tensors[0].dtype
        self._keys, self._resident = keys, self.tensors

    def _prepare(self, indices: np.ndarray) -> Tensor:
        return self.tensors[0].index_select(0, torch.from_numpy(indices))

    def _digest(self) -> np.ndarray:
        return self._keys


def stacked(samples: Sequence[tuple[Any, ...]]) -> tuple[Tensor, ...]:
    """Return the inputs of some samples side by side, one tensor for each input of the model, each `(rows, …)`.

    Raises:
        DataError: they are no numbers, or differ in shape or type.
    """
    return tuple([_stacked(values) for values in zip(*samples, strict=True)])


def collated(targets: Sequence[Any]) -> Any:
    """Return targets side by side, as a `DataLoader` does; None where there are none."""
    return None if targets[0] is None else default_collate(list(targets))


def digest_samples(tensors: Sequence[Tensor]) -> np.ndarray:
    """Return a digest of the content, types and shapes of each row, `(rows, 16)` uint8."""
    digests = [digest_rows(tensor.numpy(), np.arange(len(tensor))) for tensor in tensors]
    if len(digests) == 1:
        return digests[0]
    return stack_digests(digest_bytes(row.tobytes()) for row in np.concatenate(digests, axis=1))


def in_chunks(
    samples: Iterator[Any], form: SampleForm, most_bytes: int
) -> Iterator[tuple[tuple[Tensor, ...], list[Any]]]:
    """Yield the inputs, side by side, and the targets of samples, as many at a time as take not many bytes.

    Args:
        samples: in their order.
        form: of each.
        most_bytes: that the inputs of a chunk take, about; one sample at least.
    """
    inputs: list[tuple[Any, ...]] = []
    targets: list[Any] = []
    size = 0
    for sample in samples:
        own, target = form.take_apart(sample)
        inputs.append(own)
        targets.append(target)
        size += sum(_bytes(value) for value in own)
        if size >= most_bytes:
            yield stacked(inputs), targets
            inputs, targets, size = [], [], 0
    if inputs:
        yield stacked(inputs), targets


def _bytes(value: Any) -> int:
    return int(getattr(value, "nbytes", 8))


def _stacked(values: Sequence[Any]) -> Tensor:
    first = values[0]
    if not isinstance(first, Tensor | np.ndarray | np.generic | int | float):
        raise DataError(
            f"a model takes tensors, and an input of the samples is of type {type(first).__name__}: {_way_out(first)}"
        )
    tensors = [torch.as_tensor(value) for value in values]
    kinds = dict.fromkeys((tuple(tensor.shape), tensor.dtype) for tensor in tensors)
    if len(kinds) > 1:
        one, other = list(kinds)[:2]
        raise DataError(
            f"samples differ in shape or type: {one[0]} {one[1]} and {other[0]} {other[1]}; bring them to one size"
        )
    return torch.stack(tensors).cpu()


def _way_out(value: Any) -> str:
    """Return how a value becomes a tensor, or tensors."""
    if isinstance(value, str):
        return "let the dataset's transform make a tensor of it, of a text with a tokenizer"
    if isinstance(value, Mapping):
        return "give each sample as one dictionary of the inputs and the target"
    if isinstance(value, list | tuple):
        return "make a tensor of it; a data set of Hugging Face does so after with_format('torch')"
    return (
        "let the dataset's transform make a tensor of it (torchvision.transforms.v2.ToImage and ToDtype for a picture)"
    )
