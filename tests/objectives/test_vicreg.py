"""VICReg: the three terms by loops, and where each is 0."""

import numpy as np
import pytest
import torch

from reuse.errors import UsageError
from reuse.objectives.vicreg import VicReg, lack_of_variance, redundancy
from view_outputs import BATCH, drawn, said


def test_the_terms_are_those_of_loops() -> None:
    first, second = drawn(2, 9, 4) / 2
    found = VicReg(invariance=2.0, variance=3.0, covariance=5.0).losses(said(first, second), BATCH)
    a, b = first.numpy(), second.numpy()
    alike = np.mean([(a[i, j] - b[i, j]) ** 2 for i in range(9) for j in range(4)])
    lack = 0.5 * sum(np.mean([max(0, 1 - np.sqrt(z[:, j].var(ddof=1) + 1e-4)) for j in range(4)]) for z in (a, b))
    common = 0.0
    for z in (a, b):
        covariances = np.cov(z.T)
        common += sum(covariances[i, j] ** 2 for i in range(4) for j in range(4) if i != j) / 4
    assert found["invariance"].item() == pytest.approx(2 * alike, rel=1e-9)
    assert found["variance"].item() == pytest.approx(3 * lack, rel=1e-9)
    assert found["covariance"].item() == pytest.approx(5 * common, rel=1e-9)


def test_nothing_lacks_at_unit_variance_nor_above() -> None:
    values = drawn(20, 4)
    standard = (values - values.mean(0)) / values.std(0)
    assert lack_of_variance(standard) == 0
    assert lack_of_variance(3 * standard) == 0
    assert lack_of_variance(standard / 2) > 0.4
    assert lack_of_variance(torch.ones(20, 4)).item() == pytest.approx(0.99), "collapsed"


def test_what_is_not_correlated_is_not_redundant() -> None:
    white = torch.linalg.qr(drawn(20, 4) - drawn(20, 4).mean(0)).Q
    assert redundancy(white) < 1e-20
    assert redundancy(torch.cat([white, white], 1)) > 0


def test_negative_weights_are_refused() -> None:
    with pytest.raises(UsageError, match="give 0 or more of all"):
        VicReg(variance=-1)
