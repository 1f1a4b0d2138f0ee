"""Mixing against timm's, the formulas of the papers, and what is mixed together."""

from types import ModuleType
from unittest.mock import patch as replaced

import numpy as np
import pytest
import torch
from scipy import stats
from timm.data import mixup as reference
from torch import Tensor, nn

from reuse.augmenting import mixing as mixing_module
from reuse.augmenting.mixing import CutMix, Mixup, augmented, mixing, patch
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.supervised import Classification, MultiLabel, Regression

MODULE: ModuleType = mixing_module
IMAGES = torch.rand(8, 3, 10, 14, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 5


def beta(_: Batch, __: float) -> Tensor:
    return torch.tensor(0.3)


def flipped(batch: Batch) -> Tensor:
    return torch.arange(len(batch.inputs[0])).flip(0)


def test_mixup_is_timms() -> None:
    with replaced.object(MODULE, "_share", beta), replaced.object(MODULE, "_pairs", flipped):
        found = Mixup(0.4, 5)(Batch((IMAGES,), LABELS))
    theirs = reference.Mixup(mixup_alpha=0.4, label_smoothing=0.0, num_classes=5)
    with replaced.object(np.random, "beta", lambda *_: 0.3):
        inputs, targets = theirs(IMAGES.clone(), LABELS)
    torch.testing.assert_close(found.inputs[0], inputs)
    torch.testing.assert_close(found.targets, targets)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.83, 1.0])
@pytest.mark.parametrize("centre", [(0, 0), (5, 7), (9, 13), (2, 12)])
def test_the_patch_is_timms_box(share: float, centre: tuple[int, int]) -> None:
    with replaced.object(np.random, "randint", side_effect=[5, 7]):
        (first, last, *_), _ = reference.cutmix_bbox_and_lam(IMAGES.shape, 0.5)
    if last - first != 7:
        pytest.skip("older timm leaves a line out of patches of odd sizes")
    with replaced.object(np.random, "randint", side_effect=list(centre)):
        (top, bottom, left, right), area = reference.cutmix_bbox_and_lam(IMAGES.shape, share)
    expected = torch.zeros(10, 14, dtype=torch.bool)
    expected[top:bottom, left:right] = True
    line, column = (torch.tensor(place) for place in centre)
    inside = patch(IMAGES.double(), torch.tensor(share, dtype=torch.float64), (line, column))
    assert torch.equal(inside, expected)
    assert 1 - inside.double().mean().item() == pytest.approx(area)


def test_cutmix_pastes_and_mixes_labels_by_area() -> None:
    torch.manual_seed(0)
    for _ in range(20):
        with replaced.object(MODULE, "_pairs", flipped):
            batch = CutMix(1.0, 5)(Batch((IMAGES,), LABELS))
        pasted = (batch.inputs[0] != IMAGES).any(1)
        assert torch.equal(batch.inputs[0].movedim(1, -1)[pasted], IMAGES.flip(0).movedim(1, -1)[pasted])
        assert bool((pasted == pasted[0]).all())  # one place for the batch
        left = 1 - pasted[0].double().mean()
        expected = left * nn.functional.one_hot(LABELS, 5) + (1 - left) * nn.functional.one_hot(LABELS.flip(0), 5)
        torch.testing.assert_close(batch.targets, expected.float())


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_are_beta_distributed(alpha: float) -> None:
    torch.manual_seed(0)
    rows = torch.eye(2, dtype=torch.float64)
    drawn = []
    while len(drawn) < 400:
        mixed = Mixup(alpha, 2)(Batch((rows,), torch.tensor([0, 1]))).inputs[0]
        if not torch.equal(mixed, rows):  # a row was mixed with itself
            drawn.append(float(mixed[0, 0]))
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 0.001


def test_all_inputs_are_mixed_by_the_same_share_and_pairs() -> None:
    first, second = torch.arange(6.0)[:, None], torch.arange(6.0)[:, None, None] * 10
    torch.manual_seed(0)
    batch = Mixup(1.0)(Batch((first, second), first * 100))
    torch.testing.assert_close(batch.inputs[1], batch.inputs[0][:, :, None] * 10)
    assert batch.targets is not None
    torch.testing.assert_close(batch.targets, batch.inputs[0] * 100)
    assert not torch.equal(batch.inputs[0], first)


