"""`TransferRegressor`: a network fine-tuned for numbers, from layers that are already trained."""

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from reuse.estimators.parameters import parameters_of
from reuse.estimators.transfer import TransferEstimator
from reuse.estimators.tuning import LabelledRows
from reuse.settings.estimators import TransferSettings


@parameters_of(TransferSettings)
class TransferRegressor(RegressorMixin, TransferEstimator):  # type: ignore[misc]
    """A regressor whose network begins with the layers of a source, some of them frozen.

    It is trained as `reuse finetune` trains: the numbers are learned in a standard scale and predicted in their own.
    Rows, the cache and run folders are as for `reuse.TransferClassifier`.

    Attributes:
        network_: the trained network.
        result_: what is said of the training: its epochs, metrics and seconds, and what it found in the cache.
        n_features_in_: columns of the rows, or channels.
        feature_names_in_: names of the columns of a data frame.

    Example:
        >>> TransferRegressor("runs/pretrained", freeze="hidden1").fit(x, y).predict(x_new)  # doctest: +SKIP
    """

    settings_class = TransferSettings

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "TransferRegressor":  # noqa: N803 - scikit-learn's
        """Fine-tune the source.

        Args:
            X: rows, as `reuse.FrozenFeatures` takes them.
            y: one number a row, or several `(rows, outputs)`.
            sample_weight: how much each row counts in the loss; None: all alike.
        """
        rows, numbers, weights = self._validated(X, y, sample_weight)
        numbers = np.asarray(numbers, dtype=np.float64)
        self._is_flat = numbers.ndim == 1
        self._tune(LabelledRows(rows, numbers.reshape(len(numbers), -1), weights, "regression"))
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the number of each row, `(rows,)`, or several, `(rows, outputs)`.

        Args:
            X: rows.
        """
        outputs = self._outputs(X)
        return outputs[:, 0] if self._is_flat else outputs

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn wants to know: several numbers a row can be learned."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
