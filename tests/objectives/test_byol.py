"""Bootstrap your own latent: the paper's loss, its moving average, and views that differ."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import reuse
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.byol import Byol, StudentAndTeacher

DRAW = torch.Generator().manual_seed(0)
ROWS = torch.randn(48, 6, generator=DRAW)


def built(objective: Byol, model: str = "mlp:10,8") -> StudentAndTeacher:
    torch.manual_seed(0)
    data = reuse.load((ROWS.numpy(), None))
    trained = objective.build(reuse.build(model, (6,), 3), data)
    assert isinstance(trained, StudentAndTeacher)
    return trained


def test_the_loss_is_the_squared_distance_of_unit_vectors_in_both_orders() -> None:
    objective = Byol(hidden=12, size=5)
    network = built(objective)
    torch.manual_seed(1)
    loss = objective.losses(network, Batch((ROWS,)))["loss"]
    torch.manual_seed(1)
    first, second = objective._augment(ROWS), objective._augment(ROWS)
    assert not torch.equal(first, second)
    expected = torch.zeros(())
    for one, other in ((first, second), (second, first)):
        q, z = network.predictor(network.projector(network.encoder(one))), network.teacher(other)
        q, z = (v / v.norm(dim=1, keepdim=True) for v in (q, z))
        expected = expected + (q - z).square().sum(1).mean()
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_the_length_of_projections_changes_nothing(scale: float) -> None:
    predictions, targets = torch.randn(2, 2, 9, 5, generator=DRAW, dtype=torch.float64)
    objective = Byol()

    def network_of(factor: float) -> object:
        outputs = iter(zip(factor * predictions, targets / factor, strict=True))
        return lambda _: next(outputs)

    losses = [objective.losses(network_of(factor), Batch((ROWS,)))["loss"] for factor in (1.0, scale)]  # type: ignore[arg-type]
    torch.testing.assert_close(losses[0], losses[1])
    assert 0 <= float(losses[0]) <= 8


def test_after_n_steps_the_teacher_is_the_moving_average_written_by_hand() -> None:
    objective, epochs, base = Byol(momentum=0.8, hidden=12, size=5), 3, 0.8
    trained = built(objective).double()
    reference = {name: p.detach().clone() for name, p in trained.student.named_parameters()}
    trainer = reuse.Trainer(trained, objective, loop=reuse.LoopSettings(batch_size=16))
    seen: list[dict[str, Tensor]] = []
    follow = objective.after_step

    def noted(module: nn.Module, progress: float) -> None:
        seen.append({name: p.detach().clone() for name, p in trained.student.named_parameters()})
        follow(module, progress)

    trainer._step.objective = noting(objective, noted)
    list(trainer.epochs(ROWS.double(), None, epochs=epochs))
    total = epochs * 3
    assert len(seen) == total
    for step, weights in enumerate(seen, 1):
        momentum = 1 - (1 - base) * (math.cos(math.pi * step / total) + 1) / 2
        reference = {name: momentum * reference[name] + (1 - momentum) * weights[name] for name in reference}
    held = dict(trained.teacher.network.named_buffers())
    torch.testing.assert_close({name: held[name] for name in reference}, reference)


def noting(objective: Byol, after_step: object) -> Byol:
    """Return the objective with another `after_step`."""
    other = copy.copy(objective)
    other.after_step = after_step  # type: ignore[method-assign, assignment]
    return other


def test_only_the_student_learns_and_the_teacher_gets_no_gradient() -> None:
    objective = Byol(hidden=12, size=5)
    network = built(objective)
    objective.losses(network, Batch((ROWS,)))["loss"].backward()
    assert {name.partition(".")[0] for name, p in network.named_parameters() if p.grad is not None} == {
        "encoder",
        "projector",
        "predictor",
    }
    assert all(buffer.grad is None for buffer in network.teacher.buffers())


def test_measuring_draws_the_same_views_each_time_and_leaves_no_trace() -> None:
    objective = Byol(hidden=12, size=5)
    trainer = reuse.Trainer(built(objective), objective)
    before = torch.get_rng_state()
    first, second = (trainer.evaluate(ROWS, None) for _ in range(2))
    assert first == second
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("model", "shape"), [("mlp:10", (3, 32, 32)), ("convnet:4", (1, 8, 8)), ("timm:test_resnet", (3, 32, 32))]
)
def test_any_encoder_learns_from_images_of_any_channels(model: str, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).random((24, *shape), dtype=np.float32)
    result = reuse.pretrain(Byol(hidden=8, size=4), data=(images, None), model=model, epochs=2, batch_size=8, out="run")
    assert all(math.isfinite(value) for value in result.metrics["train"].values())
    tuned = reuse.finetune("run", data=(images, np.arange(24) % 2), epochs=1, cache=False)
    assert tuned.restored


@pytest.mark.parametrize("model", ["lstm:8", "gru:8"])
def test_sequences_of_vectors(model: str) -> None:
    rows = np.random.default_rng(0).random((24, 5, 3), dtype=np.float32)
    result = reuse.pretrain(Byol(hidden=8, size=4), data=(rows, None), model=model, epochs=2, out="run")
    assert result.epochs == 2


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"momentum is 1\.5"):
        Byol(momentum=1.5)
    with pytest.raises(UsageError, match="'shift' is for images, and the inputs are none"):
        Byol(views="shift:2").build(reuse.build("mlp:4", (6,), 2), reuse.load((ROWS.numpy(), None)))
    table = tmp_path / "reviews.csv"
    table.write_text("review,good\n" + "a fine film,1\na poor film,0\n" * 20)
    for name, message in (("byol", "tokens cannot be"), ("variational", "are tokens"), ("gan", "are tokens")):
        with pytest.raises(UsageError, match=message):
            reuse.pretrain(name, data=table, text="review", target="good", model="gru:4", epochs=1, out=tmp_path / name)
        assert not (tmp_path / name).exists()
