"""scikit-learn's own checks of an estimator, all of them, with no failure expected."""

from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

from reuse.estimators.features import FrozenFeatures

ESTIMATORS = [
    FrozenFeatures("mlp:4", cache=False, precision="float64"),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_finds_nothing_wrong(estimator: Any, check: Any) -> None:
    check(estimator)
