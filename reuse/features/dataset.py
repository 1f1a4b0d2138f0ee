"""Any torch Dataset with the frozen layers computed: the features are a Dataset too, for anybody's training loop."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, get_worker_info

from reuse.caching.activations import ResidentActivations
from reuse.caching.cache import ActivationCache
from reuse.data.rows import Rows
from reuse.data.sample_keys import Keys, known_rows
from reuse.data.samples import collated
from reuse.devices import Compute, dtype_name
from reuse.distributed import from_main
from reuse.errors import UsageError
from reuse.features.attaching import HeadForward, WholeModel
from reuse.features.cutting import SAMPLE_ROWS
from reuse.features.loader import FeatureLoader, as_given, picked_one
from reuse.features.origin import Origin, compute_of, same_modes
from reuse.features.reading import Reader, ReadSamples
from reuse.features.streaming import Streaming
from reuse.features.watching import WatchedWeights
from reuse.hints import Hints
from reuse.layers.freezing import freeze as freeze_layers
from reuse.layers.freezing import hold
from reuse.layers.parts import NothingToCacheError
from reuse.layers.selecting import Patterns
from reuse.layout import InputNames
from reuse.menus import is_whole
from reuse.paths import cache_folder
from reuse.reporting import Warner
from reuse.settings.caching import MOST_VIEWS
from reuse.units import parse_bytes


def cached(
    model: nn.Module,
    dataset: Any,
    freeze: Patterns | None = None,
    *,
    target: int | str | None = None,
    key: Keys | None = None,
    views: int = 1,
    cache_dir: str | Path | None = None,
    cache_dtype: str | None = None,
    cache_budget: int | str | None = None,
    workers: int = 0,
) -> "CachedFeatures":
    """Return a Dataset in which the frozen layers of a model are computed, each row once and for all.

    What is in the cache is not computed again, in whatever data set, order or process the row stands: a row is known by
    its content, or by its key, together with the code and settings of the dataset: its attributes that are functions,
    objects, texts and a few numbers, not its long lists and arrays. The model stays where it is, and what is frozen in
    it is held in evaluation mode. Training `features.head` trains it.

    Args:
        model: any module. What it gives for a row must not depend on the rows beside it.
        dataset: map-style or iterable, or a sequence; a sample is a tensor, a tuple of which the last part is the
            target, or a dictionary whose names are those of the parameters of the model's `forward`.
        freeze: patterns of layers that are frozen first (see `reuse.freeze`); None: as they are.
        target: place or name of the target in a sample, where it is not the last part or has no usual name.
        key: for each sample a text, number or bytes that changes whenever the sample does, as a function of its number
            or a sequence; None: those of a method `reuse_keys` of the dataset, the digests of the files of an image
            folder of torchvision, or else of what each sample holds, for which all are read. Where there are keys, and
            `targets` of the dataset as one list, samples that are cached are not read at all.
        views: versions of each sample, where the dataset changes samples at random; epochs read one after the other.
        cache_dir: the folder of the cache; None: `$REUSE_CACHE` or `./cache`.
        cache_dtype: in which type features are stored, such as `float16`; None: as computed.
        cache_budget: bytes that all caches together may take, or a text such as `2GB`.
        workers: processes that read the dataset.

    Raises:
        UsageError, DataError: something given cannot be taken; the message says what to do.
        CutError: the model cannot be divided at what is frozen; the message says why.

    Example:
        >>> features = cached(model, photos, freeze="!head")  # doctest: +SKIP
        >>> for z, y in features.loader(batch_size=64, shuffle=True):  # doctest: +SKIP
        ...     loss = functional.cross_entropy(features.head(z), y)
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"the model is of type {type(model).__name__}: give a torch.nn.Module")
    if not is_whole(views) or not 1 <= views <= MOST_VIEWS:
        raise UsageError(f"views is {views!r}: give 1 to {MOST_VIEWS}")
    if freeze is not None:
        freeze_layers(model, freeze)
    reader = Reader(dataset, target, InputNames.of(model.forward), workers)
    if views > 1 and reader.streams:
        raise UsageError(
            f"views is {views}, and samples that come one after the other cannot be drawn again: give a dataset that "
            "is read by number"
        )
    budget = parse_bytes(cache_budget) if isinstance(cache_budget, str) else cache_budget
    opened = ActivationCache(cache_folder(cache_dir), budget)
    numbers = tuple(range(1, views + 1)) if views > 1 else (0,)
    known = None if reader.streams else known_rows(dataset, key, Hints(opened.root))
    return CachedFeatures(Origin(model, reader, numbers, known, opened, cache_dtype))


