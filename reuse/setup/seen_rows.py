"""Test rows that a source was trained on: what is measured on them is better than it will be on new ones."""

import numpy as np

from reuse.data.dataset import Dataset
from reuse.settings.commands import FinetuneSettings, PretrainSettings
from reuse.setup.data import load_data
from reuse.setup.inheriting import is_same_data
from reuse.setup.sources import Source
from reuse.units import format_count, verb_of


def note_seen_rows(settings: FinetuneSettings, source: Source, data: Dataset) -> tuple[str, ...]:
    """Return a note where test rows are among those that a pretraining was trained on, else none.

    With the same target both draw the same test rows; with another, or none, classes are spread over others. A
    transductive pretraining has seen all of them, as was asked for.

    Args:
        settings: filled in.
        source: where layers come from.
        data: that were loaded for them.
    """
    theirs, is_table = source.settings, data.preprocessing is not None and data.preprocessing.kind in ("table", "text")
    if not isinstance(theirs, PretrainSettings) or not isinstance(settings.data, str):
        return ()
    if theirs.transductive:
        said = f"{source.name} was trained on the inputs of the test rows of {theirs.data} too, without any targets"
        return (f"transductive: {said}",) if is_same_data(settings, source) else ()
    if not is_table:
        return ()
    if theirs.target == settings.target or settings.test_data is not None or not is_same_data(settings, source):
        return ()
    whole = load_data(
        theirs.data, theirs, model=source.spec or "", seed=theirs.seed, labels=theirs.labels, supervised=False
    )
    count = int(np.isin(data.test.rows, whole.train.rows).sum())
    target = "the same target" if settings.target is None else f"--target {settings.target}"
    note = (
        f"{count} of {format_count(len(data.test), 'test row')} {verb_of(count, 'is', 'are')} among those that "
        f"{source.name} "
        "was trained on, because it drew its "
        f"rows by another target: pretrain with {target}, which keeps them apart, and that column out of the features"
    )
    return (note,) if count else ()
