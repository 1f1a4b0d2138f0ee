"""Texts: lower-case words, numbered by how often they occur in the training split."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reuse.data.digests import digest_table
from reuse.data.inputs import Inputs
from reuse.data.preprocessing import Preprocessing
from reuse.data.raw import Options, refuse_image_options, refuse_other_kind
from reuse.data.tokenized import fit_tokens, tokenized
from reuse.data.words import UNSPACED, split_words
from reuse.errors import DataError
from reuse.units import format_count, verb_of

PADDING, UNKNOWN = 0, 1
FIRST_WORD = 2
DEFAULT_VOCABULARY = 10_000
LENGTH_PERCENTILE = 95


@dataclass(frozen=True)
class TextSamples:
    """One text a row.

    Attributes:
        texts: objects `(n,)`, `str` or None where there is none.
        name: what the user called the data, for messages.
        column: the column of a table that holds them; "" for an array.
    """

    texts: np.ndarray
    name: str = ""
    column: str = ""

    def fit(self, rows: np.ndarray, options: Options) -> tuple[Preprocessing, tuple[str, ...]]:
        """Return the preprocessing: the words of `rows`, or the tokens of a model, and how many of a text are read.

        Raises:
            DataError: there is not one word in `rows`.
        """
        if options.tokenizing is not None:
            return fit_tokens(self.texts[rows].tolist(), options.tokenizing, options, self.column)
        refuse_image_options(options, "texts")
        limit = options.vocabulary or DEFAULT_VOCABULARY
        lengths, counts = np.zeros(len(rows), np.int64), Counter[str]()
        for place, words in enumerate(_words_of(self.texts[rows])):
            lengths[place] = len(words)
            counts.update(words)
        if not counts:
            raise DataError(f"{self.name}: no text of the training split holds a word; name another column with text")
        length = options.sequence_length or math.ceil(np.percentile(lengths, LENGTH_PERCENTILE))
        kept = sorted(counts, key=lambda word: (-counts[word], word))[:limit]
        notes = [f"texts: the {len(kept)} most frequent of {len(counts)} different words in the training split"]
        if options.sequence_length is None:
            notes.append(
                f"texts: {format_count(length, 'word')} {verb_of(length, 'is', 'are')} read, as "
                f"{LENGTH_PERCENTILE} % of the training split have no more"
            )
        unspaced = sum(text is not None and UNSPACED.search(text) is not None for text in self.texts[rows])
        if unspaced:
            notes.append(
                f"texts: {unspaced} of {len(rows)} {verb_of(unspaced, 'is', 'are')} in a script without spaces "
                "between words (Chinese, Thai, …) and "
                "read letter by letter: texts that are split into words by spaces before are learned from better"
            )
        fitted = Preprocessing(
            "text", vocabulary=limit, words=tuple(kept), sequence_length=max(length, 1), text=self.column or None
        )
        return fitted, tuple(notes)

    def inputs(self, rows: np.ndarray, preprocessing: Preprocessing) -> tuple[Inputs, tuple[str, ...]]:
        """Return `rows` as tokens, and notes on how many texts are cut or hold no word."""
        if preprocessing.kind == "tokenized":
            return tokenized(self.texts[rows].tolist(), preprocessing)
        refuse_other_kind(preprocessing, "text", self.name)
        inputs = TextInputs(self.texts[rows], preprocessing)
        notes = []
        if inputs.num_cut:
            length = preprocessing.sequence_length
            notes.append(
                f"{inputs.num_cut} of {format_count(len(rows), 'text')} {verb_of(inputs.num_cut, 'is', 'are')} "
                "longer than "
                f"{format_count(length or 0, 'word')}: the rest is cut off"
            )
        if inputs.num_empty:
            padding = verb_of(inputs.num_empty, "holds no word: it is", "hold no word: they are")
            notes.append(f"{inputs.num_empty} of {format_count(len(rows), 'text')} {padding} all padding")
        return inputs, tuple(notes)


class TextInputs(Inputs):
    """Some texts as tokens, int64 `(n, time)`: 0 is padding, 1 any word that was not fitted; encoded once.

    Attributes:
        num_cut: how many texts are longer than `time`.
        num_empty: how many hold no word.
    """

    dtype = torch.int64

    def __init__(self, texts: np.ndarray, preprocessing: Preprocessing) -> None:
        super().__init__(len(texts))
        assert preprocessing.sequence_length is not None
        self._texts = texts
        self.shape = (preprocessing.sequence_length,)
        numbers = {word: number for number, word in enumerate(preprocessing.words, start=FIRST_WORD)}
        tokens = np.zeros((len(texts), *self.shape), np.int64)
        self.num_cut = self.num_empty = 0
        for row, words in zip(tokens, _words_of(texts), strict=True):
            kept = words[: len(row)]
            row[: len(kept)] = [numbers.get(word, UNKNOWN) for word in kept]
            self.num_cut += len(words) > len(row)
            self.num_empty += not words
        self._resident = (torch.from_numpy(tokens),)

    def _prepare(self, indices: np.ndarray) -> Tensor:
        assert self._resident is not None
        return self._resident[0][torch.from_numpy(indices)]

    def _digest(self) -> np.ndarray:
        return digest_table(np.empty((len(self), 0)), [self._texts], "text")


def are_texts(x: object) -> bool:
    """Return whether `x` is one text a row."""
    try:
        array = np.asarray(x)
    except ValueError:
        return False
    return array.ndim == 1 and (array.dtype.kind == "U" or (array.dtype.kind == "O" and _hold_texts(array)))


def as_texts_of(x: object) -> np.ndarray:
    """Return texts as objects `(n,)`, `str` or None where one is missing."""
    texts = np.asarray(x).astype(object)
    texts[[not isinstance(text, str) for text in texts]] = None
    return texts


def _hold_texts(array: np.ndarray) -> bool:
    are = [isinstance(text, str) for text in array]
    return any(are) and all(is_text or _is_missing(value) for is_text, value in zip(are, array, strict=True))


def _is_missing(value: Any) -> bool:
    """Return whether a value is what a column of texts has in place of one: None, NaN, or pandas' NA."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ == "NAType"


def _words_of(texts: Iterable[str | None]) -> Iterator[list[str]]:
    return ([] if text is None else split_words(text) for text in texts)
