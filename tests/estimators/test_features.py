"""FrozenFeatures: the network's own outputs, each row computed once, whatever scikit-learn does with it."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import timm
import torch
from joblib import parallel_config
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import reuse
from reuse.caching.cache import ActivationCache
from reuse.errors import CutError, UnknownNameError, UsageError
from reuse.estimators.rows import prepared
from reuse.features import extracting
from reuse.features.extracting import Extraction
from reuse.paths import cache_folder


def test_features_are_what_the_output_layer_takes(network, digits):
    x, _ = digits
    found = reuse.FrozenFeatures(network).fit_transform(x)
    with torch.no_grad():
        expected = network.eval()[:-1](torch.from_numpy(x).float())
    np.testing.assert_array_equal(found, expected.numpy())


def test_several_layers_stand_side_by_side_under_their_names(network, digits):
    x, _ = digits
    features = reuse.FrozenFeatures(network, layers=["head", "a*"]).set_output(transform="pandas")
    found = features.fit_transform(x)
    rows = torch.from_numpy(x).float()
    with torch.no_grad():
        network.eval()
        expected = torch.cat([network(rows), network[:2](rows)], 1)
    np.testing.assert_allclose(found.to_numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    assert list(found.columns[[0, 5, 36]]) == ["head_0", "act_0", "act_31"]
    assert features.widths_ == (5, 32)


def test_maps_are_pooled_over_their_places(pictures):
    torch.manual_seed(0)
    maps = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 30 * 30, 2))
    with torch.no_grad():
        outputs = maps[:2](torch.from_numpy(pictures).float() / 255)
    expected = {"mean": outputs.mean((2, 3)), "max": outputs.amax((2, 3)), "flatten": outputs.movedim(1, -1).flatten(1)}
    for pool, own in expected.items():
        found = reuse.FrozenFeatures(maps, layers="1", pool=pool, cache=False).fit_transform(pictures)
        np.testing.assert_allclose(found, own.numpy(), rtol=1e-4, atol=1e-5)


def test_timm_says_how_its_models_see_pictures(pictures):
    features = reuse.FrozenFeatures("timm:resnet18", random_weights=True, random_state=1, cache=False)
    found = features.fit_transform(pictures[:4])
    scale = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg("resnet18").to_dict())
    mean, std = (torch.tensor(scale[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        model = features.network_.model
        pooled = model.global_pool(model.forward_features((torch.from_numpy(pictures[:4]) / 255 - mean) / std))
    np.testing.assert_allclose(found, pooled.numpy(), rtol=1e-4, atol=1e-5)


def test_a_pass_ends_at_the_last_layer_that_is_wanted(network, digits):
    ended = reuse.FrozenFeatures(network, layers="act", cache=False).fit(digits[0])
    ended.network_.model.norm = None  # calling it would fail
    assert ended.transform(digits[0]).shape == (240, 32)


def test_one_output_a_step_is_pooled_over_steps():
    torch.manual_seed(0)
    steps = nn.Sequential(nn.GRU(4, 6, batch_first=True))
    steps.append(nn.Linear(6, 2))
    x = np.random.default_rng(0).normal(size=(9, 5, 4)).astype(np.float32)
    with torch.no_grad():
        expected = steps[0](torch.from_numpy(x))[0]
    for pool, own in (("mean", expected.mean(1)), ("last", expected[:, -1])):
        found = reuse.FrozenFeatures(steps[:1].append(nn.Identity()), layers="0", pool=pool).fit_transform(x)
        np.testing.assert_allclose(found, own.numpy(), rtol=1e-5, atol=1e-6)


def test_a_search_over_twelve_heads_computes_each_picture_once(computed):
    pictures = np.random.default_rng(0).integers(0, 256, (10, 3, 64, 64), dtype=np.uint8)
    features = reuse.FrozenFeatures("timm:test_resnet", random_weights=True, random_state=0)
    grid = {"kneighborsclassifier__n_neighbors": [1, 2, 3, 4], "kneighborsclassifier__p": [1, 2, 3]}
    search = GridSearchCV(make_pipeline(features, KNeighborsClassifier()), grid, cv=5, error_score="raise")
    search.fit(pictures, np.arange(10) % 2)
    assert len(search.cv_results_["params"]) == 12
    assert sum(computed) == len(pictures)


def test_the_cache_changes_no_score(network, digits, computed):
    model = make_pipeline(reuse.FrozenFeatures(network), LogisticRegression(max_iter=500))
    grid = {"logisticregression__C": [0.1, 10]}
    search = GridSearchCV(model, grid, cv=3).fit(*digits)
    assert sum(computed) == len(digits[0])
    assert search.best_score_ > 0.7
    plain = reuse.FrozenFeatures(network, cache=False)
    uncached = GridSearchCV(make_pipeline(plain, LogisticRegression(max_iter=500)), grid, cv=3).fit(*digits)
    np.testing.assert_allclose(
        uncached.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"], atol=1e-9
    )


def test_processes_share_what_was_computed(network, digits, computed):
    model = make_pipeline(reuse.FrozenFeatures(network), KNeighborsClassifier())
    cross_val_score(model, *digits, cv=3, n_jobs=2)
    model.fit(*digits)
    assert sum(computed) == 0
    assert [entry.rows for entry in ActivationCache(cache_folder()).entries()] == [len(digits[0])]


def test_another_weight_is_another_feature(network, digits, computed):
    x, _ = digits
    before = reuse.FrozenFeatures(network).fit_transform(x)
    with torch.no_grad():
        network.body.weight[0, 30] += 1
    after = reuse.FrozenFeatures(network).fit_transform(x)
    assert computed == [240, 240]
    assert (before[:, 0] != after[:, 0]).any()
    np.testing.assert_array_equal(before[:, 1:], after[:, 1:])


def test_the_given_network_is_left_as_it_is(network, digits):
    network.train()
    features = reuse.FrozenFeatures(network)
    features.fit_transform(digits[0])
    assert features.source is network
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())
    copied = clone(features)
    assert copied.source is not network
    np.testing.assert_array_equal(copied.fit_transform(digits[0]), features.transform(digits[0]))


def test_what_was_pickled_finds_the_rows_that_were_computed_before(network, digits, computed):
    features = reuse.FrozenFeatures(network).fit(digits[0])
    again = pickle.loads(pickle.dumps(features))
    found = features.transform(digits[0])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(features)).transform(digits[0]), found)
    np.testing.assert_array_equal(again.transform(digits[0]), found)
    assert sum(computed) == len(digits[0])


def test_rows_that_depend_on_each_other_are_refused(digits):
    class Centred(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(64, 4)

        def forward(self, inputs):
            return self.head(inputs - inputs.mean(0))

    with pytest.raises(CutError):
        reuse.FrozenFeatures(Centred()).fit_transform(digits[0])


def test_what_was_pickled_needs_neither_source_nor_cache(digits, tmp_path):
    x, y = digits
    run = reuse.pretrain("supervised", data=(x, y), model="mlp:12,8", epochs=2, out="trained").run
    features = reuse.FrozenFeatures(run, layers="hidden1", cache_dir=tmp_path / "own").fit(x)
    found = features.transform(x)
    kept = pickle.dumps(features)
    for folder in (tmp_path / "trained", tmp_path / "own"):
        folder.rename(folder.with_name(f"no-{folder.name}"))
    np.testing.assert_array_equal(pickle.loads(kept).transform(x), found)


def test_a_run_prepares_rows_as_it_did(digits):
    x, y = digits
    reuse.pretrain("supervised", data=(x, y), model="mlp:12,8", epochs=2, out="trained")
    model = reuse.load_model("trained")
    with torch.no_grad():
        prepared = StandardScaler().fit(x[reuse.load((x, y)).train.rows]).transform(x)
        hidden = model.network.hidden1(torch.from_numpy(prepared).float())
    found = reuse.FrozenFeatures("trained", layers="hidden1").fit_transform(x)
    np.testing.assert_allclose(found, hidden.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("library", [pd, pl])
def test_frames_give_names_and_get_frames(network, digits, library):
    x, _ = digits
    frame = library.DataFrame({f"pixel{number}": x[:, number] for number in range(64)})
    features = reuse.FrozenFeatures(network).set_output(transform=library.__name__).fit(frame)
    assert features.feature_names_in_[1] == "pixel1"
    found = features.transform(frame)
    assert isinstance(found, library.DataFrame)
    assert list(found.columns)[:2] == ["features_0", "features_1"]


def test_nothing_is_left_in_the_working_folder(network, digits, tmp_path):
    reuse.FrozenFeatures(network, cache_dir=tmp_path / "own").fit_transform(digits[0])
    reuse.FrozenFeatures(network, cache=False).fit_transform(digits[0])
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


def test_a_layer_that_is_not_there_is_named(network, digits):
    with pytest.raises(UnknownNameError, match=r"pattern 'body_' matches no layer: did you mean 'body'"):
        reuse.FrozenFeatures(network, layers="body_").fit(digits[0])
    network.aside = nn.Linear(2, 2)
    with pytest.raises(UnknownNameError, match="unknown pooling 'average'"):
        reuse.FrozenFeatures(network, layers="body", pool="average").fit(digits[0])
    aside = nn.Module()
    aside.used, aside.unused = nn.Linear(64, 3), nn.Linear(64, 3)
    aside.forward = aside.used.forward
    with pytest.raises(UsageError, match="layer 'unused' is not called when the model runs: choose another"):
        reuse.FrozenFeatures(aside, layers="unused").fit(digits[0])


class TestSearches:
    """One network is opened for all fits of a search, and whatever changes meanwhile is seen."""

    @pytest.fixture
    def features(self):
        return reuse.FrozenFeatures("timm:test_resnet", random_weights=True, random_state=0)

    @pytest.fixture
    def opened(self, monkeypatch):
        """How often a cache was opened."""
        monkeypatch.setattr("reuse.estimators.holding._last", [])
        counts, own = [], Extraction.__init__
        monkeypatch.setattr(Extraction, "__init__", lambda self, *given: (counts.append(1), own(self, *given))[1])
        return counts

    def test_equal_fits_open_one_network_and_have_one_each(self, features, pictures, opened, computed):
        every = [clone(features).fit(pictures) for _ in range(3)]
        found = [one.transform(pictures) for one in every]
        assert (len(opened), sum(computed)) == (1, len(pictures))
        np.testing.assert_array_equal(found[0], found[2])
        own = [{id(tensor) for tensor in one.network_.parameters()} for one in every]
        assert len(own[0] | own[1] | own[2]) == 3 * len(own[0])
        again = pickle.loads(pickle.dumps(every[1])).transform(pictures)
        np.testing.assert_array_equal(again, found[0])
        assert sum(computed) == len(pictures)

    def test_a_fit_whose_rows_are_stored_runs_the_network_once(self, features, pictures, opened, computed, monkeypatch):
        clone(features).fit_transform(pictures)
        passes, own = [], extracting.run_frozen
        monkeypatch.setattr(extracting, "run_frozen", lambda *given: (passes.append(1), own(*given))[1])
        clone(features).fit_transform(pictures)
        assert (len(opened), len(passes), sum(computed)) == (1, 1, len(pictures))

    def test_another_setting_is_another_network(self, features, pictures, opened):
        features.fit(pictures)
        others = ({"layers": "layer3"}, {"random_state": 1}, {"precision": "float64"}, {"cache_dir": "other"})
        for other in others:
            clone(features).set_params(**other).fit(pictures)
        clone(features).fit(pictures[:, :, :24, :24])
        assert len(opened) == 2 + len(others)

    def test_weights_that_are_changed_in_place_are_seen(self, features, pictures, opened):
        one, other = clone(features).fit(pictures), clone(features).fit(pictures)
        before = one.transform(pictures)
        one.network_.model.conv1[0].weight.data[0] += 1  # past torch's count of versions
        changed = one.transform(pictures)
        with torch.no_grad():
            expected = one.network_(torch.from_numpy(prepared_as(one, pictures)))
        np.testing.assert_allclose(changed, expected.numpy(), rtol=1e-4, atol=1e-5)
        assert np.abs(changed - before).max() > 1e-3
        np.testing.assert_array_equal(other.transform(pictures), before)

    def test_hooks_and_attributes_that_are_changed_are_seen(self, features, pictures, opened):
        one, other = clone(features).fit(pictures), clone(features).fit(pictures)
        before = one.transform(pictures)
        hook = one.network_.model.layer1.register_forward_hook(lambda module, given, output: output * 0.5)
        changed = one.transform(pictures)
        with torch.no_grad():
            expected = one.network_(torch.from_numpy(prepared_as(one, pictures)))
        np.testing.assert_allclose(changed, expected.numpy(), rtol=1e-4, atol=1e-5)
        assert np.abs(changed - before).max() > 1e-3
        hook.remove()
        np.testing.assert_array_equal(one.transform(pictures), before)
        one.network_.model.bn1.eps = 10.0
        assert np.abs(one.transform(pictures) - before).max() > 1e-3
        np.testing.assert_array_equal(other.transform(pictures), before)

    def test_a_function_that_is_patched_between_two_fits_is_seen(self, features, pictures, opened):
        before = clone(features).fit_transform(pictures)
        own = nn.functional.relu
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nn.functional, "relu", lambda *given, **named: own(*given, **named) * 0.5)
            between = clone(features).fit(pictures)
            assert np.abs(between.transform(pictures) - before).max() > 1e-3
        np.testing.assert_array_equal(clone(features).fit_transform(pictures), before)
        assert [entry.damage for entry in ActivationCache(cache_folder()).entries()] == [(), ()]

    def test_a_function_that_is_patched_is_seen_by_rows_of_which_none_is_stored(self, features, pictures, opened):
        clone(features).fit_transform(pictures[:4])
        own = nn.functional.relu
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nn.functional, "relu", lambda *given, **named: own(*given, **named) * 0.5)
            found = clone(features).fit(pictures[4:]).transform(pictures)
            expected = clone(features).set_params(cache=False).fit_transform(pictures)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

    def test_names_of_columns_need_no_network_of_ones_own(self, features, pictures, opened, monkeypatch):
        monkeypatch.setattr("reuse.estimators.features.copied", None)
        with pytest.raises(NotFittedError):
            _ = features.network_
        one = features.fit(pictures)
        assert len(one.get_feature_names_out()) == one.transform(pictures).shape[1]

    def test_a_hook_on_all_modules_is_seen(self, features, pictures, opened):
        before = clone(features).fit_transform(pictures)
        hook = nn.modules.module.register_module_forward_hook(
            lambda module, given, output: output * 0.5 if isinstance(module, nn.Conv2d) else None
        )
        try:
            assert np.abs(clone(features).fit_transform(pictures) - before).max() > 1e-3
        finally:
            hook.remove()

    def test_a_cache_that_is_cleared_between_two_fits_is_filled_anew(self, features, pictures, opened, computed):
        before = clone(features).fit_transform(pictures)
        ActivationCache(cache_folder()).clear()
        np.testing.assert_allclose(clone(features).fit_transform(pictures), before, rtol=1e-5, atol=1e-6)
        assert sum(computed) == 2 * len(pictures)

    def test_threads_share_the_network(self, features, pictures, opened):
        before = clone(features).fit_transform(pictures)
        model = make_pipeline(features, KNeighborsClassifier(2))
        scores = cross_val_score(model, pictures, np.arange(20) % 2, cv=4, error_score="raise")
        with parallel_config("threading", n_jobs=4):
            threaded = cross_val_score(model, pictures, np.arange(20) % 2, cv=4, error_score="raise")
        np.testing.assert_array_equal(scores, threaded)
        np.testing.assert_array_equal(clone(features).fit_transform(pictures), before)


def prepared_as(features, pictures):
    return prepared(pictures, features._preprocessing).numpy()
