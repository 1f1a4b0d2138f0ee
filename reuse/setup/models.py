"""From settings to a model: its recipe, its weights, and what is frozen of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

from torch import Tensor, nn

from reuse.data.dataset import Dataset
from reuse.errors import UsageError
from reuse.layers.freezing import Freezing, freeze, hold
from reuse.layers.renaming import find_renaming, parse_renaming, rename
from reuse.layers.selecting import select, summarize
from reuse.layers.transplanting import transplant, whole_layers
from reuse.layout import is_several
from reuse.nn.exchanging import exchange_notes
from reuse.nn.options import LayerOptions
from reuse.nn.outputs import output_layers
from reuse.nn.recipe import ModelRecipe
from reuse.nn.resampling import resampled
from reuse.nn.selu import input_concerns
from reuse.nn.specs import LAYER_NAMES, family_options, is_recurrent
from reuse.nn.word_vectors import WordVectors, read_word_vectors
from reuse.reporting import Reporter
from reuse.settings.commands import FinetuneSettings
from reuse.settings.model import ModelSettings, ReusingSettings
from reuse.setup.hf import config_for, config_of
from reuse.setup.sources import Source

M = TypeVar("M", bound=ModelSettings)

# Options of our own networks where neither the user nor a source run says anything.
DEFAULTS = LayerOptions(activation="elu", dropout=0.0)


@dataclass(frozen=True)
class Origins:
    """The layers of a model that hold the weights of a source, and those that began at random."""

    restored: tuple[str, ...]
    fresh: tuple[str, ...]


def with_model_options(settings: M, spec: str, inherited: LayerOptions | None = None) -> M:
    """Return settings whose model options are filled in: the user's, else those of a source run, else the defaults.

    timm's models and a user's own bring their layers along, so for them nothing is filled in. Dropout between hidden
    states is inherited by recurrent nets alone.

    Args:
        settings: of a command.
        spec: of the model.
        inherited: options of a source run's model; None without one.
    """
    if inherited is None:
        is_ours = spec.partition(":")[0] in LAYER_NAMES
        unsaid = family_options(spec).filled(DEFAULTS) if is_ours else LayerOptions()
    else:
        unsaid = inherited if is_recurrent(spec) else replace(inherited, recurrent_dropout=0.0)
    return replace(settings, model=spec, **asdict(_options(settings, unsaid)))


def read_embeddings(settings: M, data: Dataset) -> tuple[M, WordVectors | None]:
    """Return the word vectors that fill the embedding layer, and settings with their size; None where none are wanted.

    Raises:
        UsageError: embeddings for inputs that are not words.
        DataError: a file of word vectors that cannot be read.
    """
    if settings.embeddings is None:
        return settings, None
    if not data.preprocessing.token_names:
        raise UsageError(f"embeddings are for words, and the inputs of {data.name} are none: leave embeddings out")
    vectors = read_word_vectors(settings.embeddings, data.preprocessing.token_names)
    return replace(settings, embedding_size=vectors.size), vectors


def make_recipe(settings: ModelSettings, data: Dataset, config: Mapping[str, Any] | None = None) -> ModelRecipe:
    """Return how the model is built for the data.

    Args:
        settings: with their options filled in (see `with_model_options`).
        data: what the model is for.
        config: of a model of transformers, where a run knows it; None: it is read.
    """
    assert settings.model is not None
    options = _options(settings, LayerOptions())
    outputs, layout = max(data.num_outputs, 1), data.train.inputs.layout
    tensors = layout if is_several(layout) else ()
    config = config_for(config or config_of(settings.model), data)
    return ModelRecipe(settings.model, data.input_shape, outputs, options, data.num_tokens, tensors, config)


def describe_model(model: nn.Module, recipe: ModelRecipe, data: Dataset) -> list[str]:
    """Return in one sentence each what a person should know of a model that has been built, before it is trained."""
    standardised = bool(data.preprocessing.mean)
    return [*exchange_notes(model), *input_concerns(recipe.spec, recipe.options, standardised)]


def restore(model: nn.Module, source: Source, settings: ReusingSettings, reporter: Reporter) -> Origins:
    """Copy the weights of a source into a model, and say what became of each layer.

    The output layer is left to chance unless patterns ask for it: its outputs mean other classes.

    Args:
        model: freshly built.
        source: with weights.
        settings: patterns of what is restored, and other names.
        reporter: told of it.
    """
    weights = _named_alike(source, model, settings, reporter)
    if not settings.restore:
        outputs = tuple(f"{layer}." for layer in output_layers(model))
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith(outputs)}
    for name, tensor in (fitted := resampled(weights, model)).items():
        shapes = f"{tuple(weights[name].shape)} to {tuple(tensor.shape)}"
        reporter.line(f"resampled to the patches of this image size: {name} from {shapes}")
    graft = transplant({**weights, **fitted}, model, restore=settings.restore)
    restored = f"restored from {source.name}: {', '.join(graft.restored)}"
    restored = restored if graft.restored else f"nothing restored from {source.name}"
    reporter.line(f"{restored}; fresh: {', '.join(graft.fresh) or 'none'}")
    for misfit in graft.misfits:
        reporter.warning(f"not restored: {misfit}")
    unused = [name for name in graft.left_behind if not any(misfit.startswith(f"{name} ") for misfit in graft.misfits)]
    if unused and not settings.restore:
        reporter.line(f"left behind in {source.name}: {', '.join(whole_layers(set(unused), weights))}")
    return Origins(graft.restored, graft.fresh)


def _named_alike(source: Source, model: nn.Module, settings: ReusingSettings, reporter: Reporter) -> dict[str, Tensor]:
    """Return the weights of a source by the names that the model has for them."""
    assert source.weights is not None
    for note in source.notes:
        reporter.line(note)
    if settings.rename is not None:
        return rename(source.weights, parse_renaming(settings.rename))
    if source.manifest is not None:  # a run of ours calls layers as the model does
        return source.weights
    renaming = find_renaming(source.weights, model.state_dict())
    for old, new in renaming.items():
        change = f"{old}. is taken off" if old else f"{new}. is put in front of"
        reporter.line(f"names of {source.name}: {change} the names of its layers; --rename says otherwise")
    return rename(source.weights, renaming)


def origins_of_timm(model: nn.Module) -> Origins:
    """Return which layers of a model hold timm's pretrained weights: all but the output layer."""
    every, output = uppermost_layers(model), tuple(output_layers(model))
    return Origins(tuple(n for n in every if n not in output), tuple(n for n in every if n in output))