class CachedFeatures(Dataset[Any]):
    """Features that frozen layers computed of the samples of a Dataset, with their targets; see `cached`.

    A sample is `(features, target)`, or the features alone where the Dataset has no targets; features are a tensor, or
    a tuple of them where the model is cut at several. Workers of a `DataLoader` may read them, forked or spawned.

    Where frozen weights have changed since, no sample is given but a UsageError that asks for `refresh`; workers, and
    what is written in place through `weight.data`, are left out.

    Attributes:
        head: what the model computes from features: a module that takes a batch of them, `(batch, …)`, and whose
            parameters are the model's own.
        computed: how many rows the frozen layers computed, of all versions together.
        found: how many were in the cache.
    """

    head: nn.Module
    _watched: WatchedWeights | None = None  # nothing is watched in a worker, nor where inputs are read

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._version = 0
        self._keys: list[np.ndarray] = []
        self.refresh()

    def refresh(self) -> None:
        """Read the dataset again and cut the model anew, after layers were frozen, unfrozen or given other weights.

        Where nothing is frozen any more, or only behind the first layer that trains, inputs take the place of features,
        read from the dataset as they are needed.
        """
        was_attached = self.is_attached
        self.detach()
        origin, compute = self._origin, compute_of(self._origin.model)
        hold(origin.model)
        is_first = not self._keys
        try:
            if is_first or not all(own.requires_grad for own in origin.model.parameters()):
                self._take_features(compute)
            else:
                self._take_inputs(compute)
        except NothingToCacheError:
            if is_first:
                raise
            self._take_inputs(compute)
        if was_attached:
            self.attach()

    def loader(
        self,
        batch_size: int = 64,
        shuffle: bool = False,
        drop_last: bool = False,
        generator: torch.Generator | None = None,
        seed: int | None = None,
    ) -> FeatureLoader:
        """Return batches, each gathered at once; see `reuse.features.loader.FeatureLoader`."""
        return FeatureLoader(self._versions, self._targets, batch_size, shuffle, drop_last, generator, seed)

    @property
    def targets(self) -> Any:
        """The targets of all samples, side by side; None where there are none."""
        return self._targets

    @property
    def model(self) -> nn.Module:
        """The model whose frozen layers are computed."""
        return self._origin.model

    def attach(self) -> None:
        """Let the model itself take features in place of its inputs, until `detach`: for a trainer that calls it."""
        self._origin.model.__dict__["forward"] = HeadForward(self)

    def detach(self) -> None:
        """Let the model take its inputs again."""
        if self.is_attached:
            del self._origin.model.__dict__["forward"]

    @property
    def is_attached(self) -> bool:
        """Whether the model takes features in place of its inputs."""
        return isinstance(self._origin.model.__dict__.get("forward"), HeadForward)

    def set_epoch(self, epoch: int) -> None:
        """Let samples be those of the version that an epoch, from 0, reads; `loader` does so by itself."""
        self._version = epoch % len(self._keys)

    def __len__(self) -> int:
        return len(self._keys[0])

    def __repr__(self) -> str:
        samples = f"{len(self)} samples" + (f" in {len(self._keys)} versions" if len(self._keys) > 1 else "")
        if "_origin" not in self.__dict__:
            return f"CachedFeatures({samples}, read by a worker)"
        if self._watched is None:
            return f"CachedFeatures({samples}, inputs: nothing to cache is frozen)"
        frontier = ", ".join(f"{f.name} {f.shape} {dtype_name(f.dtype)}" for f in self._store.stored)
        name = type(self._origin.model).__name__
        return f"CachedFeatures({name}, {samples}, {frontier}; {self.computed} computed, {self.found} found)"

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} samples, and none has the number {index}")
        return self.__getitems__([index % len(self)])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return several samples, as torch's `DataLoader` asks for a batch."""
        rows, some = self._versions()[self._version], torch.as_tensor(indices)
        features = [as_given(tensors) for tensors in zip(*rows.gather(some.to(rows.device)), strict=True)]
        if self._targets is None:
            return features
        return [(z, picked_one(self._targets, number)) for z, number in zip(features, indices, strict=True)]

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker reads from: neither the model nor the dataset, nor features that are in the cache."""
        left = {"_origin", "head", "_watched", *([] if isinstance(self._rows[0], ReadSamples) else ["_rows"])}
        return {name: value for name, value in self.__dict__.items() if name not in left}

    def _take_features(self, compute: Compute) -> None:
        origin = self._origin
        versions = [origin.rows(number) for number in origin.versions]

        def example() -> tuple[Tensor, ...]:
            return tuple([tensor[:SAMPLE_ROWS].to(compute.device) for tensor in versions[0].example()])

        with same_modes(origin.model):
            rows = from_main(example)
            parts = origin.cut(rows, compute)
            self._store, self._device, self.head = origin.store(parts, rows, compute), compute.device, parts.suffix
            self._watched = WatchedWeights(origin.model, parts.prefix)
            streaming = Streaming(parts.prefix, self._store, compute, Warner())
            with self._store.hold():
                streamed = from_main(lambda: [rows.fill(streaming) for rows in versions])
                self._keys = [rows.keys for rows in streamed]
                self._kept = [rows.kept for rows in streamed]
                self._rows = [self._open(number, streaming) for number in range(len(streamed))]
        self._targets = collated(streamed[0].targets)
        self.computed = sum(rows.computed for rows in streamed)
        self.found = sum(map(len, self._keys)) - self.computed

    def _take_inputs(self, compute: Compute) -> None:
        """Let inputs be read as they are: nothing is frozen any more before what trains."""
        reader = self._origin.reader
        if reader.streams:
            raise UsageError(
                "nothing is frozen any more before what trains, and samples that come one after the other cannot be "
                "read in any order: train the model on the dataset itself from here on"
            )
        self.head, self._watched = WholeModel(self._origin.model, reader.form), None
        self._rows = [ReadSamples(reader, number, compute) for number in self._origin.versions]
        self.computed = self.found = 0

    def _versions(self) -> list[Rows]:
        if get_worker_info() is None:
            if self._watched is not None:
                self._watched.check()
        elif self._device.type != "cpu":  # a forked process cannot use the GPU
            self._device = torch.device("cpu")
            self.__dict__.pop("_rows", None)
        if "_rows" not in self.__dict__:
            self._rows = [self._open(number) for number in range(len(self._keys))]
        return self._rows

    def _open(self, number: int, streaming: Streaming | None = None) -> Rows:
        kept = self._kept[number]
        if kept is not None:
            return ResidentActivations(kept, len(self), self._device)

        def mend() -> None:
            assert streaming is not None
            self._origin.rows(self._origin.versions[number]).fill(streaming)

        mending = None if streaming is None else mend
        return self._store.activations(self._keys[number], device=self._device, mend=mending)
