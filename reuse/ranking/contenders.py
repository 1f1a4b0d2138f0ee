"""Contenders of a ranking: a layer of a model each, with what it gives for the labelled rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reuse.caching.cache import ActivationCache
from reuse.devices import Compute, choose_device, moved
from reuse.errors import ReuseError, UsageError
from reuse.features.layer_caches import rows_of_layers
from reuse.features.layer_outputs import HEAD_INPUT, LayerOutputs
from reuse.nn.outputs import output_layers
from reuse.paths import cache_folder
from reuse.ranking.entrants import Entrant
from reuse.ranking.scores import JudgingRows
from reuse.ranking.stages import stages_of
from reuse.reporting import Reporter
from reuse.settings.ranking import RankArguments

EXAMPLE_ROWS = 2


@dataclass(frozen=True)
class Contender:
    """A layer of a model.

    Attributes:
        model: the source's name.
        layer: its name; `features` is what the output layer takes.
        freeze: the pattern that freezes the model up to it.
        features: what it gives for the labelled rows, `(rows, width)` on the CPU.
        row_bytes: of a row in the cache; 0 without one.
        probabilities: of the source's own classes, `(rows, classes)`; None: it has none.
        parameters: of the model in all.
        is_last: whether it is the deepest of its model that is ranked.
    """

    model: str
    layer: str
    freeze: str
    features: Tensor
    row_bytes: int
    probabilities: Tensor | None
    parameters: int
    is_last: bool

    def of(self, rows: JudgingRows) -> "Contender":
        """Return it with what it gives for the rows that it is judged by."""
        probabilities = None if self.probabilities is None else rows.of(self.probabilities)
        return replace(self, features=rows.of(self.features), probabilities=probabilities)

    @property
    def width(self) -> int:
        """Its columns."""
        return self.features.shape[1]

    @property
    def title(self) -> str:
        """The names of the model and the layer, in words."""
        return f"{self.model}, {self.layer}"


def contenders_of(
    entrant: Entrant, names: Sequence[str] | None, arguments: RankArguments, *, classes: bool, reporter: Reporter
) -> tuple[list[Contender], int]:
    """Return the contenders of a source, computed in one pass as far as they are not cached, and how many rows were.

    Args:
        entrant: the source.
        names: of layers; None: what the output layer takes, and stages below.
        arguments: of the ranking.
        classes: whether the probabilities of the source's own classes are wanted.
        reporter: told of rows.

    Raises:
        UsageError: the model does not take the rows, or a layer gives nothing for them.
        CutError: what a layer gives for a row depends on more than the row.
    """
    compute = Compute(choose_device(arguments.device), arguments.precision)
    network = entrant.network.to(compute.device, compute.dtype).requires_grad_(False).eval()
    example = moved(entrant.inputs.gather(torch.arange(min(EXAMPLE_ROWS, len(entrant.inputs))))[0], compute)
    layers = _named(entrant, names, arguments.pool, example)
    head = output_layers(network)[-1] if classes and entrant.has_classes else None
    wanted = [*layers, *([] if head is None else [_measured(entrant, head, arguments.pool, example)])]
    opened = ActivationCache(cache_folder(arguments.cache_dir), arguments.cache_budget) if arguments.cache else None
    preprocessing = entrant.data.preprocessing
    given = rows_of_layers(wanted, entrant.inputs, preprocessing, compute, opened, arguments.cache_dtype, reporter)
    probabilities = None if head is None else given.outputs[-1].double().softmax(1)
    kept = [
        place for place in range(len(layers)) if names is not None or not _repeats(given.outputs, place, len(layers))
    ]
    found = [
        Contender(
            model=entrant.named.name,
            layer=layers[place].names[0],
            freeze=_freeze(entrant, layers[place].names[0]),
            features=given.outputs[place],
            row_bytes=given.stored_bytes[place],
            probabilities=probabilities,
            parameters=entrant.parameters,
            is_last=place == kept[-1],
        )
        for place in kept
    ]
    network.cpu()  # the next one needs the room
    return found, given.computed


def _named(entrant: Entrant, names: Sequence[str] | None, pool: str, example: Tensor) -> list[LayerOutputs]:
    """Return the layers that are named, or those that are chosen where none are; of these, some may not suit."""
    features = _measured(entrant, HEAD_INPUT, pool, example)
    if names is not None:
        return [features if name == HEAD_INPUT else _measured(entrant, name, pool, example) for name in names]
    found = []
    for name in stages_of(entrant.network):
        try:
            found.append(_measured(entrant, name, pool, example))
        except ReuseError:  # such as a stage that gives several tensors, or no entry a row
            continue
    return [*found, features]


def _measured(entrant: Entrant, name: str, pool: str, example: Tensor) -> LayerOutputs:
    layer = LayerOutputs(entrant.network, None if name == HEAD_INPUT else [name], pool)
    try:
        layer.measure(example)
    except ReuseError as error:
        raise UsageError(f"{entrant.named.name}: {error}") from error
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        shape = tuple(example.shape[1:])
        raise UsageError(
            f"{entrant.named.name} does not take rows of shape {shape} ({reason}): give data of the shape that it was "
            "made for, or leave it out"
        ) from error
    return layer


def _repeats(outputs: Sequence[Tensor], place: int, count: int) -> bool:
    """Return whether a stage gives just what the output layer takes, the last of some layers."""
    return place < count - 1 and torch.equal(outputs[place], outputs[count - 1])


def _freeze(entrant: Entrant, layer: str) -> str:
    if layer == HEAD_INPUT:
        return ",".join(f"!{name}" for name in output_layers(entrant.network))
    return f":{layer}"
