"""DINO: the loss by loops, the centre, the teacher, and views of each kind of data."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import reuse
from reuse.errors import UsageError
from reuse.nn.self_distillation import SelfDistillation
from reuse.objectives.dino import Dino
from view_outputs import BATCH, ROWS, drawn, said

SMALL = {"hidden": 8, "size": 4, "prototypes": 6}


def built(objective: Dino, rows: np.ndarray, model: str = "mlp:10,8") -> SelfDistillation:
    torch.manual_seed(0)
    data = reuse.load((rows, None))
    trained = objective.build(reuse.build(model, data.input_shape, 3), data)
    assert isinstance(trained, SelfDistillation)
    return trained


def shares(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max())
    return np.asarray(powers / powers.sum())


def test_the_loss_is_that_of_loops_over_views_and_rows() -> None:
    told, taught, centre = drawn(4, 5, 6), drawn(2, 5, 6, seed=2), drawn(6, seed=3)
    loss = Dino(temperature=0.2, teacher_temperature=0.1).losses(said(told, taught, centre), BATCH)["loss"].item()
    terms = []
    for t in range(2):
        for s in range(4):
            if s == t:
                continue
            for row in range(5):
                target = shares((taught[t, row] - centre).numpy() / 0.1)
                terms.append(
                    -sum(p * math.log(q) for p, q in zip(target, shares(told[s, row].numpy() / 0.2), strict=True))
                )
    assert loss == pytest.approx(np.mean(terms), rel=1e-9)


def test_the_centre_is_the_running_mean_of_the_teachers_scores() -> None:
    objective = Dino(centre_momentum=0.75, **SMALL)  # type: ignore[arg-type]
    network = built(objective, ROWS.numpy())
    expected = torch.zeros(6)
    for batch in ROWS.split(10):
        _, taught, centre = network(batch)
        torch.testing.assert_close(centre, expected)
        expected = 0.75 * expected + 0.25 * taught.mean((0, 1))
        with torch.no_grad():
            objective.after_step(network, 0.5)
        torch.testing.assert_close(network.centre, expected)


def test_only_the_student_learns() -> None:
    network = built(Dino(**SMALL), ROWS.numpy())  # type: ignore[arg-type]
    Dino(**SMALL).losses(network, BATCH)["loss"].backward()  # type: ignore[arg-type]
    assert {n.partition(".")[0] for n, p in network.named_parameters() if p.grad is not None} == {
        "encoder",
        "projector",
    }
    assert not [name for name, _ in network.teacher.named_parameters()]


def test_images_in_colour_have_small_crops_and_others_two_views() -> None:
    colours, grey = (np.random.default_rng(0).random((24, c, 8, 8), dtype=np.float32) for c in (3, 1))
    for rows, views in ((colours, 6), (grey, 2), (ROWS.numpy(), 2)):
        network = built(Dino(**SMALL), rows)  # type: ignore[arg-type]
        told, taught, _ = network(torch.from_numpy(rows[:5]))
        assert (told.shape, taught.shape) == ((views, 5, 6), (2, 5, 6))
    with pytest.raises(UsageError, match="small crops are of images in colour"):
        built(Dino(crops=2, **SMALL), grey)  # type: ignore[arg-type]


def test_settings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    for settings in ({"prototypes": 1}, {"crops": -1}, {"centre_momentum": 1.5}, {"teacher_temperature": 0.0}):
        with pytest.raises(UsageError, match=r"give"):
            Dino(**settings)  # type: ignore[arg-type]
