"""From settings to data."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn
from xxhash import xxh3_128

from reuse.data.dataset import SPLITS, Dataset, Split
from reuse.data.loading import LoadArguments, load_rows
from reuse.data.preprocessing import Preprocessing, image_preprocessing
from reuse.distributed import main_first
from reuse.errors import DataError
from reuse.hints import Hints
from reuse.nn.hf_specs import is_hf
from reuse.nn.preprocessing import preprocessing_of
from reuse.nn.specs import is_recurrent
from reuse.reporting import Reporter
from reuse.runs.folder import RunFolder
from reuse.settings.calling import carried
from reuse.settings.data import ReadingSettings
from reuse.settings.setting import settings_of
from reuse.setup.hf import reads_texts, tokenizing_of


def load_data(
    spec: Any,
    settings: ReadingSettings,
    *,
    model: str,
    seed: int,
    labels: int | str | None = None,
    preprocessing: Preprocessing | None = None,
    transductive: bool = False,
    supervised: bool = True,
    hints: Hints | None = None,
    decode_late: bool = False,
    reporter: Reporter | None = None,
) -> Dataset:
    """Return the data of a command, split and preprocessed.

    Args:
        spec: of the data, or arrays.
        settings: how they are read.
        model: spec of the model that reads them; a recurrent one takes arrays for sequences.
        seed: of the labelled rows that are drawn, and of the splits where no seed of theirs is given.
        labels: how many labelled rows; None: all.
        preprocessing: of a source or of the model; None: it is fitted on the training rows.
        transductive: train on the test rows' inputs too.
        supervised: whether labels are learned from.
        hints: what earlier runs found out about files; None: nothing.
        decode_late: whether images are decoded when they are asked for.
        reporter: told of images that are read; None: nobody is.
    """
    own = preprocessing is None and is_hf(model)
    with main_first():  # what is downloaded is downloaded once
        return load_rows(
            replace(
                carried(settings, settings_of(ReadingSettings), LoadArguments),
                data=spec,
                labels=labels,
                seed=seed,
                preprocessing=preprocessing,
                transductive=transductive,
                supervised=supervised,
                sequences=is_recurrent(model) or (own and reads_texts(model)),
                hints=hints,
                decode_late=decode_late,
                reporter=reporter,
                tokenizing=tokenizing_of(model) if own else None,
            )
        )


def tell_of(data: Dataset, reporter: Reporter) -> None:
    """Tell of the rows and classes of a data set, and, in any case, of what was left aside, guessed or found in it."""
    reporter.line(data.summary)
    for note in data.notes:
        reporter.warning(note)


def preprocessing_for(
    spec: str | nn.Module, image_size: int | Sequence[int] | None, channels: int | None
) -> Preprocessing | None:
    """Return what a model of timm or transformers does to its images, None for any other model.

    Args:
        spec: a model spec, or a module.
        image_size: pixels, where not those that the model was trained with.
        channels: where not those that the model was trained with.
    """
    own = preprocessing_of(spec, channels)
    if own is None:
        return None
    count, *size = own["input_size"]
    pixels = image_size or size
    look = (own["mean"], own["std"], own["interpolation"], own["crop_pct"], pixels, count)
    return image_preprocessing(*look, crop_mode=own["crop_mode"])


def data_digests(data: Dataset) -> dict[str, str]:
    """Return a digest of the rows and targets of each split, by which a resumed run knows its data again."""
    return {name: _split_digest(getattr(data, name)) for name in SPLITS}


def check_same_data(run: RunFolder, data: Dataset) -> None:
    """Raise unless a resumed run reads the rows that it began with.

    Raises:
        DataError: they differ; the message names the splits.
    """
    began = run.manifest().rows
    changed = [name for name, digest in data_digests(data).items() if began and began.get(name) != digest]
    if changed:
        raise DataError(
            f"{data.name} is not what {run.path} began with: its {', '.join(changed)} rows differ. Resume with the "
            "same data and settings, or begin a new run"
        )


def _split_digest(split: Split) -> str:
    digest = xxh3_128(split.inputs.digests().tobytes())
    if split.targets is not None:
        # Numbers as float32, as they were when the first runs were begun.
        targets = split.targets.float() if split.targets.is_floating_point() else split.targets
        digest.update(targets.numpy().tobytes())
    if split.weights is not None:
        digest.update(split.weights.numpy().tobytes())
    return digest.hexdigest()
