"""What a fine-tuning takes over from its source where the user leaves it open, and whether it goes on from there."""

from dataclasses import replace
from typing import Any

from reuse.data.labels import ALL_LABELS, keep_the_same
from reuse.errors import UsageError
from reuse.nn.specs import add_layers, drop_layers
from reuse.nn.timm_names import whole_spec
from reuse.paths import real_path
from reuse.settings.calling import Given
from reuse.settings.commands import FinetuneSettings
from reuse.settings.files import ARRAYS, plain_settings
from reuse.settings.setting import settings_of
from reuse.setup.models import with_model_options
from reuse.setup.sources import Source

COLUMN_ROLES = ("target", "task", "ignore", "group_by", "split_column", "sample_weight", "test_data", "text")
"""Settings of a table that go with its data."""
DRAW = ("labels", "classes", "seed", "skip_bad")
"""Settings of which rows have labels, which a run that was fine-tuned has drawn."""
DRAWS_WITHOUT_DATA = 10
KEPT = ("classes", "target", "task", "split_column", "test_data")
"""Settings that a run goes on with as it had them, however they are written."""
NO_CHANGE = {"source", "restore", "compare", "draws", "trust", "drop_layers", "add_layers", "split_seed"}
"""Settings that go on otherwise without any change of the training."""


def inherit(settings: FinetuneSettings, given: Given, source: Source) -> tuple[FinetuneSettings, str]:
    """Return settings in which what the user left to the source run is filled in, and the spec of the model.

    A run that was fine-tuned has labels of its own: without other data they are kept, drawn as they were, whether or
    not the data are named again; a seed that is given draws them anew.

    Args:
        settings: as given.
        given: names of what the caller gave.
        source: where layers come from.

    Raises:
        UsageError: something is left to the source that it does not say.
    """
    theirs, without_data = source.settings, settings.data is None
    tuned = isinstance(theirs, FinetuneSettings)
    if without_data and theirs is None:
        raise UsageError(f"{source.name} is not a run, so it names no data: give --data")
    if without_data and theirs is not None and theirs.data == ARRAYS:
        raise UsageError(f"{source.name} was trained on arrays, which a run does not keep: give them as data")
    spec = whole_spec(settings.model) if settings.model else source.spec
    if spec is None:
        raise UsageError(f"{source.name} holds weights and does not say of which model: give --model")
    if settings.drop_layers:
        spec = drop_layers(spec, settings.drop_layers)
    if settings.add_layers:
        spec = add_layers(spec, settings.add_layers)
    filled = replace(
        settings,
        source=source.name,
        drop_layers=None,
        add_layers=None,
        compare=without_data and not tuned if settings.compare is None else settings.compare,
        draws=_draws(settings, compares_by_itself=without_data and not tuned),
        split_seed=_split_seed(settings, source),
    )
    if theirs is not None:
        filled = replace(
            filled,
            image_size=theirs.image_size if settings.image_size is None else settings.image_size,
            channels=theirs.channels if settings.channels is None else settings.channels,
        )
    if theirs is not None and is_same_data(settings, source):
        filled = replace(
            filled,
            test_fraction=theirs.test_fraction if settings.test_fraction is None else settings.test_fraction,
            valid_fraction=theirs.valid_fraction if settings.valid_fraction is None else settings.valid_fraction,
        )
    going_on = tuned and is_going_on(settings, source)  # where the run's own data are named too
    if theirs is not None and (without_data or going_on):
        left = {*COLUMN_ROLES, *(DRAW if tuned else ())} - (given - set(KEPT) if going_on else given)
        filled = replace(filled, data=theirs.data, **{name: getattr(theirs, name) for name in left})
    recipe = source.manifest.model if source.manifest and source.weights else None
    return with_model_options(filled, spec, recipe.options if recipe else None), spec


def _draws(settings: FinetuneSettings, *, compares_by_itself: bool) -> int | None:
    """Return over how many draws of labels a comparison goes."""
    if settings.draws is None:
        return DRAWS_WITHOUT_DATA if compares_by_itself and settings.compare is None else None
    if settings.draws > 1 and not (settings.compare or (compares_by_itself and settings.compare is None)):
        raise UsageError(f"draws is {settings.draws}, and nothing is compared: give compare, or leave draws out")
    return settings.draws


def is_going_on(settings: FinetuneSettings, source: Source) -> bool:
    """Return whether the source was fine-tuned on the very labels that are asked for, and with the same layers.

    Args:
        settings: as given.
        source: where layers come from.
    """
    theirs = source.settings
    if not isinstance(theirs, FinetuneSettings) or settings.restore or settings.random_weights:
        return False
    same_layers = not (settings.drop_layers or settings.add_layers) and settings.model in (None, source.spec)
    named = settings.data is None or isinstance(settings.data, str)
    same_data = named and is_same_data(settings, source)
    return same_layers and same_data and all(_keeps(name, settings, source) for name in KEPT)


def _keeps(name: str, settings: FinetuneSettings, source: Source) -> bool:
    """Return whether what is given of a setting is what the source had."""
    ours, theirs = getattr(settings, name), getattr(source.settings, name)
    if ours in (None, theirs):
        return True
    if name == "test_data":
        return isinstance(ours, str) and _is_same(theirs, ours)
    if name != "classes" or source.manifest is None or not source.manifest.classes:
        return False
    return keep_the_same(ours, theirs, source.manifest.classes)


def describe_going_on(settings: FinetuneSettings, source: Source) -> str:
    """Return in one sentence what a training takes over from a run that was fine-tuned, and what it does otherwise.

    Args:
        settings: filled in.
        source: the run.
    """
    before = {} if source.settings is None else plain_settings(source.settings)
    after = plain_settings(settings)
    changes = [
        f"{name} {_shown(after.get(name))} (was {_shown(before.get(name))})"
        for name in settings_of(FinetuneSettings)
        if name not in NO_CHANGE and after.get(name) != before.get(name)
    ]
    other = f"; other than there: {', '.join(changes)}" if changes else ""
    kept = "data, labels" if _draws_same_labels(settings, source) else "data"
    drawn = "" if kept != "data" else ", other labels are drawn"
    return f"going on from {source.name}: its {kept} and output layer are kept{drawn}{other}"


def _draws_same_labels(settings: FinetuneSettings, source: Source) -> bool:
    theirs = source.settings
    assert isinstance(theirs, FinetuneSettings)
    ours, before = (given.labels or ALL_LABELS for given in (settings, theirs))
    return ours == before and (ours == ALL_LABELS or settings.seed == theirs.seed)


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) or "none" if isinstance(value, list) else "none" if value is None else str(value)


def _split_seed(settings: FinetuneSettings, source: Source) -> int:
    """Return the seed of the splits: the source's where the data are the same, so that it has seen no test row."""
    theirs = source.settings
    if settings.split_seed is not None:
        return settings.split_seed
    if not is_same_data(settings, source) or theirs is None:
        return settings.seed
    return theirs.seed if theirs.split_seed is None else theirs.split_seed


def is_same_data(settings: FinetuneSettings, source: Source) -> bool:
    """Return whether the source was trained on the very data that are asked for."""
    theirs = source.settings
    return theirs is not None and (settings.data is None or _is_same(theirs.data, settings.data))


def _is_same(theirs: Any, ours: Any) -> bool:
    if not isinstance(ours, str):
        return bool(theirs == ARRAYS)
    if theirs == ours or not isinstance(theirs, str):
        return bool(theirs == ours)
    return real_path(theirs) == real_path(ours)
