"""Samples that are sequences: tokens `(n, time)`, whole numbers of which 0 is padding, or steps of features."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reuse.data.arrays import ArrayInputs
from reuse.data.digests import digest_rows
from reuse.data.inputs import BLOCK_ROWS, Inputs
from reuse.data.preprocessing import Preprocessing
from reuse.data.raw import Options, refuse_image_options, refuse_other_kind
from reuse.data.sequence_arrays import fit_length
from reuse.errors import DataError, UsageError
from reuse.units import format_count, verb_of


@dataclass(frozen=True)
class StepSamples:
    """Sequences of feature vectors, all of one length.

    Attributes:
        raw: `(n, time, features)` numbers.
        name: what the user called the data, for messages.
    """

    raw: np.ndarray
    name: str = ""

    def fit(self, rows: np.ndarray, options: Options) -> tuple[Preprocessing, tuple[str, ...]]:
        """Return the preprocessing: features standardised over all steps of `rows`."""
        refuse_image_options(options, "an array of sequences")
        if options.sequence_length is not None:
            raise UsageError("sequence_length is for tokens and texts, and these are steps of numbers: leave it out")
        from sklearn.preprocessing import (
            StandardScaler,  # scikit-learn takes a second to import, and not every command needs it
        )

        scaler = StandardScaler()
        for start in range(0, len(rows), BLOCK_ROWS):
            block = self.raw[rows[start : start + BLOCK_ROWS]]
            scaler.partial_fit(block.reshape(-1, self.raw.shape[2]).astype(np.float64))
        return Preprocessing("sequences", mean=tuple(scaler.mean_.tolist()), std=tuple(scaler.scale_.tolist())), ()

    def inputs(self, rows: np.ndarray, preprocessing: Preprocessing) -> tuple[Inputs, tuple[str, ...]]:
        """Return `rows` preprocessed."""
        refuse_other_kind(preprocessing, "sequences", self.name)
        expected, given = len(preprocessing.mean), self.raw.shape[2]
        if expected not in (0, given):
            raise DataError(
                f"{given} features a step, and the preprocessing expects {expected}: give the same features"
            )
        return ArrayInputs(self.raw, rows, preprocessing), ()


@dataclass(frozen=True)
class TokenSamples:
    """Sequences of tokens, filled up with 0.

    Attributes:
        raw: int64 `(n, time)`, none below 0.
        vocabulary: how many different tokens there are, where the data says it; None: one more than the largest.
        words: what each token is called, where the data says it.
        name: what the user called the data, for messages.
    """

    raw: np.ndarray
    vocabulary: int | None = None
    words: tuple[str, ...] = ()
    name: str = ""

    def fit(self, rows: np.ndarray, options: Options) -> tuple[Preprocessing, tuple[str, ...]]:  # noqa: ARG002 - nothing is learned
        """Return the preprocessing: how many tokens there are, and how long rows are.

        Raises:
            UsageError: `options` and the data disagree on how many tokens there are.
        """
        refuse_image_options(options, "an array of tokens")
        if options.vocabulary is not None and self.vocabulary not in (None, options.vocabulary):
            raise UsageError(f"vocabulary={options.vocabulary}, and {self.name} says {self.vocabulary}: leave it out")
        size = options.vocabulary or self.vocabulary
        found = int(self.raw.max()) + 1
        notes = () if size else (f"{found} different tokens, counted to the largest (say how many with vocabulary)",)
        length = options.sequence_length or self.raw.shape[1]
        words = ("", *self.words[1:]) if self.words else ()
        return Preprocessing("tokens", vocabulary=size or found, words=words, sequence_length=length), notes

    def inputs(self, rows: np.ndarray, preprocessing: Preprocessing) -> tuple[Inputs, tuple[str, ...]]:
        """Return `rows` cut or filled up to the length of the preprocessing, and a note on how many are cut.

        Raises:
            DataError: a token that the preprocessing does not know.
        """
        refuse_other_kind(preprocessing, "tokens", self.name)
        assert preprocessing.vocabulary is not None
        inputs = TokenInputs(self.raw, rows, preprocessing)
        num_cut = 0
        for start in range(0, len(rows), BLOCK_ROWS):
            block = self.raw[rows[start : start + BLOCK_ROWS]]
            bad = np.argwhere(block >= preprocessing.vocabulary)
            if len(bad):
                row, place = bad[0].tolist()
                raise DataError(
                    f"token {block[row, place]} in row {rows[start + row]} (from 0), and there are only "
                    f"{preprocessing.vocabulary}: give the vocabulary that these tokens are from"
                )
            num_cut += int(block[:, preprocessing.sequence_length :].any(axis=1).sum())
        note = (
            f"{num_cut} of {format_count(len(rows), 'row')} {verb_of(num_cut, 'is', 'are')} longer than "
            f"{format_count(preprocessing.sequence_length or 0, 'token')}: the rest is cut off"
        )
        return inputs, (note,) if num_cut else ()


class TokenInputs(Inputs):
    """Some rows of an array of tokens, int64, all of one length."""

    dtype = torch.int64

    def __init__(self, raw: np.ndarray, rows: np.ndarray, preprocessing: Preprocessing) -> None:
        super().__init__(len(rows))
        assert preprocessing.sequence_length is not None
        self._raw, self._rows = raw, rows
        self.shape = (preprocessing.sequence_length,)

    def _prepare(self, indices: np.ndarray) -> Tensor:
        return torch.from_numpy(fit_length(self._raw[self._rows[indices]], self.shape[0]))

    def _digest(self) -> np.ndarray:
        return digest_rows(self._raw, self._rows)
