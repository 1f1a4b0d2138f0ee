"""`PretrainedEncoder`: a network that learns from rows without labels, and gives what its layers make of them."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from reuse.estimators.features import FrozenFeatures
from reuse.estimators.networks import open_network
from reuse.estimators.parameters import parameters_of, seed_from, settings_from
from reuse.features.layer_outputs import LayerOutputs
from reuse.pretraining.pretrain import pretrain
from reuse.runs.results import Result
from reuse.seeding import untouched_random_state
from reuse.settings.commands import PretrainSettings
from reuse.settings.estimators import EncodingSettings, ExtractingSettings
from reuse.settings.setting import settings_of


@parameters_of(EncodingSettings)
class PretrainedEncoder(FrozenFeatures):
    """A transformer that is fitted to rows without labels by an objective of `reuse pretrain`, such as an autoencoder.

    It has to be fitted to rows in any case, so it fits their scale as well, as `reuse pretrain` does: columns are
    standardised, images brought to 0 to 1. Many rows without labels and few with: fit it to all of them, give the run
    that `out` keeps to `reuse.TransferClassifier`, or let it stand before any other estimator.

    Attributes:
        network_: the trained network, frozen, with the layers that are wanted.
        widths_: columns of each layer.
        result_: what is said of the training.
        n_features_in_: columns of the rows, or channels.
        feature_names_in_: names of the columns of a data frame.

    Example:
        >>> encoder = PretrainedEncoder("denoising_autoencoder", model="mlp:64,16").fit(unlabelled)  # doctest: +SKIP
        >>> SVC().fit(encoder.transform(x), y)  # doctest: +SKIP
    """

    settings_class = EncodingSettings

    def fit(self, X: Any, y: Any = None) -> "PretrainedEncoder":  # noqa: ARG002, N803 - scikit-learn's names
        """Pretrain the network.

        Args:
            X: rows, as `reuse.FrozenFeatures` takes them.
            y: not looked at.
        """
        self._fit(self._validated(X, reset=True))
        return self

    def _fit(self, rows: np.ndarray) -> None:
        settings: EncodingSettings = settings_from(self, EncodingSettings)
        with untouched_random_state(), tempfile.TemporaryDirectory(prefix="reuse-") as folder:
            out = Path(folder) / "run" if settings.out is None else Path(settings.out)
            self.result_ = _pretrained(rows, settings, out)
            opened = open_network(ExtractingSettings(out, trust=True), rows)
        self._adopt(LayerOutputs(opened.module, settings.layers, settings.pool), opened.preprocessing, rows)


def _pretrained(rows: np.ndarray, settings: EncodingSettings, out: Path) -> Result:
    shared = settings_of(PretrainSettings).keys() & settings_of(EncodingSettings).keys()
    given = {name: getattr(settings, name) for name in shared}
    seed = seed_from(settings.random_state)
    return pretrain(**given, data=(rows, None), test_fraction=0.0, seed=seed, out=out)
