"""The schema of `result.json`, checked where it is read back, so that no damaged file tells what a run came to."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

LARGEST = 2**53  # whole numbers that JSON's readers keep as they are
MOST = sys.float_info.max  # whole numbers may be larger, and are of use to nobody


@dataclass(frozen=True)
class Expected:
    """A form of an entry.

    Attributes:
        words: it in words.
        fits: whether a value has it.
    """

    words: str
    fits: Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    """Return whether a value is a number; None stands for those that JSON has not, NaN among them."""
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _is_duration(value: Any) -> bool:
    return value is not None and _is_number(value) and value >= 0


def _each(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _named(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and all(map(fits, value.values()))


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


def _has_training(value: Any) -> bool:
    return _named(_is_duration)(value) and {"cache", "train", "total"} <= value.keys()


TEXT = Expected("a text", _is_text)
TEXTS = Expected("a list of texts", _each(_is_text))
OBJECT = Expected("an object", _is_object)
OBJECTS = Expected("a list of objects", _each(_is_object))
MAYBE = Expected("an object or null", _or_none(_is_object))
MAYBE_TEXT = Expected("a text or null", _or_none(_is_text))
COUNT = Expected("a whole number of 0 or more", _is_count)
COUNTS = Expected("whole numbers of 0 or more by name", _named(_is_count))
METRICS = Expected("numbers by name", _named(_is_number))
OF_SPLITS = Expected("numbers by name for each split", _named(_named(_is_number)))
SECONDS = Expected("seconds by name, with cache, train and total", _has_training)

Schema = Mapping[str, Expected]

_TRAINED: Schema = {
    "run": TEXT,
    "settings": OBJECT,
    "epochs": COUNT,
    "sizes": COUNTS,
    "metrics": OF_SPLITS,
    "seconds": SECONDS,
}
NEEDED: Mapping[str, Schema] = {  # by kind of run
    "pretrain": _TRAINED,
    "finetune": _TRAINED,
    "sweep": {
        "run": TEXT,
        "settings": OBJECT,
        "metric": TEXT,
        "table": OBJECTS,
        "best": OBJECT,
        "epochs": COUNTS,
        "sizes": COUNTS,
        "seconds": SECONDS,
    },
    "soup": {"run": TEXT, "ingredients": TEXTS, "valid": METRICS, "test": METRICS, "rows": COUNTS},
}
"""Entries that a result has whatever version wrote it."""

POSSIBLE: Schema = {
    "best_epoch": COUNT,
    "source": MAYBE_TEXT,
    "kept": MAYBE_TEXT,
    "method": TEXT,
    "frozen": TEXTS,
    "restored": TEXTS,
    "fresh": TEXTS,
    "notes": TEXTS,
    "frontier": OBJECTS,
    "phases": OBJECTS,
    "candidates": OBJECTS,
    "configurations": OBJECTS,
    "cache": MAYBE,
    "plan": MAYBE,
    "comparison": Expected("numbers by name for each training", _named(_named(_is_number))),
}
"""Entries that a result may have."""

OF_OTHERS = {
    "classification": {"r2", "mse"},
    "multilabel": {"r2", "mse"},
    "regression": {"accuracy", "macro_f1"},
}
"""Metrics that a task does not have."""


def check_result(result: Mapping[str, Any], kind: str, task: str | None) -> None:
    """Raise where a result is not what a run comes to; entries that this version does not know are nobody's business.

    Args:
        result: the contents of result.json.
        kind: of the run.
        task: of the run; None for one that predicts nothing.

    Raises:
        ValueError: the message says which entry.
    """
    needed = NEEDED[kind]
    absent = [name for name in needed if name not in result]
    if absent:
        raise ValueError(f"it does not say {', '.join(absent)}")
    for name, expected in {**POSSIBLE, **needed}.items():
        if name in result and not expected.fits(result[name]):
            raise ValueError(f"{name} is {_shown(result[name])}, and {expected.words} is expected")
    if kind == "finetune" and task is not None:
        measured = {metric for split in result["metrics"].values() for metric in split}
        strange = sorted(measured & OF_OTHERS[task])
        if strange:
            raise ValueError(f"the task is {task}, and {', '.join(strange)} was measured")


def _shown(value: Any) -> str:
    text = str(value) if not isinstance(value, int) or abs(value) <= LARGEST else "a huge number"
    return repr(text) if isinstance(value, str) else text[:60]
