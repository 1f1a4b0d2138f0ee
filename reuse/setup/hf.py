"""Models of transformers: what their configurations say of their inputs, and how they read texts."""

from collections.abc import Mapping
from typing import Any

from reuse.data.dataset import Dataset
from reuse.data.tokenizers import Tokenizing, load_tokenizer
from reuse.layout import Layout, RowTensor
from reuse.nn.hf_specs import check_extra, is_hf, parse_hf


def config_of(spec: str) -> dict[str, Any] | None:
    """Return the configuration of a model of transformers; None for any other model."""
    if not is_hf(spec):
        return None
    check_extra(spec)
    from reuse.nn.hf_models import read_config  # transformers takes seconds to import

    return read_config(spec)


def reads_texts(spec: str) -> bool:
    """Return whether a model of transformers classifies sequences of tokens."""
    config = config_of(spec)
    from reuse.nn.hf_models import takes_texts

    return config is not None and takes_texts(config)


def tokenizing_of(spec: str) -> Tokenizing | None:
    """Return how a model of transformers reads texts; None for one that reads none, or lies beside no tokenizer."""
    place = parse_hf(spec).place
    config = config_of(spec)
    if config is None or not place or not reads_texts(spec):
        return None
    from reuse.nn.hf_models import accepted_inputs, longest_sequence

    return Tokenizing(place, accepted_inputs(config), longest_sequence(config), config.get("vocab_size"))


def config_for(config: Mapping[str, Any] | None, data: Dataset) -> Mapping[str, Any] | None:
    """Return a configuration that knows the token with which the rows of some data are filled up."""
    place = data.preprocessing.tokenizer
    if config is None or place is None:
        return config
    return {**config, "pad_token_id": load_tokenizer(place).pad_token_id}


EXAMPLE: Layout = tuple(RowTensor(name, (16,), "int64") for name in ("attention_mask", "input_ids"))
"""A row as a model that reads texts takes it, for where there are no data."""
