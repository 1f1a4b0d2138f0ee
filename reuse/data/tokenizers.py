"""Tokenizers that models of transformers bring along: where they are, loading them, keeping them with a run."""

import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from reuse.errors import DataError


@dataclass(frozen=True)
class Tokenizing:
    """How a model reads texts.

    Attributes:
        place: of its tokenizer: a folder, or a name of the hub.
        accepted: the inputs that the model takes by name.
        longest: how many tokens it takes at most; None: it does not say.
        known: how many different tokens it knows; None: it does not say.
    """

    place: str
    accepted: tuple[str, ...]
    longest: int | None = None
    known: int | None = None


def load_tokenizer(place: str) -> Any:
    """Return the tokenizer of a folder, or of the hub; one without a token for padding fills up with its last one.

    Raises:
        DataError: there is none, or it is damaged.
    """
    folder = Path(place)
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return _loaded(place, tuple((file.name, file.stat().st_mtime_ns) for file in files))


def keep_tokenizer(place: str, folder: Path) -> None:
    """Write the tokenizer of a place into a folder, as a whole or not at all, unless it is there."""
    if folder.is_dir():
        return
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    load_tokenizer(place).save_pretrained(draft)
    draft.replace(folder)


@lru_cache(4)
def _loaded(place: str, files: tuple[tuple[str, int], ...]) -> Any:
    import transformers  # takes seconds, and only its models need it

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, local_files_only=bool(files))
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{place} has no tokenizer that can be read ({why}): texts need one beside the model"
        ) from error
    if len(tokenizer) <= len(tokenizer.all_special_tokens) + 1:  # made without files, by the model's kind alone
        raise DataError(f"{place} has no tokenizer with words: texts need one beside the model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise DataError(f"the tokenizer of {place} has no token to fill rows up with: set its pad_token and save it")
    return tokenizer
