"""The labelled rows of a ranking, as each source takes them."""

import torch
from torch import Tensor

from reuse.data.dataset import Dataset
from reuse.data.file_digests import FILE_DIGESTS
from reuse.data.preprocessing import Preprocessing
from reuse.errors import DataError, UsageError
from reuse.hints import Hints
from reuse.nn.hf_specs import is_hf
from reuse.nn.specs import is_recurrent
from reuse.paths import cache_folder
from reuse.ranking.scores import JudgingRows
from reuse.reporting import Reporter
from reuse.settings.ranking import RankArguments
from reuse.setup.data import load_data, tell_of


class Loads:
    """The data as each source takes it, read once for those that take it alike.

    Args:
        arguments: of the ranking.
        reporter: told what the data are.
    """

    def __init__(self, arguments: RankArguments, reporter: Reporter) -> None:
        self._arguments, self._reporter = arguments, reporter
        self._read: list[tuple[tuple[Preprocessing | None, bool, str], Dataset]] = []

    def data_for(self, spec: str, preprocessing: Preprocessing | None) -> Dataset:
        """Return the rows for a model.

        Args:
            spec: of the model; empty for a module.
            preprocessing: of a run, or of the model; None: it is fitted on the training rows.
        """
        form = preprocessing, is_recurrent(spec), spec if is_hf(spec) else ""
        for known, data in self._read:
            if known == form:
                return data
        data = self._load(spec, preprocessing)
        if not self._read:
            tell_of(data, self._reporter)
        elif [*data.train.rows, *data.valid.rows] != [*self._read[0][1].train.rows, *self._read[0][1].valid.rows]:
            raise DataError(f"{data.name} has other rows for {spec}: rank models that read the same rows")
        self._read.append((form, data))
        return data

    def _load(self, spec: str, preprocessing: Preprocessing | None) -> Dataset:
        own = self._arguments
        anew = frozenset({FILE_DIGESTS} if own.rehash else ())
        hints = Hints(cache_folder(own.cache_dir), anew=anew) if own.cache else None
        return load_data(
            own.data,
            own,
            model=spec,
            seed=own.seed,
            labels=own.labels,
            preprocessing=preprocessing,
            hints=hints,
            reporter=self._reporter,
        )


def labelled_rows(data: Dataset) -> JudgingRows:
    """Return the targets of the rows to train on and to validate by; classes that no row has are left out.

    Rows without weight are too, as if they were not there.

    Raises:
        UsageError: they are no classes or numbers, or all of one class.
    """
    if data.task not in ("classification", "regression"):
        what = "no labels" if data.task == "unlabelled" else "several labels a row"
        raise UsageError(f"{data.name} has {what}, and a ranking needs one class or numbers a row: give other targets")
    parts = [split.targets for split in (data.train, data.valid) if split.targets is not None]
    places, weights = _weighed(data)
    targets = torch.cat(parts) if places is None else torch.cat(parts)[places]
    if data.task == "regression":
        numbers = targets.double() if data.target_scale is None else data.target_scale.standardised(targets)
        return JudgingRows(numbers, 0, places, weights)
    present, numbers = torch.unique(targets, return_inverse=True)
    if len(present) < 2:
        raise UsageError(
            f"all {len(targets)} labelled rows of {data.name} are of one class: a ranking needs two or more"
        )
    return JudgingRows(numbers, len(present), places, weights)


def _weighed(data: Dataset) -> tuple[Tensor | None, Tensor | None]:
    """Return the places of rows that weigh more than 0, and their weights, in the mean 1; None where there are none."""
    parts = [split.weights for split in (data.train, data.valid) if split.weights is not None]
    if not parts:
        return None, None
    weights = torch.cat(parts)
    places = weights.nonzero().squeeze(1)
    own = weights[places]
    return places, own / own.mean()
