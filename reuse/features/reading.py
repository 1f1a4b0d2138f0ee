"""Reading a torch Dataset chunk by chunk, each sample with the digest by which it is known."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from reuse.data.sample_sources import refuse_no_samples
from reuse.data.samples import SampleForm, SampleInputs, digest_samples, form_of, in_chunks, stacked
from reuse.devices import Compute, moved
from reuse.errors import DataError, UsageError
from reuse.layout import InputNames
from reuse.menus import is_whole
from reuse.seeding import untouched_random_state

CHUNK_BYTES = 128 * 2**20  # of inputs that are in memory at once
READ_ROWS = 64  # that a worker reads at a time
REREAD_ROWS = 8  # of each chunk, which are read twice: what is changed at random differs the second time


@dataclass(frozen=True)
class Chunk:
    """Some samples of a Dataset.

    Attributes:
        inputs: with the digests of the rows.
        targets: of the rows; None for each where there are none.
    """

    inputs: SampleInputs
    targets: list[Any]


class Reader:
    """Reads the samples of a Dataset in their order.

    Args:
        dataset: map-style or iterable.
        target: place or name of the target in a sample; None: the usual one (see `reuse.data.samples.form_of`).
        accepted: names of the model's inputs.
        workers: processes that read; 0: this one does.

    Raises:
        DataError: it has no samples, or they cannot be taken.
        UsageError: it is no Dataset, or has no such target.
    """

    def __init__(self, dataset: Any, target: int | str | None, accepted: InputNames, workers: int) -> None:
        refuse_no_samples(dataset)
        if not is_whole(workers) or workers < 0:
            raise UsageError(f"workers is {workers!r}: give how many processes read, 0 for this one alone")
        self.dataset, self._workers = dataset, workers
        self.streams = isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__")
        try:
            with untouched_random_state():
                first = next(iter(dataset)) if self.streams else dataset[0]
        except (StopIteration, IndexError) as error:
            raise DataError("the dataset has no samples") from error
        self.form: SampleForm = form_of(first, target, accepted)

    def chunks(self, version: int = 0, positions: Sequence[int] | None = None) -> Iterator[Chunk]:
        """Yield all samples, or those at some positions.

        Args:
            version: 0: the samples as the Dataset gives them; else as it gives them when all that is drawn at random
                follows from this number and the position of the sample.
            positions: which samples; None: all.

        Raises:
            DataError: samples differ in form, shape or type, or a sample is another when it is read again.
        """
        start = 0
        for tensors, targets in in_chunks(self._samples(version, positions), self.form, CHUNK_BYTES):
            keys = digest_samples(tensors)
            if not version:
                self._refuse_changing(keys, start, positions)
            start += len(keys)
            yield Chunk(SampleInputs(tensors, keys), targets)

    def _samples(self, version: int = 0, positions: Sequence[int] | None = None) -> Iterator[Any]:
        if self.streams and not isinstance(self.dataset, IterableDataset):
            return iter(self.dataset)
        dataset: Any = Seeded(self.dataset, version) if version else self.dataset
        if positions is not None:
            dataset = Subset(dataset, positions)
        loader = DataLoader(dataset, batch_size=READ_ROWS, num_workers=self._workers, collate_fn=list)
        with untouched_random_state():  # an iterator of torch's draws a seed for its workers
            batches = iter(loader)
        return chain.from_iterable(batches)

    def _refuse_changing(self, keys: np.ndarray, start: int, positions: Sequence[int] | None) -> None:
        if self.streams:
            return
        numbers = list(range(start, start + min(REREAD_ROWS, len(keys))))
        numbers = numbers if positions is None else [positions[number] for number in numbers]
        with untouched_random_state():
            again = stacked([self.form.take_apart(self.dataset[number])[0] for number in numbers])
        wrong = (digest_samples(again) != keys[: len(numbers)]).any(1)
        if wrong.any():
            raise DataError(
                f"sample {numbers[int(wrong.argmax())]} is another when it is read a second time, so the dataset "
                "changes samples at random: views=5 computes and caches five versions of each and reads them in turn; "
                "or take the augmentation away"
            )


class ReadSamples:
    """The inputs of the samples of a map-style Dataset, read whenever they are asked for.

    Args:
        reader: of the Dataset.
        version: number of the version of the samples.
        compute: where and in which types they are given.
    """

    def __init__(self, reader: Reader, version: int, compute: Compute) -> None:
        self.device = compute.device
        self._samples = Seeded(reader.dataset, version) if version else reader.dataset
        self._form, self._compute = reader.form, compute

    def __len__(self) -> int:
        return len(self._samples)

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the inputs of the rows `indices`."""
        samples = [self._form.take_apart(self._samples[index])[0] for index in indices.tolist()]
        return tuple([moved(tensor, self._compute) for tensor in stacked(samples)])


class Seeded(Dataset[Any]):
    """Samples of another Dataset in which all that is drawn at random follows from a number and their position.

    Args:
        dataset: the other.
        version: the number.
    """

    def __init__(self, dataset: Any, version: int) -> None:
        self._dataset, self._version = dataset, version

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        with untouched_random_state():
            seed = int(np.random.SeedSequence([self._version, index]).generate_state(1)[0])
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - transforms draw from it
            torch.manual_seed(seed)
            return self._dataset[index]
