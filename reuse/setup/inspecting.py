"""Looking at a model before training it: its layers, what a freeze would freeze, and where the cut would fall."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reuse.data.loading import load
from reuse.devices import dtype_name
from reuse.errors import CutError, RunError, UsageError
from reuse.layers.cutting import cut
from reuse.layers.describing import Layer, describe_layers
from reuse.layers.example import Given
from reuse.layers.freezing import freeze as freeze_layers
from reuse.layers.parts import Cut
from reuse.layout import RowTensor, as_arguments, is_several
from reuse.nn.building import check_shapes
from reuse.nn.callables import names_code
from reuse.nn.hf_specs import is_hf
from reuse.nn.options import LayerOptions, or_default
from reuse.nn.preprocessing import preprocessing_of
from reuse.nn.recipe import OWN_FAMILIES, ModelRecipe
from reuse.nn.specs import is_recurrent
from reuse.nn.timm_names import whole_spec
from reuse.runs.folder import RunFolder
from reuse.settings.calling import takes
from reuse.settings.model import FreezingSettings
from reuse.settings.uses import InspectArguments
from reuse.setup.data import preprocessing_for
from reuse.setup.hf import EXAMPLE, reads_texts, tokenizing_of

ROWS = 2
# Where nothing says what a model is for: the shape and classes of digits, as `reuse pretrain` takes them.
DIGITS_SHAPE, DIGITS_OUTPUTS = (1, 8, 8), 10


@dataclass(frozen=True)
class Inspection:
    """The outcome of `inspect_model`.

    Attributes:
        model: the model's spec.
        input_shape: of one sample.
        num_outputs: units of the output layer.
        parameters: how many numbers the model learns in all.
        layers: the table.
        frozen: names of the frozen layers.
        frontier: name, shape and dtype of what crosses the cut; empty without one.
        bytes_per_sample: of the frontier; None without a cut.
        engine: what traced the model; None without a cut.
        uncached: frozen layers behind ones that train, which no cache spares.
        why_not: why there is no cut; empty where there is one.
        notes: what was assumed.
    """

    model: str
    input_shape: tuple[int, ...]
    num_outputs: int
    parameters: int
    layers: tuple[Layer, ...]
    frozen: tuple[str, ...]
    frontier: tuple[dict[str, Any], ...]
    bytes_per_sample: int | None
    engine: str | None
    uncached: tuple[str, ...]
    why_not: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@takes(InspectArguments)
def inspect_model(arguments: InspectArguments) -> Inspection:
    """Describe the layers of a model and where it would be cut.

    Raises:
        UsageError, DataError, RunError: something given cannot be taken; the message says what to do.

    Example:
        >>> inspect_model("mlp:100,50", freeze="hidden1").bytes_per_sample
        400
    """
    recipe, own, notes = _recipe(arguments.model)
    patterns = arguments.freeze or own
    notes = () if arguments.freeze else notes
    recipe, example, more = _sized(recipe, arguments.data, arguments.input_shape, arguments.num_outputs)
    trust = arguments.trust or not _is_run(arguments.model)
    network = recipe.build(pretrained=arguments.pretrained, trust=trust)
    frozen = freeze_layers(network, patterns).layers if patterns else ()
    parts, why_not = _cut(network, example)
    frontier = parts.frontier if parts else ()
    return Inspection(
        model=recipe.spec,
        input_shape=recipe.input_shape,
        num_outputs=recipe.num_outputs,
        parameters=sum(p.numel() for p in network.parameters()),
        layers=tuple(describe_layers(network, example, parts, arguments.depth)),
        frozen=frozen,
        frontier=tuple({"name": f.name, "shape": list(f.shape), "dtype": dtype_name(f.dtype)} for f in frontier),
        bytes_per_sample=parts.bytes_per_sample if parts else None,
        engine=parts.engine if parts else None,
        uncached=parts.uncached if parts else (),
        why_not=why_not,
        notes=(*notes, *more),
    )


def _cut(network: nn.Module, example: Given) -> tuple[Cut | None, str]:
    try:
        return cut(network, example), ""
    except CutError as error:
        return None, str(error)


def _is_run(model: str | Path) -> bool:
    """Return whether a run folder is meant: the form of a callable's name is one, whatever folders there are."""
    return (isinstance(model, Path) or not names_code(model, OWN_FAMILIES)) and Path(model).is_dir()


