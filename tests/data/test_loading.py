"""Loading: what a data set says of itself."""

import numpy as np

from reuse.data.loading import load

RNG = np.random.default_rng(0)


def test_a_summary_names_the_classes_and_counts_rows() -> None:
    x, y = RNG.random((20, 3)), np.repeat(["cat", "dog"], [12, 8])
    data = load((x, y), test_fraction=0.25, valid_fraction=0)
    assert data.summary == "arrays: 2 classes (cat 12, dog 8); rows: 15 train, 0 valid, 5 test"


def test_a_summary_of_labels_numbers_and_nothing() -> None:
    x = RNG.random((10, 3))
    labels = np.zeros((10, 2), int)
    labels[:7, 0] = labels[:3, 1] = 1
    assert "2 labels (0 7, 1 3)" in load((x, labels)).summary
    assert load((x, RNG.random((10, 2)))).summary.startswith("arrays: 2 numbers a row; rows: 6 train, 2 valid")
    assert "no labels" in load((x, None)).summary


def test_a_summary_of_many_classes_names_some() -> None:
    data = load((RNG.random((300, 2)), np.arange(300) % 60))
    assert "60 classes (0 5, 1 5, " in data.summary
    assert ", …)" in data.summary
