"""The shape of an objective: one written outside of the package is trained, saved, resumed and reused like ours."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import reuse
from finished_runs import history, weights
from listening import Listener
from reuse.caching.cache import ActivationCache
from reuse.data.dataset import Dataset
from reuse.data.digests import digest_rows
from reuse.data.rows import Batch, Resident
from reuse.fingerprinting.fingerprint import fingerprint
from reuse.nn.decoders import encoder_of
from reuse.objectives.autoencoder import Reconstruction
from reuse.runs.fitting import Interrupted
from reuse.runs.folder import RunFolder
from reuse.training.evaluation import evaluate

ROWS = np.random.default_rng(0).random((70, 9), dtype=np.float32)
LABELS = np.arange(70) % 3
SETTINGS: dict[str, Any] = {"data": (ROWS, None), "model": "mlp:12,8", "epochs": 4}


class Whitener(nn.Module):
    """An encoder, a projector, and a memory of how projections were spread."""

    def __init__(self, encoder: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder, self.projector = encoder, nn.Linear(width, 5)
        self.register_buffer("spread", torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.projector(self.encoder(x))
        return projected


class Whitening(reuse.Objective):
    """Projections of two noisy views that are alike, not correlated with each other, and spread as before."""

    def __init__(self, noise: float) -> None:
        self.deviation = noise
        self.seen: list[float] = []

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        return Whitener(encoder_of(model), 8)

    def losses(self, network: Any, batch: Batch) -> dict[str, Tensor]:
        rows = batch.inputs[0]
        first, second = (network(rows + self.deviation * torch.randn_like(rows)) for _ in range(2))
        covariance = first.T.cov() - torch.eye(5)
        return {"alike": (first - second).square().mean(), "white": covariance.square().sum()}

    def after_step(self, trained: nn.Module, progress: float) -> None:
        assert not torch.is_grad_enabled()
        self.seen.append(progress)
        trained.spread.lerp_(trained.projector.weight.std(1), 0.1)  # type: ignore[operator, union-attr, arg-type]


def test_an_objective_from_outside_is_trained_and_its_layers_are_reused() -> None:
    objective = Whitening(0.1)
    result = reuse.pretrain(objective, **SETTINGS, out="run")
    assert set(result.metrics["test"]) == {"alike", "white", "loss"}
    assert result.settings["objective"] == f"object:{__name__}.Whitening"
    assert {path.name for path in Path("run").glob("*.safetensors")} == {"weights.safetensors", "projector.safetensors"}
    assert set(load_file("run/projector.safetensors")) == {"weight", "bias"}
    assert set(weights("run")) == {f"hidden{n}.linear.{kind}" for n in (1, 2) for kind in ("weight", "bias")}
    assert objective.seen == [step / 8 for step in range(1, 9)], "44 rows are two steps an epoch"
    tuned = reuse.finetune("run", freeze="hidden1", data=(ROWS, LABELS), epochs=2, cache=False)
    assert (tuned.frozen, tuned.restored) == (("hidden1",), ("hidden1", "hidden2"))
    assert torch.equal(weights(tuned)["hidden1.linear.weight"], weights("run")["hidden1.linear.weight"])


@pytest.mark.parametrize("epoch", [1, 3])
def test_it_is_resumed_bit_for_bit_when_it_is_given_again(epoch: int) -> None:
    reuse.pretrain(Whitening(0.1), **SETTINGS, out="whole")
    with pytest.raises(Interrupted):
        reuse.pretrain(Whitening(0.1), **SETTINGS, out="run", reporter=Listener(epoch))
    with pytest.raises(reuse.UsageError, match=r"the objective was the object .*Whitening: give it again"):
        reuse.pretrain(resume="run", data=(ROWS, None))
    assert RunFolder(Path("run")).result() is None
    reuse.pretrain(Whitening(0.1), resume="run", data=(ROWS, None))
    assert history("run") == history("whole")
    for name in ("weights", "projector"):
        ours, theirs = (load_file(f"{run}/{name}.safetensors") for run in ("run", "whole"))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_an_objective_of_ours_given_as_an_object_is_the_one_of_that_name() -> None:
    named = reuse.pretrain("denoising_autoencoder", **SETTINGS, noise=0.3, out="named")
    given = reuse.pretrain(Reconstruction(0.1, "masking"), **SETTINGS, noise=0.3, out="given")
    assert named.metrics == given.metrics
    torch.testing.assert_close(weights("named"), weights("given"), rtol=0, atol=0)


def test_an_objective_with_labels_given_as_an_object() -> None:
    settings = {**SETTINGS, "data": (ROWS, LABELS)}
    named = reuse.pretrain("supervised", **settings, label_smoothing=0.1, out="named")
    given = reuse.pretrain(reuse.Classification(3, label_smoothing=0.1), **settings, out="given")
    assert named.metrics == given.metrics
    assert reuse.load_model("given").values(torch.from_numpy(ROWS)).shape == (70, 3)
    with pytest.raises(reuse.UsageError, match="brings its own settings: leave label_smoothing out"):
        reuse.pretrain(reuse.Classification(3), **settings, label_smoothing=0.1)
    with pytest.raises(reuse.UsageError, match="needs labels"):
        reuse.pretrain(reuse.Classification(3), **SETTINGS)


class Nothing(reuse.Objective):
    pass


class Overwriting(Whitening):
    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        built = super().build(model, data)
        built.add_module("weights", nn.Linear(2, 2))
        return built


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (
            nn.Linear(2, 2),
            r"is of type Linear: give a name of `reuse pretrain --list`, or an object .*`losses`",
        ),
        (object(), "the objective is of type object: give a name"),
        (Whitening, "the objective is the class Whitening: give a name"),
        (Nothing(), "Nothing has nothing to minimise: write its method `losses`"),
        (Overwriting(0.1), "Overwriting builds a child `weights`"),
        ("autoencodr", "autoencoder"),
    ],
)
def test_what_is_no_objective_is_refused_in_one_line(objective: Any, message: str) -> None:
    with pytest.raises(reuse.UsageError, match=message) as refused:
        reuse.pretrain(objective, **SETTINGS, out="run")
    assert "\n" not in str(refused.value)
    assert not Path("run").exists()


def test_noise_is_for_those_that_have_some() -> None:
    with pytest.raises(reuse.UsageError, match=r"noise is for autoencoders, and the objective is object:.*Whitening"):
        reuse.pretrain(Whitening(0.1), **SETTINGS, noise=0.1, out="run")


def test_a_rate_is_found_for_an_object_too() -> None:
    curve = reuse.lr_find(objective=Whitening(0.1), data=(ROWS, None), model="mlp:12,8")
    assert len(curve.rates) > 20


def test_the_encoder_is_what_was_built_around_or_all_of_a_model_that_has_a_child_of_that_name() -> None:
    class Plain(reuse.Objective):
        def losses(self, network: Any, batch: Batch) -> dict[str, Tensor]:
            return {"loss": network(*batch.inputs).mean()}

    model = nn.Sequential()
    model.add_module("encoder", nn.Linear(2, 2))
    assert Plain().encoder(model) is model
    built = Whitening(0.1).build(reuse.build("mlp:12,8", (9,), 2), reuse.load((ROWS, None)))
    assert Whitening(0.1).encoder(built) is built.encoder


def test_default_metrics_are_means_over_rows_of_batches_of_any_size() -> None:
    class Rows(reuse.Objective):
        def losses(self, network: Any, batch: Batch) -> dict[str, Tensor]:
            return {"first": network(batch.inputs[0]).mean(), "drawn": torch.rand(()), "second": torch.ones(1)}

    rows = torch.arange(10.0, dtype=torch.float64)
    found = evaluate(lambda x: x, Rows(), rows, None, batch_size=4)
    assert found["first"] == pytest.approx(4.5, rel=1e-12)
    assert found["second"] == 1.0
    assert found == evaluate(lambda x: x, Rows(), rows, None, batch_size=4), "what is drawn is the same each time"
    assert found["loss"] == pytest.approx(found["first"] + found["drawn"] + found["second"])


def test_a_layer_is_trained_on_the_cached_outputs_of_the_layer_below(tmp_path: Path) -> None:
    """Greedy layer by layer: an autoencoder around the second layer reads what the first has computed once."""
    torch.manual_seed(0)
    whole, rows = reuse.build("mlp:12,8", (9,), 3), torch.from_numpy(ROWS)
    reuse.freeze(whole, "hidden1")
    parts = reuse.cut(whole, rows[:8])
    print_ = fingerprint(
        parts.prefix, preprocessing={}, dtype=torch.float32, device=torch.device("cpu"), cache_format=1
    )
    store = ActivationCache(tmp_path / "cache").open(print_, parts.frontier)
    keys, computed = digest_rows(ROWS, np.arange(70)), list[int]()

    def compute(positions: np.ndarray) -> tuple[Tensor, ...]:
        computed.extend(positions.tolist())
        return tuple(parts.prefix(rows[positions]))

    store.fill(keys, compute)
    cached = store.activations(keys)
    with torch.no_grad():
        features = parts.prefix(rows)[0]

    def trained(source: Any) -> dict[str, Tensor]:
        torch.manual_seed(1)
        data = reuse.load((features.numpy(), None))
        objective = Reconstruction()
        second = objective.build(reuse.build("mlp:8", (12,), 3), data)
        list(reuse.Trainer(second, objective).epochs(source, None, epochs=3))
        return dict(objective.encoder(second).state_dict())

    first = trained(cached)
    torch.testing.assert_close(first, trained(Resident(features)), rtol=0, atol=0)
    assert sorted(computed) == list(range(70)), "each row was computed once"
