"""Drawn rows are those of scikit-learn, to the last one and in its order."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import reuse
from reuse.data.drawing import draw_rows


@pytest.mark.parametrize("seed", range(300))
def test_the_rows_of_train_test_split(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num_classes = int(rng.integers(1, 12))
    counts = rng.integers(2, 60, num_classes) if seed % 2 else np.full(num_classes, int(rng.integers(2, 30)))
    strata = rng.permutation(np.repeat(rng.permutation(50)[:num_classes], counts))
    rows = rng.permutation(5_000)[: len(strata)]
    count = int(rng.integers(num_classes, len(rows) - num_classes + 1))
    for given in (strata, None):
        ours = draw_rows(rows, count, given, seed)
        theirs = train_test_split(rows, test_size=count, random_state=seed, stratify=given)
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


def test_the_digits_are_scikit_learns() -> None:
    ours, theirs = reuse.load("digits", valid_fraction=0.0, test_fraction=0.0).train, load_digits()
    images = ours.inputs.gather(torch.arange(len(theirs.target)))[0]
    np.testing.assert_array_equal(images.numpy()[:, 0] * 16, theirs.images)
    np.testing.assert_array_equal(ours.targets.numpy(), theirs.target)
