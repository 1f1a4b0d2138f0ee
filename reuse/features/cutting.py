"""The cut of a model for the epochs of a phase, found on a few rows of its data."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from reuse.data.dataset import Dataset, Split, learned_targets
from reuse.devices import Compute, dtype_name, moved_each
from reuse.errors import CutError
from reuse.fingerprinting.cuts import cut_key
from reuse.hints import Hints
from reuse.layers.cut_record import cut_record, cutting_version, read_cut
from reuse.layers.cutting import ROWS_COMPUTED, cut
from reuse.layers.earlier import EarlierCut
from reuse.layers.parts import Cut
from reuse.layers.preparing import note_layout
from reuse.layout import Layout, as_arguments
from reuse.precision import autocast

SAMPLE_ROWS = 64  # that a cut is found on and measured with
MOST_TIMES = 3  # the rows that a cache spares in one training: as many may be computed to find a cut, once for all
CUTS = "cut"  # a kind of hints
LARGEST_RECORD = 4 * 2**20  # bytes of a cut that is remembered


@dataclass(frozen=True)
class Sample:
    """A few rows, as the model takes them; they are read when somebody asks for them.

    Attributes:
        rows: how many.
        targets: of these rows; None where the data has none.
        split: which they are read from.
        compute: where and in which types.
    """

    rows: int
    targets: Tensor | None
    split: Split
    compute: Compute

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """The inputs, each `(rows, ...)`, on the device and in the type of `compute`."""
        return self.read()

    @property
    def layout(self) -> Layout:
        """One row of the inputs, in the types of `compute`."""
        kind = dtype_name(self.compute.dtype)
        return tuple(replace(t, kind=kind if t.dtype.is_floating_point else t.kind) for t in self.split.inputs.layout)

    def read(self) -> tuple[Tensor, ...]:
        """Return the inputs, read and prepared once more."""
        return moved_each(self.split.inputs.gather(torch.arange(self.rows)), self.compute)


def sample_rows(data: Dataset, compute: Compute) -> Sample:
    """Return the first training rows."""
    rows, targets = min(SAMPLE_ROWS, len(data.train)), learned_targets(data, data.train, compute)
    some = None if targets is None else targets[:rows].to(compute.device)
    return Sample(rows, some, data.train, compute)


def cut_model(
    model: nn.Module,
    sample: Sample,
    keep: Collection[str] = (),
    hints: Hints | None = None,
    spared: int | None = None,
) -> Cut:
    """Return the prefix and suffix of a model, checked on the sample, or by an earlier run on rows of that shape.

    Args:
        model: with its frozen layers.
        sample: rows to find and check the cut on.
        keep: signatures of the frontier of an earlier cut (see `reuse.layers.cutting.cut`); none: as deep as can be.
        hints: which know the cuts that were checked; None: none is known.
        spared: rows that a cache would spare the frozen layers, which a cut that is not known must be worth; None: it
            is wanted whatever it costs.

    Raises:
        CutError: the model cannot be cut, or it is not worth it; the message says why.
    """
    layout, compute = sample.layout, sample.compute
    return cut_on(model, lambda: as_arguments(layout, sample.inputs), layout, compute, keep, hints, spared)


def cut_on(
    model: nn.Module,
    example: Callable[[], Tensor | Mapping[str, Any] | Sequence[Any]],
    layout: Layout,
    compute: Compute,
    keep: Collection[str] = (),
    hints: Hints | None = None,
    spared: int | None = None,
) -> Cut:
    """Return the prefix and suffix of a model that may take several inputs; see `cut_model`.

    Args:
        model: with its frozen layers; it is left in training mode.
        example: returns inputs to find and check the cut on, as `reuse.cut` takes them.
        layout: of a row of the inputs.
        compute: where and in which types.
        keep: as for `cut_model`.
        hints: as for `cut_model`.
        spared: as for `cut_model`.

    Raises:
        CutError: the model cannot be cut, or it is not worth it; the message says why.
    """
    model.train()  # the key holds the modes of the prefix: always the same ones
    with autocast(compute.precision, compute.device):
        key = None if hints is None else cut_key(model, layout, compute.device, keep, cutting_version())
        known = None if hints is None or key is None else _known_cut(model, key, hints)
        if known is not None:
            note_layout(known, layout)
            return known
        if spared is not None and MOST_TIMES * spared < ROWS_COMPUTED:
            raise CutError(
                f"finding and checking a cut takes {ROWS_COMPUTED} rows through the frozen layers, more than "
                f"{MOST_TIMES} times the {spared} that a cache would spare; to have one for later runs, say "
                "cache_kind=disk"
            )
        parts = cut(model, example(), keep=keep)
        if hints is not None and key is not None:
            _keep_cut(parts, key, hints)
        note_layout(parts, layout)
        return parts


def _known_cut(model: nn.Module, key: str, hints: Hints) -> Cut | None:
    value = hints.find(CUTS, [key]).get(key)
    return None if value is None else read_cut(json.loads(value), model)


def _keep_cut(parts: Cut, key: str, hints: Hints) -> None:
    value = json.dumps(cut_record(parts)).encode()
    if len(value) <= LARGEST_RECORD:
        hints.keep(CUTS, {key: value})


def cuts_of_phases(parts: Cut, later: Sequence[Collection[nn.Parameter]]) -> tuple[EarlierCut, ...]:
    """Return the cuts of phases that train more and more layers, the earliest first.

    Args:
        parts: the cut of the first of them.
        later: for each later phase, the frozen parameters that will train by then.
    """
    cuts: list[EarlierCut] = []
    for training in later:
        own = {id(parameter) for parameter in training}
        possible = (e for e in parts.earlier if own.isdisjoint(map(id, e.prefix.parameters())))
        deepest = next(possible, None)
        if deepest is not None and deepest not in cuts:
            cuts.append(deepest)
    return tuple(reversed(cuts))
