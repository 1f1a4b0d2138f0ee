"""Linear heads on features that nothing trains any more, chosen by folds of the labelled rows."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

import reuse
from reuse.data.dataset import Dataset, Split
from reuse.layers.weights import load_weights
from reuse.nn.decoders import encoder_of
from reuse.seeding import seed_everything

Features = Callable[[Tensor], np.ndarray]
"""From preprocessed inputs `(n, …)` to features `(n, num_features)`."""

PENALTIES = [1e-3, 1e-2, 1e-1, 1.0]  # inverse, of standardised features
FOLDS, MOST_STEPS, BLOCK = 5, 100, 500


def features_of(network: Mapping[str, Any], data: Dataset, *, run: str | None = None, seed: int = 0) -> Features:
    """Return what an encoder computes, frozen: as a run has left it, or as it is drawn.

    Args:
        network: `model` and what else `reuse.build` is to know of it, as it was pretrained.
        data: whose rows it takes.
        run: of a pretraining; None: untrained.
        seed: of the weights of an untrained one.
    """
    seed_everything(seed)
    settings = {name: value for name, value in network.items() if name != "model"}
    encoder = encoder_of(reuse.build(network["model"], data.input_shape, max(data.num_outputs, 2), **settings))
    if run is not None:
        saved = load_weights(Path(run) / "weights.safetensors")  # with an output layer where labels were learned
        encoder.load_state_dict({name: saved[name] for name in encoder.state_dict()})
    return lambda inputs: _computed(encoder.eval(), inputs)


@torch.no_grad()
def _computed(encoder: nn.Module, inputs: Tensor) -> np.ndarray:
    found: np.ndarray = torch.cat([encoder(block).flatten(1) for block in torch.split(inputs, BLOCK)]).numpy()
    return found


def rows_of(split: Split) -> tuple[Tensor, np.ndarray]:
    """Return the inputs and the class numbers of some rows."""
    inputs = split.inputs.resident()
    assert inputs is not None
    assert split.targets is not None
    return inputs, split.targets.numpy()


def score_linear(labelled: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the test accuracy of a multinomial logistic regression on features.

    Penalty and scale (of each feature, or one for all) are those that five folds of the labelled rows validate best;
    with them it is fitted to all of these. Test rows choose nothing.

    Args:
        labelled: features `(rows, num_features)` and class numbers.
        test: the same.
    """
    x, y = labelled
    folds = StratifiedKFold(min(FOLDS, int(np.bincount(y).min())), shuffle=True, random_state=0)
    searches = []
    for each in (True, False):
        rotated, rotate = _rotated(x, each)
        heads = GridSearchCV(LogisticRegression(max_iter=MOST_STEPS), {"C": PENALTIES}, cv=folds)
        searches.append((heads.fit(rotated, y), rotate))
    best, rotate = max(searches, key=lambda pair: float(pair[0].best_score_))
    return float(best.score(rotate(test[0]), test[1]))


def _rotated(x: np.ndarray, each: bool) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Return features in the standard scale, in the coordinates of their own span, and what takes others there.

    A penalised regression is the same in any rotation, and rows are fewer than features where labels are few.
    """
    scaler = StandardScaler(with_std=each).fit(x)
    scale = 1.0 if each else float(np.sqrt(x.var(0).mean()))
    standard = scaler.transform(x) / scale
    axes = np.linalg.svd(standard, full_matrices=False)[2].T
    return standard @ axes, lambda others: scaler.transform(others) / scale @ axes