def _recipe(model: str | Path) -> tuple[ModelRecipe, list[str], tuple[str, ...]]:
    """Return how the model is built (without a shape where only a spec is given), and a run's own freeze patterns."""
    if _is_run(model):
        run = RunFolder.open(model)
        recipe = run.manifest().model
        if recipe is None:
            raise RunError(f"{run.path} has no model of its own: name the run of a model")
        settings = run.settings()
        patterns = list(settings.freeze) if isinstance(settings, FreezingSettings) else []
        return recipe, patterns, (f"frozen as in the run: {', '.join(patterns)}",) if patterns else ()
    spec = whole_spec(str(model))
    if ":" not in spec and spec not in OWN_FAMILIES:
        raise RunError(f"{spec} is neither a run folder nor a model spec such as mlp:100,50 or timm:resnet18")
    return ModelRecipe(spec, (), 0, LayerOptions()), [], ()


def _sized(
    recipe: ModelRecipe, data: Any, input_shape: Sequence[int] | None, num_outputs: int | None
) -> tuple[ModelRecipe, Given, tuple[str, ...]]:
    """Return the recipe for the inputs that are meant, an example of them, and notes on what was assumed."""
    if data is not None:
        if input_shape is not None:
            raise UsageError("an input shape and data were given: the data says its shape, so give one of the two")
        loaded = load(
            data,
            preprocessing=preprocessing_for(recipe.spec, None, None),
            sequences=is_recurrent(recipe.spec),
            tokenizing=tokenizing_of(recipe.spec) if is_hf(recipe.spec) else None,
        )
        outputs, said = _outputs(num_outputs, recipe.num_outputs or loaded.num_outputs)
        rows = torch.arange(min(ROWS, len(loaded.train)))
        num_tokens = or_default(loaded.num_tokens, recipe.num_tokens)
        layout = loaded.train.inputs.layout
        sized = replace(recipe, input_shape=loaded.input_shape, num_outputs=outputs, num_tokens=num_tokens)
        sized = replace(sized, tensors=layout if is_several(layout) else ())
        return sized, as_arguments(layout, loaded.train.inputs.gather(rows)), said
    if is_hf(recipe.spec) and not recipe.input_shape and reads_texts(recipe.spec):
        recipe = replace(recipe, input_shape=EXAMPLE[0].shape, tensors=EXAMPLE)
    shape = tuple(input_shape or recipe.input_shape)
    shape, notes = (shape, ()) if shape else _own_shape(recipe.spec)
    outputs, said = _outputs(num_outputs, recipe.num_outputs)
    check_shapes(shape, outputs)
    sized = replace(recipe, input_shape=shape, num_outputs=outputs)
    return sized, _example(sized), (*notes, *said)


def _example(recipe: ModelRecipe) -> Given:
    generator = torch.Generator().manual_seed(0)

    def drawn(tensor: RowTensor) -> Tensor:
        shape = (ROWS, *tensor.shape)
        if tensor.dtype.is_floating_point:
            return torch.randn(shape, generator=generator)
        known = 2 if recipe.tensors else recipe.num_tokens or 2  # a mask is 0 or 1
        return torch.randint(known, shape, generator=generator).to(tensor.dtype)

    return as_arguments(recipe.layout, [drawn(tensor) for tensor in recipe.layout])


def _outputs(given: int | None, known: int) -> tuple[int, tuple[str, ...]]:
    """Return the number of outputs, and a note where nothing says it."""
    if given is not None or known:
        return known if given is None else given, ()
    return DIGITS_OUTPUTS, (f"{DIGITS_OUTPUTS} outputs, those of digits, are assumed: give --num-outputs or --data",)


def _own_shape(spec: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    own = preprocessing_of(spec)
    if own is not None:
        return tuple(own["input_size"]), ()
    return DIGITS_SHAPE, (
        f"inputs of shape {DIGITS_SHAPE}, those of digits, are assumed: give --input-shape or --data",
    )
