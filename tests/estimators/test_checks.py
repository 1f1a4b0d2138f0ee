"""scikit-learn's own checks of an estimator, all of them, with no failure expected."""

from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

from reuse.estimators.classifier import TransferClassifier
from reuse.estimators.encoder import PretrainedEncoder
from reuse.estimators.features import FrozenFeatures
from reuse.estimators.regressor import TransferRegressor

# Each fit sees all rows at once: a check wants repeated rows to count as rows of double weight do.
QUICK = {"epochs": 15, "batch_size": 512, "learning_rate": 0.03, "valid_fraction": 0.0, "precision": "float64"}
ESTIMATORS = [
    FrozenFeatures("mlp:4", cache=False, precision="float64"),
    FrozenFeatures("mlp:4", precision="float64"),
    PretrainedEncoder("autoencoder", model="mlp:4", **QUICK),
    TransferClassifier("mlp:8", **QUICK),
    TransferRegressor("mlp:8", **QUICK),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_finds_nothing_wrong(estimator: Any, check: Any) -> None:
    check(estimator)
