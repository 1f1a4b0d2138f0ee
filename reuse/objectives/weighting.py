"""Class weights: rare classes made to count as much as frequent ones, or each as much as the user says."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from reuse.data.letters import composed
from reuse.errors import DataError, UsageError
from reuse.menus import lookup
from reuse.units import format_count, verb_of


def parse_class_weights(text: str, classes: Sequence[str], targets: Tensor) -> tuple[float, ...]:
    """Return the weight of each class that a text means.

    Args:
        text: `balanced`: a class counts the more the rarer it is, rows / (classes · rows of the class), as
            scikit-learn's `compute_class_weight` has it; where a row may have several labels, rows without the label /
            rows with it. Or weights by name, such as `cat=2,dog=0.5`; what is not named has weight 1.
        classes: names of the classes or labels, in the order of the outputs.
        targets: of the training rows: class numbers `(rows,)`, or zeros and ones `(rows, labels)`.

    Raises:
        UsageError: the text is neither, or a weight is not above 0, or there are no classes (regression).
        UnknownNameError: a class that there is not.
        DataError: a class without a training row cannot be balanced.

    Example:
        >>> parse_class_weights("balanced", ("cat", "dog"), torch.tensor([0, 1, 1, 1]))
        (2.0, 0.6666666666666666)
    """
    if not classes:
        raise UsageError(f"class weights {text!r}: the targets are numbers, not classes; leave them out")
    if text.strip() == "balanced":
        return _balanced(classes, targets)
    return _named(text, classes)


def check_class_weights(weights: Sequence[float] | None, num_classes: int | None) -> None:
    """Raise unless weights are numbers above 0, one for each of so many classes.

    Args:
        weights: None: all classes weigh alike.
        num_classes: None: any number of weights.

    Raises:
        UsageError: they are not.
    """
    if weights is None:
        return
    if num_classes is not None and len(weights) != num_classes:
        raise UsageError(
            f"there {verb_of(len(weights), 'is', 'are')} {format_count(len(weights), 'class weight')} for "
            f"{num_classes} classes: give one a class"
        )
    if not all(math.isfinite(weight) and weight > 0 for weight in weights):
        raise UsageError(f"class weights are {weights}: give numbers above 0")


def placed_weights(
    weights: tuple[float, ...],
    device: torch.device,
    dtype: torch.dtype,
    placed: dict[tuple[torch.device, torch.dtype], Tensor],
) -> Tensor:
    """Return the weights as a tensor, copied to the device once and not at every step."""
    if (device, dtype) not in placed:
        placed[device, dtype] = torch.tensor(weights, dtype=dtype, device=device)
    return placed[device, dtype]


def _balanced(classes: Sequence[str], targets: Tensor) -> tuple[float, ...]:
    several = targets.ndim == 2
    counts = (targets > 0).sum(0) if several else torch.bincount(targets, minlength=len(classes))
    absent = [name for name, count in zip(classes, counts.tolist(), strict=True) if count == 0]
    if absent:
        raise DataError(
            f"class weights cannot be balanced: no training row is {', '.join(absent)}; name weights, or take more rows"
        )
    rows = len(targets)
    if several and bool((counts == rows).any()):
        always = [name for name, count in zip(classes, counts.tolist(), strict=True) if count == rows]
        raise DataError(f"class weights cannot be balanced: every training row is {', '.join(always)}; name weights")
    precise = counts.double()
    weights: list[float] = ((rows - precise) / precise if several else rows / (len(classes) * precise)).tolist()
    return tuple(weights)


def _named(text: str, classes: Sequence[str]) -> tuple[float, ...]:
    places = {name: place for place, name in enumerate(classes)}
    weights: dict[int, float] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.rpartition("="))
        if not equals:
            raise UsageError(f"class weights {text!r}: write balanced, or class=weight,… such as {classes[0]}=2")
        place = lookup(places, composed(name), "class")
        if place in weights:
            raise UsageError(f"class weights {text!r} name {name} twice: name it once")
        weights[place] = _weight(name, number)
    return tuple([weights.get(place, 1.0) for place in range(len(classes))])


def _weight(name: str, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight > 0):
        raise UsageError(f"the weight of class {name} is {text!r}: give a number above 0")
    return weight
