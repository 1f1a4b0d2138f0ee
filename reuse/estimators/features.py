"""`FrozenFeatures`: what layers that are already trained compute, as columns for any estimator of scikit-learn."""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from reuse.caching.cache import ActivationCache
from reuse.data.inputs import Inputs
from reuse.data.preprocessing import Preprocessing
from reuse.devices import Compute, choose_device
from reuse.estimators.holding import OpenedNetwork, copied, forget, held, hold, made_of, state_of, still_holds
from reuse.estimators.naming import order_of, with_names
from reuse.estimators.networks import open_network
from reuse.estimators.parameters import parameters_of, seed_from, settings_from
from reuse.estimators.rows import prepared
from reuse.features.cutting import SAMPLE_ROWS
from reuse.features.extracting import Extraction, compute_outputs
from reuse.features.layer_outputs import LayerOutputs
from reuse.paths import cache_folder
from reuse.runs.raw_rows import prepare
from reuse.seeding import seed_everything, untouched_random_state
from reuse.settings.estimators import ExtractingSettings

EXAMPLE_ROWS = 2
SOME_ROWS = 32  # among which a few are looked for that are stored


@parameters_of(ExtractingSettings)
class FrozenFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The outputs of layers of a trained network as columns, before an SVM, neighbours or boosting.

    Rows are arrays `(rows, columns)`, `(rows, [channels,] height, width)` or `(rows, steps, columns)`, or data frames.
    They are prepared as the source's own were, a run's or timm's; for any other network they are taken as they are, but
    for bytes of images, which become 0 to 1: scale columns before it, in a pipeline. Nothing is fitted to the rows, so
    each row is computed once, in all folds, candidates and processes, and found in the cache after that.

    Attributes:
        network_: the network, frozen, with the layers that are wanted.
        widths_: columns of each layer.
        n_features_in_: columns of the rows, or channels.
        feature_names_in_: names of the columns of a data frame.

    Example:
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.svm import SVC
        >>> model = make_pipeline(FrozenFeatures("timm:resnet18"), SVC()).fit(photos, labels)  # doctest: +SKIP
    """

    settings_class: type[ExtractingSettings] = ExtractingSettings
    widths_: tuple[int, ...]
    _network: LayerOutputs
    _extraction: Extraction | None
    _order: np.ndarray | None = None  # of a frame's columns, where the source knows them by name
    _held: OpenedNetwork | None  # whose network this is as long as nobody has asked for one of their own
    _state: str | None  # of the network since somebody has it, who may change it; None: nobody has

    @property
    def network_(self) -> LayerOutputs:
        """The network, which is nobody else's and may be changed: what it gives then is computed anew."""
        check_is_fitted(self)
        if self._held is not None:
            self._network, self._held = copied(self._held), None
        if self._state is None:
            self._state = state_of(self._network, self._compute)
        return self._network

    def fit(self, X: Any, y: Any = None) -> "FrozenFeatures":  # noqa: ARG002, N803 - scikit-learn's names
        """Open the network, and find its layers on a few rows.

        Args:
            X: rows.
            y: not looked at.
        """
        self._fit(self._validated(X, reset=True))
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the outputs of the layers, `(rows, columns)`.

        Args:
            X: rows.
        """
        check_is_fitted(self)
        return self._transformed(self._validated(X, reset=False))

    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: ARG002, N803 - scikit-learn's names
        """Return what `transform` does after `fit`; the rows are looked through once.

        Args:
            X: rows.
            y: not looked at.
        """
        rows = self._validated(X, reset=True)
        self._fit(rows)
        return self._transformed(rows)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:  # noqa: ARG002 - scikit-learn's
        """Return the name of each column: that of its layer, and its number there."""
        check_is_fitted(self)
        layers = zip(self._network.names, self.widths_, strict=True)
        return np.array([f"{name}_{number}" for name, width in layers for number in range(width)], dtype=object)

    def _validated(self, x: Any, *, reset: bool) -> np.ndarray:
        rows: np.ndarray = validate_data(self, with_names(x), reset=reset, allow_nd=True, dtype="numeric")
        if reset:
            self._order = order_of(self)
        return rows if self._order is None else rows[:, self._order]

    def _fit(self, rows: np.ndarray) -> None:
        settings: ExtractingSettings = settings_from(self, ExtractingSettings)
        with untouched_random_state():
            seed_everything(seed_from(settings.random_state))
            made = made_of(vars(settings), rows, Compute(choose_device(self.device), self.precision))
            if self._took(held(made), rows):
                return
            opened = open_network(settings, rows)
        self._adopt(LayerOutputs(opened.module, settings.layers, settings.pool), opened.preprocessing, rows)
        if made is not None and self._extraction is not None:
            own = OpenedNetwork(made, self._network, self._preprocessing, self.widths_, self._extraction)
            self._held = own if hold(own) else None

    def _transformed(self, rows: np.ndarray) -> np.ndarray:
        prepared_rows = prepare(rows, self._preprocessing)
        with untouched_random_state():
            return np.asarray(self._computed(prepared_rows))

    def _took(self, opened: OpenedNetwork | None, rows: np.ndarray) -> bool:
        """Take what is held, as long as it computes what is stored; return whether it was taken."""
        if opened is None:
            return False
        some = np.sort(np.random.default_rng().permutation(len(rows))[:SOME_ROWS])
        if not still_holds(opened, prepare(rows[some], opened.preprocessing)):
            forget()
            return False
        self._preprocessing, self._compute = opened.preprocessing, Compute(choose_device(self.device), self.precision)
        self._network, self._held, self._state = opened.outputs, opened, None
        self.widths_, self._extraction = opened.widths, opened.extraction
        return True

    def _adopt(self, outputs: LayerOutputs, preprocessing: Preprocessing, rows: np.ndarray) -> None:
        """Take a network with its layers, on its device and in its type, and note what it gives."""
        self._preprocessing, self._compute = preprocessing, Compute(choose_device(self.device), self.precision)
        self._network = outputs.requires_grad_(False).to(self._compute.device, self._compute.dtype).eval()
        example = prepared(rows[:EXAMPLE_ROWS], preprocessing)
        self.widths_ = self._network.measure(example.to(self._compute.device, self._compute.dtype))
        self._extraction = self._held = self._state = None
        if self.cache:
            self._open(prepare(rows[:SAMPLE_ROWS], preprocessing))

    def _computed(self, rows: Inputs) -> torch.Tensor:
        if not self.cache:
            return compute_outputs(self._network, rows, self._compute)
        if self._extraction is None or self._is_changed():  # it was pickled, or somebody has changed it
            self._open(rows)
        assert self._extraction is not None
        return self._extraction(rows)

    def _is_changed(self) -> bool:
        return self._state is not None and self._state != state_of(self._network, self._compute)

    def _open(self, rows: Inputs) -> None:
        budget = settings_from(self, self.settings_class).cache_budget
        opened = ActivationCache(cache_folder(self.cache_dir), budget)
        preparation, stored = self._preprocessing, self.cache_dtype
        self._extraction = Extraction(self._network, rows, preparation, self._compute, opened, stored)
        self._state = None if self._state is None else state_of(self._network, self._compute)

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn wants to know: columns are of the type that the network computes in."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: not the opened cache, and a network of its own."""
        if getattr(self, "_held", None) is not None:
            _ = self.network_
        state: dict[str, Any] = super().__getstate__()
        return state | {"_extraction": None}
