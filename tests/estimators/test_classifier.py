"""TransferClassifier: what `reuse finetune` trains, as an estimator; frozen rows computed once in a whole search."""

import pickle

import numpy as np
import pytest
import sklearn
import torch
from safetensors.torch import load_file
from sklearn.base import clone
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import reuse
from reuse.errors import UnknownNameError, UsageError

QUICK = {"epochs": 30, "learning_rate": 0.02, "random_state": 0}


def test_it_learns_digits_from_a_run_in_a_pipeline(digits, tmp_path):
    x, y = digits
    scaled = StandardScaler().fit_transform(x)
    reuse.pretrain(data=(scaled, None), model="mlp:32,16", epochs=10, out="encoder")
    model = make_pipeline(StandardScaler(), reuse.TransferClassifier("encoder", freeze="hidden1", **QUICK))
    names = np.array([f"digit {number}" for number in range(10)])
    model.fit(x, names[y])
    assert model.score(x, names[y]) > 0.9
    classifier = model[-1]
    assert list(classifier.classes_) == sorted(names)
    assert classifier.result_.frozen == ("hidden1",)
    weights = load_file(tmp_path / "encoder" / "weights.safetensors")
    own = {name: tensor for name, tensor in classifier.network_.state_dict().items() if name.startswith("hidden1.")}
    assert own
    assert all(torch.equal(tensor, weights[name]) for name, tensor in own.items())
    np.testing.assert_allclose(model.predict_proba(x).sum(1), 1, rtol=1e-5)
    assert {path.name for path in tmp_path.iterdir()} == {"encoder", "cache"}


def test_it_predicts_what_the_network_gives(network, digits):
    x, y = digits
    model = reuse.TransferClassifier(network, freeze="body", **QUICK).fit(x, y)
    with torch.no_grad():
        expected = model.network_.eval()(torch.from_numpy(x).float()).softmax(1)
    np.testing.assert_allclose(model.predict_proba(x), expected.numpy(), rtol=1e-4, atol=1e-6)
    assert model.network_.head.out_features == 10
    assert torch.equal(model.network_.body.weight, network.body.weight)
    assert network.head.out_features == 5


def test_a_search_computes_frozen_rows_once_training_and_predicting(network, digits, computed):
    grid = {"learning_rate": [0.01, 0.02], "epochs": [2, 4]}
    search = GridSearchCV(reuse.TransferClassifier(network, freeze="body,norm", random_state=0), grid, cv=3)
    search.fit(*digits)
    assert sum(computed) == len(digits[0])
    uncached = clone(search).set_params(estimator__cache=False).fit(*digits)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], uncached.cv_results_["mean_test_score"], atol=0.005
    )


def test_weights_of_rows_are_routed_to_it(network, digits):
    x, y = digits
    classes, counts = y < 5, np.where(y < 5, 1.0, 0.0)
    model = reuse.TransferClassifier(network, **QUICK)
    weighted = clone(model).fit(x, y, sample_weight=counts)
    assert list(weighted.classes_) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(weighted.predict(x), clone(model).fit(x[classes], y[classes]).predict(x))
    with sklearn.config_context(enable_metadata_routing=True):
        routed = clone(model).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        asked = get_scorer("accuracy").set_score_request(sample_weight=True)
        given = {"params": {"sample_weight": counts}, "cv": 2, "error_score": "raise"}
        by_itself = cross_validate(routed, x, y, **given)
        # scikit-learn 1.6 asks no pipeline for what its `score` takes, its own estimators' neither
        in_pipeline = cross_validate(make_pipeline(scaler, routed), x, y, scoring=asked, **given)
    for scores in (by_itself, in_pipeline):
        assert scores["test_score"].min() > 0.8


def test_a_fitted_one_needs_nothing_beside_its_pickle(network, digits):
    model = reuse.TransferClassifier(network, freeze="body", **QUICK).fit(*digits)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(digits[0]), model.predict_proba(digits[0]))


def test_pictures_train_the_upper_layers_of_a_timm_model(pictures):
    y = np.arange(len(pictures)) % 2
    model = reuse.TransferClassifier("timm:test_resnet", freeze="!fc", random_weights=True, random_state=0, epochs=2)
    model.fit(pictures, y)
    assert model.predict_proba(pictures).shape == (20, 2)
    assert model.result_.cache["rows"] == {"computed": 20, "found": 0}


def test_a_run_folder_is_kept_where_one_is_named(network, digits, tmp_path):
    reuse.TransferClassifier("mlp:8", epochs=1, out=str(tmp_path / "kept")).fit(*digits)
    assert reuse.load_model(tmp_path / "kept").predict_proba(digits[0]).shape == (240, 10)


def test_what_cannot_be_taken_is_said(network, digits):
    x, y = digits
    with pytest.raises(UnknownNameError, match="unknown setting 'epoch': it is called epochs here"):
        reuse.TransferClassifier("mlp:8", epoch=3)
    with pytest.raises(UsageError, match="epochs is 0: give a whole number of 1 or more"):
        reuse.TransferClassifier("mlp:8", epochs=0).fit(x, y)
    with pytest.raises(UsageError, match="activation is for layers that are built, and the source is a module"):
        reuse.TransferClassifier(network, activation="relu").fit(x, y)
    with pytest.raises(UsageError, match="model is 'mlp:4', and the source is a module: give one of the two"):
        reuse.TransferClassifier(network, model="mlp:4").fit(x, y)
    with pytest.raises(ValueError, match="y holds one class, 3: a classifier needs rows of two or more"):
        reuse.TransferClassifier("mlp:8").fit(x, np.full(len(x), 3))


def test_a_module_without_an_output_layer_is_refused(digits):
    with pytest.raises(UsageError, match="no linear or convolutional layer"):
        reuse.TransferClassifier(nn.Sequential(nn.ReLU())).fit(*digits)


@pytest.mark.parametrize("made", [reuse.TransferClassifier, reuse.FrozenFeatures])
def test_an_estimator_is_no_source_and_its_network_is(made, digits):
    learned = reuse.TransferClassifier("mlp:8", epochs=1, random_state=0).fit(*digits)
    with pytest.raises(UsageError, match=r"source is of type TransferClassifier: .* its network_"):
        made(learned).fit(*digits)
    assert made(learned.network_).fit(*digits).n_features_in_ == digits[0].shape[1]
