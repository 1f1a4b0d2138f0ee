"""Changes to batches before the network sees them: augmented inputs, noise on features, rows mixed in pairs."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.distributions import Beta
from torch.nn import functional

from reuse.data.rows import Batch
from reuse.errors import UsageError

Transform = Callable[[Batch], Batch]


def augmented(augment: Callable[[Tensor], Tensor]) -> Transform:
    """Return what applies `augment` to the first input of a batch, and to nothing else of it.

    It is for inputs, not for the frontier of a cut: what frozen layers make of an augmented row is something else.
    """
    return lambda batch: replace(batch, inputs=(augment(batch.inputs[0]), *batch.inputs[1:]))


@dataclass(frozen=True)
class FeatureNoise:
    """Normal noise on features, in parts of each feature's standard deviation over the batch.

    DeVries & Taylor 2017, "Dataset Augmentation in Feature Space", https://arxiv.org/abs/1702.05538, who take the
    deviation over the whole data set. A feature that is the same for all rows stays what it is.

    Attributes:
        amount: 0.5 in the paper; above 0.
    """

    amount: float

    def __post_init__(self) -> None:
        if not 0 < self.amount < float("inf"):
            raise UsageError(f"feature_noise is {self.amount}: give parts of a deviation, such as 0.1, or 0 for none")

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch with noise on every input that is made of numbers; tokens and lengths stay."""
        return replace(batch, inputs=tuple([self._noisy(tensor) for tensor in batch.inputs]))

    def _noisy(self, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        deviation = tensor.std(0, correction=0, keepdim=True)
        return tensor + self.amount * deviation * torch.randn_like(tensor)


@dataclass(frozen=True)
class Mixup:
    """Weighted means of pairs of rows and of their targets (Zhang et al. 2018, https://arxiv.org/abs/1710.09412).

    x = λ xᵢ + (1 − λ) xⱼ and y = λ yᵢ + (1 − λ) yⱼ, j a random order of the batch and λ ~ Beta(alpha, alpha), one for
    the batch. Every input is mixed, by the same λ and the same pairs: of a cut, all tensors of the frontier.

    Attributes:
        alpha: above 0; 0.1 to 0.4 mix a little, 1 makes every λ as likely.
        num_classes: how many classes there are, where targets are class numbers, which become `(batch, classes)`; None
            where they are numbers, or zeros and ones, and are mixed as they are.
    """

    alpha: float
    num_classes: int | None = None

    def __post_init__(self) -> None:
        _check_alpha("mixup", self.alpha)

    def __call__(self, batch: Batch) -> Batch:
        """Return a batch of as many rows, each a mix of two.

        Raises:
            UsageError: inputs are whole numbers, such as tokens.
        """
        _check_numbers("mixup", batch)
        order, share = _pairs(batch), _share(batch, self.alpha)
        inputs = tuple([share * tensor + (1 - share) * tensor[order] for tensor in batch.inputs])
        return Batch(inputs, _mixed_targets(batch.targets, order, share, self.num_classes))


@dataclass(frozen=True)
class CutMix:
    """Patches of one image pasted into another, labels by area (Yun et al. 2019, https://arxiv.org/abs/1905.04899).

    The patch has the image's shape and the share 1 − λ of its area, λ ~ Beta(alpha, alpha), its centre anywhere; what
    of it lies outside is lost, and the targets are mixed by the area that is left.

    Attributes:
        alpha: above 0; 1 in the paper.
        num_classes: as `Mixup.num_classes`.
    """

    alpha: float
    num_classes: int | None = None

    def __post_init__(self) -> None:
        _check_alpha("cutmix", self.alpha)

    def __call__(self, batch: Batch) -> Batch:
        """Return a batch of as many images, each with a patch of another.

        Raises:
            UsageError: the input is not one tensor of maps `(batch, channels, height, width)`.
        """
        if len(batch.inputs) != 1 or batch.inputs[0].ndim != 4:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in batch.inputs)
            raise UsageError(f"cutmix is for images (batch, channels, height, width), and it got {shapes}: take mixup")
        (images,) = batch.inputs
        order = _pairs(batch)
        inside = patch(images, _share(batch, self.alpha))
        left = 1 - inside.to(images.dtype).mean()
        return Batch(
            (torch.where(inside, images[order], images),),
            _mixed_targets(batch.targets, order, left, self.num_classes),
        )


