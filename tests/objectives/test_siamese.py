"""Siamese nets: the contrastive loss by hand over balanced pairs, and what it cannot learn from."""

from pathlib import Path

import numpy as np
import pytest
import torch

import reuse
from reuse.data.rows import Batch, Resident
from reuse.errors import UsageError
from reuse.objectives.pairs import draw_balanced
from reuse.objectives.siamese import Siamese

RANDOM = np.random.default_rng(0)
LABELS = np.repeat(np.arange(5), 12)
ROWS = (RANDOM.normal(size=(5, 6))[LABELS] + 0.5 * RANDOM.normal(size=(60, 6))).astype(np.float32)


def built(objective: Siamese) -> torch.nn.Module:
    torch.manual_seed(0)
    return objective.build(reuse.build("mlp:8", (6,), 5), reuse.load((ROWS, LABELS))).double()


def test_the_loss_is_the_mean_over_drawn_pairs_written_by_hand() -> None:
    objective = Siamese(margin=2.0, size=4)
    network, rows, labels = built(objective), torch.from_numpy(ROWS[::4]).double(), torch.from_numpy(LABELS[::4])
    torch.manual_seed(1)
    loss = objective.losses(network, Batch((rows,), labels))["loss"]
    pairs = [(i, j) for i in range(15) for j in range(i + 1, 15)]
    same = torch.tensor([bool(labels[i] == labels[j]) for i, j in pairs])
    torch.manual_seed(1)
    drawn = draw_balanced(same)
    points = network(rows).detach().numpy()
    errors = []
    for number in drawn.nonzero().flatten().tolist():
        i, j = pairs[number]
        distance = np.linalg.norm(points[i] - points[j])
        errors.append(distance**2 / 2 if same[number] else max(0.0, 2.0 - distance) ** 2 / 2)
    assert len(errors) == 2 * same.sum() == 2 * 5 * 3
    assert loss.item() == pytest.approx(np.mean(errors), rel=1e-9)


def test_classes_come_apart() -> None:
    settings = {"data": (ROWS, LABELS), "model": "mlp:16", "learning_rate": 0.01}
    before = reuse.pretrain(Siamese(size=4), epochs=1, out="before", **settings).metrics["test"]["loss"]
    assert reuse.pretrain(Siamese(size=4), epochs=40, out="run", **settings).metrics["test"]["loss"] < before / 3
    assert reuse.finetune("run", freeze="hidden1", data=(ROWS, LABELS), epochs=1, cache=False).frozen == ("hidden1",)


@pytest.mark.parametrize("labels", [LABELS * 0, np.arange(60)])
def test_a_batch_without_both_sorts_moves_nothing(labels: np.ndarray) -> None:
    objective = Siamese()
    network = built(objective)
    loss = objective.losses(network, Batch((torch.from_numpy(ROWS).double(),), torch.from_numpy(labels)))["loss"]
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in network.parameters())


def test_equal_rows_of_different_classes_have_finite_gradients() -> None:
    objective = Siamese()
    network, rows = built(objective), torch.ones(4, 6, dtype=torch.float64)
    objective.losses(network, Batch((rows,), torch.tensor([0, 0, 1, 1])))["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": (ROWS, RANDOM.normal(size=60))}, "the task is regression"),
        ({"batch_size": 1}, "batches hold 1: give a batch_size of 2"),
        ({"mixup": 0.2}, "takes labels as they are, and mixup changes"),
        ({"label_smoothing": 0.1}, "takes labels as they are, and label_smoothing"),
        ({"class_weights": "balanced"}, "takes labels as they are, and class_weights"),
        ({"data": (ROWS, None)}, "needs labels"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        reuse.pretrain(
            "siamese", **{"data": (ROWS, LABELS), "model": "mlp:8", "epochs": 1, **settings}, out=tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("settings", "message"), [({"margin": 0.0}, "margin is 0"), ({"size": 0}, "have 0 numbers")])
def test_settings_out_of_range_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        built(Siamese(**settings))


@pytest.fixture
def listed(tmp_path: Path) -> tuple[str, list[tuple[int, int, int]]]:
    """Write pairs of all rows by number, three of one kind for each other, and return them."""
    pairs = [(i, j, int(LABELS[i] == LABELS[j])) for i in range(60) for j in RANDOM.integers(60, size=8).tolist()]
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(",".join(map(str, pair)) for pair in pairs))
    return str(path), pairs


def test_pairs_of_a_file_are_learned_as_they_stand_there_without_labels(
    listed: tuple[str, list[tuple[int, int, int]]],
) -> None:
    path, pairs = listed
    objective = Siamese(margin=2.0, size=4, pairs=path)
    network = objective.build(
        reuse.build("mlp:8", (6,), 5), reuse.load((ROWS, None), test_fraction=0, valid_fraction=0)
    )
    rows, _ = objective.arrange(Resident(torch.from_numpy(ROWS)), None, "train")
    same = torch.tensor([pair[2] for pair in pairs])
    assert len(rows) == len(pairs) == 480
    loss = objective.losses(network, Batch(rows.gather(torch.arange(480)), same))["loss"]
    points = network(torch.from_numpy(ROWS)).detach().numpy().astype(np.float64)
    errors = []
    for i, j, is_same in pairs:
        distance = np.linalg.norm(points[i] - points[j])
        errors.append(distance**2 / 2 if is_same else max(0.0, 2.0 - distance) ** 2 / 2)
    assert loss.item() == pytest.approx(np.mean(errors), rel=1e-5)


def test_a_run_on_pairs_of_a_file_says_what_it_left_out_and_lends_its_layers(
    listed: tuple[str, list[tuple[int, int, int]]],
) -> None:
    path, _ = listed
    settings = {"data": (ROWS, None), "model": "mlp:16", "learning_rate": 0.01}
    runs = [reuse.pretrain(Siamese(size=4, pairs=path), epochs=n, out=f"run{n}", **settings) for n in (1, 30)]
    assert any("pairs: " in note and "in two splits are left out" in note for note in runs[0].notes)
    assert runs[1].metrics["test"]["loss"] < runs[0].metrics["test"]["loss"] / 2
    tuned = reuse.finetune("run30", freeze="hidden1", data=(ROWS, LABELS), epochs=1, cache=False)
    assert tuned.frozen == ("hidden1",)


def test_a_file_without_a_pair_of_training_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("0,50,1\n")
    data = {"x_train": ROWS[:40], "x_test": ROWS[40:]}
    with pytest.raises(UsageError, match="is of two training rows"):
        reuse.pretrain(Siamese(pairs=str(path)), data=data, model="mlp:8", epochs=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