def test_targets_of_every_task_stay_usable() -> None:
    torch.manual_seed(0)
    rows = torch.randn(6, 4)
    classes = Mixup(1.0, 4)(Batch((rows,), torch.arange(6) % 4))
    assert classes.targets is not None
    torch.testing.assert_close(classes.targets.sum(1), torch.ones(6))
    assert Classification(4, 0.1).losses(nn.Identity(), classes)["loss"].isfinite()
    labels = Mixup(1.0)(Batch((rows,), torch.randint(2, (6, 4))))
    assert MultiLabel().losses(nn.Identity(), labels)["loss"].isfinite()
    numbers = Mixup(1.0)(Batch((rows,), rows * 2 + 1))
    assert numbers.targets is not None
    torch.testing.assert_close(numbers.targets, numbers.inputs[0] * 2 + 1)
    assert Regression().losses(nn.Identity(), numbers)["loss"].isfinite()
    assert Mixup(1.0)(Batch((rows,))).targets is None
    twice = CutMix(1.0, 5)(Mixup(1.0, 5)(Batch((IMAGES,), LABELS)))
    assert twice.targets is not None
    torch.testing.assert_close(twice.targets.sum(1), torch.ones(8))


def test_mixed_loss_is_the_mean_of_the_losses() -> None:
    """Cross-entropy is linear in the target, so a mixed one costs the weighted mean of both labels."""
    with replaced.object(MODULE, "_share", beta), replaced.object(MODULE, "_pairs", flipped):
        mixed = Mixup(0.4, 5)(Batch((torch.randn(8, 5),), LABELS))
    (logits,) = mixed.inputs
    one, other = (nn.functional.cross_entropy(logits, labels) for labels in (LABELS, LABELS.flip(0)))
    torch.testing.assert_close(Classification(5).losses(nn.Identity(), mixed)["loss"], 0.3 * one + 0.7 * other)


def test_one_of_two_is_taken_for_each_batch() -> None:
    assert mixing(0.0, 0.0, 5) is None
    assert mixing(0.3, 0.0, 5) == Mixup(0.3, 5)
    assert mixing(0.0, 1.0, 5) == CutMix(1.0, 5)
    both = mixing(1.0, 1.0, 5)
    assert both is not None
    torch.manual_seed(1)
    found = [both(Batch((IMAGES,), LABELS)).inputs[0] for _ in range(300)]
    cut = sum(bool(torch.isin(batch, IMAGES).all()) for batch in found)  # pasted pixels are pixels of the batch
    assert cut / 300 == pytest.approx(0.5, abs=0.1)
    torch.manual_seed(1)
    assert torch.equal(both(Batch((IMAGES,), LABELS)).inputs[0], found[0])


def test_only_the_first_input_is_augmented() -> None:
    batch = Batch((torch.ones(3, 2), torch.ones(3)), torch.arange(3))
    found = augmented(lambda rows: rows * 2)(batch)
    assert found.inputs[0].eq(2).all()
    assert found.inputs[1] is batch.inputs[1]
    assert found.targets is batch.targets


def test_what_cannot_be_mixed_is_refused() -> None:
    with pytest.raises(UsageError, match=r"cutmix is for images .* got \(3, 2\): take mixup"):
        CutMix(1.0)(Batch((torch.zeros(3, 2),)))
    with pytest.raises(UsageError, match="cutmix"):
        CutMix(1.0)(Batch((IMAGES, IMAGES)))
    with pytest.raises(UsageError, match="int64, such as tokens"):
        Mixup(1.0)(Batch((torch.zeros(3, 2, dtype=torch.int64),)))
    for alpha in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="above 0"):
            mixing(alpha, 0.0, 3)
        with pytest.raises(UsageError, match="above 0"):
            mixing(0.0, alpha, 3)
