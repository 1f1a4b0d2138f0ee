"""Texts as the tokens of a model's own tokenizer: numbers, the mask of what is padding, and what else it gives.

Rows are filled up to one length and masked, so that what frozen layers compute of a row depends on no other row.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from reuse.data.inputs import Inputs
from reuse.data.preprocessing import Preprocessing
from reuse.data.raw import Options, refuse_image_options
from reuse.data.several import SeveralInputs
from reuse.data.tokenizers import Tokenizing, load_tokenizer
from reuse.errors import DataError, UsageError
from reuse.layout import Layout, RowTensor, names_of
from reuse.units import format_count, verb_of

LENGTH_PERCENTILE = 95
SHORTEST = 8
MASK = "attention_mask"


def fit_tokens(
    texts: Sequence[str | None], tokenizing: Tokenizing, options: Options, column: str
) -> tuple[Preprocessing, tuple[str, ...]]:
    """Return the preprocessing of texts for a model: how many tokens of each are read, and notes.

    Without a `sequence_length` that is the power of two that 95 % of the texts do not exceed: it is the same for most
    draws of rows, whose activations are then shared.

    Args:
        texts: of the training rows.
        tokenizing: how the model reads them.
        options: of the user.
        column: of the table that they stand in; "" for an array.

    Raises:
        UsageError: a setting that such texts cannot take.
    """
    refuse_image_options(options, "texts")
    if options.vocabulary is not None:
        raise UsageError(f"vocabulary={options.vocabulary} is for words, and the model brings its own: leave it out")
    tokenizer = load_tokenizer(tokenizing.place)
    most = min(tokenizing.longest or tokenizer.model_max_length, tokenizer.model_max_length)
    if tokenizing.known is not None and len(tokenizer) > tokenizing.known:
        raise UsageError(
            f"the tokenizer of {tokenizing.place} has {len(tokenizer)} tokens, and the model knows {tokenizing.known}: "
            "give the tokenizer that the model was trained with"
        )
    length, notes = options.sequence_length, list[str]()
    if length is None:
        lengths = [len(row) for row in tokenizer(_filled(texts), verbose=False)["input_ids"]]
        usual = max(SHORTEST, math.ceil(np.percentile(lengths, LENGTH_PERCENTILE)))
        length = min(most, 1 << (usual - 1).bit_length())
        notes.append(f"texts: {length} tokens are read, as {LENGTH_PERCENTILE} % of the training split have no more")
    if length > most:
        raise UsageError(f"sequence_length={length}, and the model reads at most {most} tokens: give that or less")
    tensors = _layout(tokenizer, tokenizing, length)
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        notes.append(f"texts: rows are filled up with {tokenizer.pad_token}, masked, as there is no token for it")
    fitted = Preprocessing(
        "tokenized",
        vocabulary=len(tokenizer),
        sequence_length=length,
        text=column or None,
        tensors=tensors,
        tokenizer=tokenizing.place,
    )
    return fitted, tuple(notes)


def tokenized(texts: Sequence[str | None], preprocessing: Preprocessing) -> tuple[Inputs, tuple[str, ...]]:
    """Return texts as a preprocessing has them, and notes on how many are cut or empty."""
    length, layout = preprocessing.sequence_length, preprocessing.tensors
    if preprocessing.tokenizer is None or length is None:
        raise DataError("the preprocessing of texts names no tokenizer or no length: it is damaged; train again")
    tokenizer = load_tokenizer(preprocessing.tokenizer)
    given = _filled(texts)
    arrays = _encoded(tokenizer, given, length) if given else {}
    each = [np.asarray(arrays[name] if arrays else np.empty((0, length)), np.int64) for name in names_of(layout)]
    notes = []
    if num_cut := _num_cut(tokenizer, given, arrays, length):
        notes.append(
            f"{num_cut} of {format_count(len(texts), 'text')} {verb_of(num_cut, 'is', 'are')} longer than "
            f"{length} tokens: the "
            "rest is cut off"
        )
    if num_empty := sum(not text.strip() for text in given):
        notes.append(f"{num_empty} of {format_count(len(texts), 'text')} {verb_of(num_empty, 'is', 'are')} empty")
    return SeveralInputs(each, layout, np.arange(len(texts))), tuple(notes)


def _layout(tokenizer: Any, tokenizing: Tokenizing, length: int) -> Layout:
    names = sorted(name for name in _encoded(tokenizer, [""], length) if name in tokenizing.accepted)
    return tuple(RowTensor(name, (length,), "int64") for name in names)


def _encoded(tokenizer: Any, texts: list[str], length: int) -> Any:
    return tokenizer(texts, padding="max_length", truncation=True, max_length=length, verbose=False)


def _num_cut(tokenizer: Any, texts: list[str], arrays: Any, length: int) -> int:
    """Return how many texts have more tokens than there is room for: of those that fill it, which are read again."""
    mask = arrays.get(MASK, []) if texts else []
    full = [text for text, row in zip(texts, mask, strict=False) if sum(row) == length]
    return sum(len(row) > length for row in tokenizer(full, verbose=False)["input_ids"]) if full else 0


def _filled(texts: Sequence[str | None]) -> list[str]:
    return ["" if text is None else text for text in texts]
