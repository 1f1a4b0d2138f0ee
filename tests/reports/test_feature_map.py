"""Maps of features: the right layer, the right axes, and the weights as they began."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import elu

import reuse
from reports.conftest import subject_of
from reuse.layers.weights import read_weights
from reuse.reports.beginning import build_beginning
from reuse.reports.feature_map import map_section, principal_axes, row_features
from reuse.reports.mapped_rows import find_mapped_rows
from reuse.reports.record import RunRecord
from reuse.runs.folder import RunFolder


def test_the_axes_are_those_of_a_singular_value_decomposition() -> None:
    values = np.random.default_rng(0).normal(size=(50, 7)) * np.arange(1, 8)
    places, shares = principal_axes(values)
    left, sizes, _ = np.linalg.svd(values - values.mean(0), full_matrices=False)
    assert np.abs(places) == pytest.approx(np.abs(left[:, :2] * sizes[:2]))
    assert shares == pytest.approx(sizes[:2] ** 2 / (sizes**2).sum())


@pytest.mark.parametrize("values", [np.ones((5, 3)), np.arange(4.0)[:, None], np.ones((1, 4))])
def test_features_without_a_second_axis_have_places_too(values: np.ndarray) -> None:
    places, shares = principal_axes(values)
    assert places.shape == (len(values), 2)
    assert np.isfinite(places).all()
    assert np.isfinite(shares).all()


def test_features_are_what_the_output_layer_is_given(runs: Path) -> None:
    subject = subject_of(runs / "frozen")
    rows = find_mapped_rows(subject)
    weights = read_weights(runs / "frozen" / "weights.safetensors").tensors
    expected = rows.inputs.gather(torch.from_numpy(rows.places))[0].flatten(1)
    for layer in ("hidden1", "hidden2"):
        expected = elu(expected @ weights[f"{layer}.linear.weight"].T + weights[f"{layer}.linear.bias"])
    assert subject.network is not None
    assert row_features(subject.network, rows, predicts=True) == pytest.approx(expected.double().numpy(), abs=1e-5)
    assert rows.groups.tolist() == subject.outcome.targets[rows.places].tolist()  # type: ignore[union-attr]


def test_a_fine_tuning_began_with_its_sources_weights(runs: Path) -> None:
    begun = build_beginning(RunRecord.read(runs / "frozen", "frozen"), trust=False).state_dict()
    source = read_weights(runs / "pre" / "weights.safetensors").tensors
    assert source
    for name, tensor in source.items():
        assert torch.equal(begun[name], tensor), name


def test_a_pretraining_began_with_its_seeds_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate of next to nothing leaves them where they began."""
    monkeypatch.chdir(tmp_path)
    reuse.pretrain("supervised", model="mlp:7,5", epochs=1, learning_rate=1e-12, out="run", seed=3)
    begun = build_beginning(RunRecord.read("run", "run"), trust=False).state_dict()
    trained = read_weights(tmp_path / "run" / "weights.safetensors").tensors
    for name, tensor in trained.items():
        assert torch.allclose(begun[name], tensor, atol=1e-7), name


def test_building_it_leaves_no_trace(runs: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    files = sorted(path for path in runs.rglob("*"))
    build_beginning(RunRecord.read(runs / "frozen", "frozen"), trust=False)
    assert torch.equal(before, torch.get_rng_state())
    assert sorted(path for path in runs.rglob("*")) == files


def test_before_and_after_differ_where_layers_trained(runs: Path) -> None:
    body = map_section(subject_of(runs / "free")).body
    assert "before training" in body
    assert "after training" in body


def test_a_source_that_is_gone_is_said(runs: Path) -> None:
    subject = subject_of(runs / "free")
    moved = replace(subject, record=replace(subject.record, folder=Elsewhere(subject.record.folder.path)))
    body = map_section(moved).body
    assert "before training are not known" in body.lower()
    assert "after training" in body


class Elsewhere(RunFolder):
    """A run whose source has been moved away."""

    def settings(self):  # type: ignore[no-untyped-def]
        return replace(super().settings(), source="runs/gone.safetensors")
