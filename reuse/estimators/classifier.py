"""`TransferClassifier`: a network fine-tuned for classes, from layers that are already trained."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from reuse.estimators.parameters import parameters_of
from reuse.estimators.transfer import TransferEstimator
from reuse.estimators.tuning import LabelledRows
from reuse.settings.estimators import TransferClassifierSettings


@parameters_of(TransferClassifierSettings)
class TransferClassifier(ClassifierMixin, TransferEstimator):  # type: ignore[misc]
    """A classifier whose network begins with the layers of a source, some of them frozen.

    It is trained as `reuse finetune` trains. Rows are taken as they are, or as the source's own were prepared (see
    `reuse.FrozenFeatures`), so that what frozen layers compute of a row is the same in all folds and candidates: it is
    computed once and found in the cache after that, when it predicts too. No run folder is left unless `out` names one.

    Attributes:
        classes_: the classes, sorted.
        network_: the trained network.
        result_: what is said of the training: its epochs, metrics and seconds, and what it found in the cache.
        n_features_in_: columns of the rows, or channels.
        feature_names_in_: names of the columns of a data frame.

    Example:
        >>> TransferClassifier("runs/pretrained", freeze="hidden1").fit(x, y).predict_proba(x_new)  # doctest: +SKIP
    """

    settings_class = TransferClassifierSettings

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "TransferClassifier":  # noqa: N803 - scikit-learn's
        """Fine-tune the source.

        Args:
            X: rows, as `reuse.FrozenFeatures` takes them.
            y: the class of each row.
            sample_weight: how much each row counts in the loss; None: all alike.

        Raises:
            ValueError: there are fewer than two classes, or something is no array that can be learned from.
        """
        rows, labels, weights = self._validated(X, y, sample_weight)
        labels = column_or_1d(labels, warn=True)
        check_classification_targets(labels)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds one class, {self.classes_[0]}: a classifier needs rows of two or more")
        self._tune(LabelledRows(rows, numbers.astype(np.int64), weights, "classification"))
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the class of each row, `(rows,)`.

        Args:
            X: rows.
        """
        most_probable = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[most_probable])

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the probability of each class, `(rows, classes)`, in the order of `classes_`.

        Args:
            X: rows.
        """
        return self._outputs(X)
