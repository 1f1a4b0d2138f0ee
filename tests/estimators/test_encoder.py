"""PretrainedEncoder: fitted to rows without labels, by the objectives of `reuse pretrain`."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import reuse
from reuse.errors import UsageError

QUICK = {"model": "mlp:24,12", "epochs": 15, "random_state": 0}


def test_its_columns_tell_classes_that_it_was_not_told(digits, tmp_path):
    x, y = digits
    encoder = reuse.PretrainedEncoder(**QUICK).fit(x)
    model = make_pipeline(encoder, LogisticRegression(max_iter=1000))
    assert model.fit(x, y).score(x, y) > 0.8
    assert list(tmp_path.iterdir()) == []
    assert encoder.widths_ == (12,)


def test_it_is_what_pretrain_trains(digits, tmp_path):
    x, _ = digits
    kept = reuse.PretrainedEncoder(**QUICK, out=str(tmp_path / "kept")).fit(x)
    reuse.pretrain(data=(x, None), model="mlp:24,12", epochs=15, test_fraction=0.0, seed=0, out="other")
    own = reuse.FrozenFeatures("other", cache=False).fit(x)
    np.testing.assert_array_equal(kept.transform(x), own.transform(x))
    tuned = reuse.TransferClassifier(str(tmp_path / "kept"), freeze="hidden1", epochs=2).fit(x, digits[1])
    assert tuned.result_.restored == ("hidden1", "hidden2")


def test_folds_and_seeds_train_networks_of_their_own(digits):
    x, _ = digits
    encoder = reuse.PretrainedEncoder(**QUICK, layers="hidden1")
    first, again = encoder.fit_transform(x), clone(encoder).fit_transform(x)
    np.testing.assert_array_equal(first, again)
    assert (clone(encoder).set_params(random_state=1).fit_transform(x) != first).any()
    state = torch.random.get_rng_state()
    clone(encoder).fit(x)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_an_objective_that_needs_labels_is_refused(digits):
    with pytest.raises(UsageError, match="needs labels"):
        reuse.PretrainedEncoder("supervised", **QUICK).fit(digits[0])
