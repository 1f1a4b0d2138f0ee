"""MoCo: the loss by a loop, the queue, and the slow copy."""

import math

import numpy as np
import pytest
import torch

import reuse
from reuse.errors import UsageError
from reuse.objectives.moco import MoCo, QueuedContrast
from view_outputs import BATCH, ROWS, drawn, said


def built(objective: MoCo) -> QueuedContrast:
    torch.manual_seed(0)
    trained = objective.build(reuse.build("mlp:10,8", (6,), 3), reuse.load((ROWS.numpy(), None)))
    assert isinstance(trained, QueuedContrast)
    return trained


def test_the_loss_is_that_of_a_loop_over_rows() -> None:
    queries, keys, queue = drawn(5, 4), drawn(5, 4, seed=2), drawn(11, 4, seed=3)
    loss = MoCo(temperature=0.5).losses(said(queries, keys, queue), BATCH)["loss"].item()
    total = 0.0
    for q, k in zip(queries.numpy(), keys.numpy(), strict=True):
        scores = [q @ k / 0.5, *(q @ old / 0.5 for old in queue.numpy())]
        total -= math.log(math.exp(scores[0]) / np.sum(np.exp(scores)))
    assert loss == pytest.approx(total / 5, rel=1e-9)


@pytest.mark.parametrize("length", [7, 4, 3])
def test_the_queue_holds_the_last_keys_in_order(length: int) -> None:
    network = built(MoCo(queue=length, hidden=8, size=4))
    held = network.queue.clone()
    for batch in ROWS.split(4):
        _, keys, earlier = network(batch)
        assert torch.equal(earlier, held), "the loss sees the keys of earlier rows"
        held = torch.cat([held, keys])[-length:]
        assert torch.equal(network.queue, held)
    torch.testing.assert_close(held.norm(dim=1), torch.ones(length))
    network.eval()
    network(ROWS)
    assert torch.equal(network.queue, held), "measuring adds no key"


def test_the_slow_copy_is_the_stated_average_and_gets_no_gradient() -> None:
    objective = MoCo(momentum=0.75, hidden=8, size=4)
    network = built(objective)
    objective.losses(network, BATCH)["loss"].backward()
    assert {n.partition(".")[0] for n, p in network.named_parameters() if p.grad is not None} == {
        "encoder",
        "projector",
    }
    before = {name: buffer.clone() for name, buffer in network.teacher.network.named_buffers()}
    with torch.no_grad():
        for parameter in network.student.parameters():
            parameter += 1
        objective.after_step(network, 0.5)
    after = dict(network.teacher.network.named_buffers())
    for name, parameter in network.student.named_parameters():
        torch.testing.assert_close(after[name], 0.75 * before[name] + 0.25 * parameter)


def test_a_queue_holds_at_most_half_of_the_rows() -> None:
    assert built(MoCo(hidden=8, size=4)).queue.shape == (12, 4), "24 of 40 rows are trained on"


def test_settings_that_cannot_be_are_refused() -> None:
    for settings, message in (
        ({"queue": 0}, "0 keys"),
        ({"momentum": 2}, "momentum is 2"),
        ({"temperature": -1}, "is -1"),
    ):
        with pytest.raises(UsageError, match=message):
            MoCo(**settings)  # type: ignore[arg-type]
