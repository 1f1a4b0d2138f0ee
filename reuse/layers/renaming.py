"""Names of a source's tensors brought to those of a model: as the user says, or by what stands in front of them."""

from collections import Counter
from collections.abc import Mapping

from torch import Tensor

from reuse.errors import UsageError
from reuse.layers.transplanting import places_of

SHARE = 0.5  # of the model's tensors that must fit before names are changed without being asked
# Of prefixes under which the same layers stand, the one that is taken: an average of the other.
AVERAGES = ("teacher", "ema", "target", "momentum")


def parse_renaming(text: str) -> dict[str, str]:
    """Return the renaming that a text means: `backbone=` takes a prefix off, `body=features,head=fc` changes two.

    Raises:
        UsageError: a part without `=`, or one name twice.
    """
    renaming: dict[str, str] = {}
    for part in text.split(","):
        old, equals, new = (piece.strip().strip(".") for piece in part.partition("="))
        if not equals or old in renaming:
            raise UsageError(f"rename={text!r}: give old=new, several separated by commas; backbone= takes it off")
        renaming[old] = new
    return renaming


def rename(state: Mapping[str, Tensor], renaming: Mapping[str, str]) -> dict[str, Tensor]:
    """Return tensors under other names.

    Args:
        state: tensors by name.
        renaming: prefixes and what stands in their place, whole parts between dots, the longest first.

    Raises:
        UsageError: no tensor has such a name, or two would have one.
    """
    places = places_of(state, renaming)
    twice = [place for place, count in Counter(places.values()).items() if count > 1]
    if twice:
        both = " and ".join(name for name, place in places.items() if place == twice[0])
        raise UsageError(f"rename gives {both} one name, {twice[0]}: rename the others too, to something else")
    return {places[name]: tensor for name, tensor in state.items()}


def find_renaming(state: Mapping[str, Tensor], homes: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the prefix to take off a source's names, or to put in front of them, so that they are a model's.

    Args:
        state: the source's tensors by name.
        homes: the model's.

    Returns:
        Empty where the names fit as well as they are, or where less than half of the model would fit.
    """
    as_they_are = _fitting(state, homes, "", "")
    taken_off = [(prefix, "") for prefix in _prefixes(state)]
    put_before = [("", prefix) for prefix in _prefixes(homes)]
    counted = {pair: _fitting(state, homes, *pair) for pair in (*taken_off, *put_before)}
    best = max(counted, key=lambda pair: (counted[pair], any(word in pair[0] for word in AVERAGES)), default=("", ""))
    if counted.get(best, 0) <= max(as_they_are, SHARE * len(homes)):
        return {}
    return {best[0]: best[1]}


def _fitting(state: Mapping[str, Tensor], homes: Mapping[str, Tensor], old: str, new: str) -> int:
    """Return how many tensors below `old` have a place of their name and shape below `new`."""
    start, before = (f"{prefix}." if prefix else "" for prefix in (old, new))
    placed = ((before + name[len(start) :], tensor) for name, tensor in state.items() if name.startswith(start))
    return sum(name in homes and homes[name].shape == tensor.shape for name, tensor in placed)


def _prefixes(names: Mapping[str, Tensor]) -> list[str]:
    """Return what stands in front of names, up to three parts, the shorter first."""
    found = {".".join(name.split(".")[:depth]) for name in names for depth in (1, 2, 3) if name.count(".") >= depth}
    return sorted(found, key=lambda prefix: (prefix.count("."), prefix))
