"""Embedding layers: a row of numbers for each token, drawn at random or filled from word vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from reuse.errors import UsageError
from reuse.nn.word_vectors import WordVectors
from reuse.settings.group import Settings
from reuse.units import format_count

Layer = TypeVar("Layer", nn.Embedding, nn.EmbeddingBag)

PADDING = 0  # the token that fills rows up; its row is zero and is not trained
DEFAULT_SIZE = 64


@dataclass(frozen=True, kw_only=True)
class TokenOptions(Settings):
    """Options of inputs that are tokens.

    Attributes:
        num_tokens: inputs are whole numbers below this, of which 0 is padding; None: inputs are numbers that count.
        embeddings: what the embedding layer is filled from: a word2vec or GloVe file, read for `words`, or what
            `reuse.nn.word_vectors.read_word_vectors` made of one, whose `note` says how many words were found.
        words: what each token is called, "" for those that are no words; needed with a file.
    """

    num_tokens: int | None = None
    embeddings: str | Path | WordVectors | None = None
    words: Sequence[str] = ()


@dataclass(frozen=True)
class Tokens:
    """Tokens as an embedding sees them.

    Attributes:
        count: how many different ones there are, padding among them.
        size: features of each; None: those of `vectors`, else 64.
        vectors: what the embedding is filled from; None: it is drawn at random, as torch does.
    """

    count: int
    size: int | None = None
    vectors: WordVectors | None = None

    def __post_init__(self) -> None:
        if self.count < 2 or (self.size is not None and self.size < 1):
            raise UsageError(
                f"an embedding of {format_count(self.count, 'token')} with {self.size} features each: give 2 "
                "tokens or more (one is "
                "padding) and 1 feature or more"
            )
        if self.vectors is None:
            return
        if self.size not in (None, self.vectors.size):
            raise UsageError(
                f"embedding_size={self.size}, and {self.vectors.source} holds vectors of {self.vectors.size} numbers: "
                "leave embedding_size out"
            )
        if len(self.vectors.matrix) != self.count:
            raise UsageError(
                f"word vectors for {len(self.vectors.matrix)} tokens, and the data has {self.count}: "
                "read them for the words of this data"
            )

    @property
    def features(self) -> int:
        """The features of each token."""
        return self.vectors.size if self.vectors else self.size or DEFAULT_SIZE


def token_embedding(tokens: Tokens) -> nn.Embedding:
    """Return a layer from tokens `(batch, time)` to steps `(batch, time, features)`."""
    layer = nn.Embedding(tokens.count, tokens.features, padding_idx=PADDING)
    return _filled(layer, tokens.vectors)


def mean_embedding(tokens: Tokens) -> nn.EmbeddingBag:
    """Return a layer from tokens `(batch, time)` to the mean over those that are no padding, `(batch, features)`.

    Its weight has the name and shape of `token_embedding`'s, so one can be restored from the other.
    """
    layer = nn.EmbeddingBag(tokens.count, tokens.features, mode="mean", padding_idx=PADDING)
    return _filled(layer, tokens.vectors)


@torch.no_grad()
def _filled(layer: Layer, vectors: WordVectors | None) -> Layer:
    if vectors is not None:
        layer.weight.copy_(vectors.matrix)
        layer.weight[PADDING] = 0
    return layer