def origins_of_hf(model: nn.Module) -> Origins:
    """Return which layers of a model of transformers hold pretrained weights, and which its checkpoint lacks."""
    from reuse.nn.hf_models import fresh_tensors

    every = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    fresh = every.intersection(fresh_tensors(model))
    return Origins(tuple(summarize(model, every - fresh)), tuple(summarize(model, fresh)))


def uppermost_layers(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the uppermost layers, the output layer by itself."""
    outputs = {n for n, _ in model.named_parameters() if _is_below(n, output_layers(model))}
    others = {n for n, _ in model.named_parameters()} - outputs
    return (*summarize(model, others), *summarize(model, outputs))


def freeze_layers(model: nn.Module, settings: FinetuneSettings, fresh: Sequence[str], reporter: Reporter) -> Freezing:
    """Freeze what the settings ask for and say what that is.

    Args:
        model: restored.
        settings: of the run.
        fresh: names of the layers that began at random.
        reporter: told what is frozen.
    """
    if not settings.freeze:
        return hold(model)  # a module that was given may be frozen in part
    freezing = freeze(model, settings.freeze)
    reporter.line(f"frozen: {', '.join(freezing.layers)}")
    random = summarize(model, {name for name in freezing.parameters if _is_below(name, fresh)})
    if random:
        said = f"these frozen layers have random weights: {', '.join(random)}"
        if settings.random_weights:
            reporter.line(said)
        else:
            reporter.warning(f"warning: {said}")
    return freezing


def reused_weights(model: nn.Module, restored: Sequence[str], later: Sequence[str] = ()) -> dict[str, Tensor]:
    """Return copies of the parameters that a source has given, by name, as `l2_sp` pulls towards them.

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


def _options(settings: ModelSettings, unsaid: LayerOptions) -> LayerOptions:
    """Return the options among some settings, those of `unsaid` where they are None."""
    said = {field.name: getattr(settings, field.name) for field in fields(LayerOptions)}
    return replace(unsaid, **{name: value for name, value in said.items() if value is not None})


def _is_below(name: str, layers: Sequence[str]) -> bool:
    return any(name == layer or name.startswith(f"{layer}.") for layer in layers)
