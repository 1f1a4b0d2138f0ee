"""The part that the classifier and the regressor share: rows in, a network fine-tuned on them, outputs out."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from reuse.estimators.naming import order_of, with_names
from reuse.estimators.parameters import seed_from, settings_from
from reuse.estimators.predicting import predict_rows
from reuse.estimators.tuning import LabelledRows, tune_on
from reuse.settings.estimators import TransferSettings


class TransferEstimator(BaseEstimator):  # type: ignore[misc]
    """An estimator that fine-tunes a network: for the classifier and the regressor, whose parameters these are."""

    settings_class: type[TransferSettings] = TransferSettings
    _order: np.ndarray | None = None  # of a frame's columns, where the source knows them by name

    def _validated(self, x: Any, y: Any, weights: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return rows, targets and weights as arrays, without rows that weigh nothing."""
        rows, targets = validate_data(
            self, with_names(x), y, allow_nd=True, dtype="numeric", y_numeric=False, multi_output=True
        )
        self._order = order_of(self)
        rows = rows if self._order is None else rows[:, self._order]
        if weights is None:
            return rows, targets, None
        weights = _check_sample_weight(weights, rows, dtype=np.float64, ensure_non_negative=True)
        counts = weights > 0
        return rows[counts], targets[counts], weights[counts]

    def _tune(self, rows: LabelledRows) -> None:
        settings = settings_from(self, self.settings_class)
        tuned = tune_on(rows, settings, seed_from(settings.random_state))
        self._model, self.result_, self.network_ = tuned.model, tuned.result, tuned.model.network

    def _outputs(self, x: Any) -> np.ndarray:
        check_is_fitted(self)
        rows = validate_data(self, with_names(x), reset=False, allow_nd=True, dtype="numeric")
        rows = rows if self._order is None else rows[:, self._order]
        return predict_rows(self._model, rows, settings_from(self, self.settings_class)).numpy()