def mixing(mixup: float, cutmix: float, num_classes: int | None, *, weighted: bool = False) -> Transform | None:
    """Return mixup, cutmix, for each batch one of them at random where both are wanted, or None.

    Args:
        mixup: alpha of `Mixup`; 0 for none.
        cutmix: alpha of `CutMix`; 0 for none.
        num_classes: for classification; None where targets are numbers, or zeros and ones.
        weighted: whether targets have one column more, the weights of rows (see `mixed_by_weight`).

    Raises:
        UsageError: an alpha that is negative or not finite.
    """
    if weighted:
        mix = mixing(mixup, cutmix, None)
        return None if mix is None else mixed_by_weight(mix, num_classes)
    chosen: list[Transform] = []
    if mixup:
        chosen.append(Mixup(mixup, num_classes))
    if cutmix:
        chosen.append(CutMix(cutmix, num_classes))
    if len(chosen) < 2:
        return chosen[0] if chosen else None
    # Drawn on the CPU, where looking at it waits for nothing.
    return lambda batch: chosen[int(torch.randint(2, ()))](batch)


def mixed_by_weight(mix: Transform, num_classes: int | None) -> Transform:
    """Return a mixing of rows that count wᵢ each, so that the loss of a mixed one is λ wᵢ L(yᵢ) + (1 − λ) wⱼ L(yⱼ).

    It counts w = λ wᵢ + (1 − λ) wⱼ, and its target is (λ wᵢ yᵢ + (1 − λ) wⱼ yⱼ) / w, of which cross-entropies make just
    this loss, and squared errors this gradient.

    Args:
        mix: mixes inputs and targets.
        num_classes: for targets of class numbers, which become `(batch, classes)`; None: they stay as they are.
    """

    def mixed(batch: Batch) -> Batch:
        assert batch.targets is not None
        weights, targets = batch.targets[:, -1:], batch.targets[:, :-1]
        if num_classes is not None:
            targets = functional.one_hot(targets[:, 0].long(), num_classes).to(weights.dtype)
        done = mix(replace(batch, targets=torch.cat([weights * targets, weights], 1)))
        assert done.targets is not None
        sums, weights = done.targets[:, :-1], done.targets[:, -1:]
        return replace(done, targets=torch.cat([sums / torch.where(weights > 0, weights, 1), weights], 1))

    return mixed


def patch(images: Tensor, share: Tensor, centre: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Return where a patch of the area `1 - share` lies, true inside: `(height, width)`.

    Args:
        images: `(batch, channels, height, width)`.
        share: what is to be left of the image, a scalar from 0 to 1.
        centre: line and column, scalars; None: anywhere.
    """
    sides = zip(images.shape[2:], centre or (None, None), strict=True)
    lines, columns = (_span(images, size, (1 - share).sqrt(), place) for size, place in sides)
    return lines[:, None] & columns


def _span(images: Tensor, size: int, ratio: Tensor, centre: Tensor | None) -> Tensor:
    length = (size * ratio).long()
    place = torch.randint(size, (), device=images.device) if centre is None else centre
    positions = torch.arange(size, device=images.device)
    return (positions >= place - length // 2) & (positions < place + (length + 1) // 2)


def _pairs(batch: Batch) -> Tensor:
    rows = batch.inputs[0]
    return torch.randperm(len(rows), device=rows.device)


def _share(batch: Batch, alpha: float) -> Tensor:
    """Draw λ on the device of the batch, so that nothing waits for it."""
    rows = batch.inputs[0]
    shape = torch.full((), alpha, dtype=rows.dtype, device=rows.device)
    return Beta(shape, shape, validate_args=False).sample()


def _mixed_targets(targets: Tensor | None, order: Tensor, share: Tensor, num_classes: int | None) -> Tensor | None:
    if targets is None:
        return None
    if num_classes is not None and not targets.is_floating_point():
        targets = functional.one_hot(targets, num_classes)
    values = targets.to(share.dtype) if not targets.is_floating_point() else targets
    share = share.to(values.dtype)
    return share * values + (1 - share) * values[order]


def _check_numbers(name: str, batch: Batch) -> None:
    for tensor in batch.inputs:
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UsageError(f"{name} mixes numbers, and the inputs are {kind}, such as tokens: leave it out")


def _check_alpha(name: str, alpha: float) -> None:
    if not 0 < alpha < float("inf"):
        raise UsageError(f"{name} is {alpha}: give an alpha above 0, such as 0.2, or 0 for none")
