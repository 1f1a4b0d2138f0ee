"""Machines small enough to enumerate: free energies, gradients and chains against exact sums over all states."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import reuse
from finished_runs import history, weights
from listening import Listener
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.rbm import Rbm
from reuse.objectives.dbn import BeliefNet
from reuse.objectives.rbm import Contrastive
from reuse.runs.fitting import Interrupted

STATES = {n: torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64) for n in (3, 4)}
ROWS = np.random.default_rng(0).random((50, 6))


def machine(*, normal: bool = False, chains: int = 0) -> Rbm:
    torch.manual_seed(1)
    rbm = Rbm(nn.Linear(4, 3).double(), normal=normal, chains=chains)
    with torch.no_grad():
        for parameter in rbm.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return rbm


def energy(rbm: Rbm, v: Tensor, h: Tensor) -> Tensor:
    w, c, b = rbm.hidden.weight, rbm.hidden.bias, rbm.visible_bias
    quadratic = v @ v / 2 if rbm.normal else 0.0
    return quadratic - h @ w @ v - c @ h - b @ v


def exact_gradient(rbm: Rbm, rows: Tensor) -> list[Tensor]:
    """Of the mean of -log p(v), from the energies of all states."""
    joint = torch.stack([torch.stack([-energy(rbm, v, h) for h in STATES[3]]) for v in STATES[4]])
    of_rows = torch.stack([torch.stack([-energy(rbm, v, h) for h in STATES[3]]).logsumexp(0) for v in rows])
    return list(torch.autograd.grad(joint.flatten().logsumexp(0) - of_rows.mean(), list(rbm.parameters())))


@pytest.mark.parametrize("normal", [False, True])
def test_the_free_energy_is_the_sum_over_all_hidden_states(normal: bool) -> None:
    rbm = machine(normal=normal)
    v = torch.randn(6, 4, dtype=torch.float64)
    expected = torch.stack([-torch.stack([-energy(rbm, row, h) for h in STATES[3]]).logsumexp(0) for row in v])
    difference = rbm.free_energy(v) - expected
    torch.testing.assert_close(difference, difference[:1].expand(6))  # but for a constant, |b|² / 2
    assert normal or float(difference[0].detach()) == pytest.approx(0, abs=1e-12)


def test_with_samples_of_the_machine_itself_the_gradient_is_the_exact_one() -> None:
    rbm, rows = machine(), STATES[4][[0, 3, 3, 9, 14]]
    with torch.no_grad():
        shares = (-rbm.free_energy(STATES[4])).softmax(0)
    loss = rbm.free_energy(rows).mean() - shares @ rbm.free_energy(STATES[4])
    found = torch.autograd.grad(loss, list(rbm.parameters()))
    for one, other in zip(found, exact_gradient(rbm, rows), strict=True):
        torch.testing.assert_close(one, other)


def test_long_chains_give_the_exact_gradient_on_average() -> None:
    rbm, rows = machine(chains=40_000), STATES[4][[0, 3, 3, 9, 14]]
    (loss,) = Contrastive(steps=30, chains=40_000).losses(rbm, Batch((rows,))).values()
    found = torch.autograd.grad(loss, list(rbm.parameters()))
    for one, other in zip(found, exact_gradient(rbm, rows), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0.015)


@pytest.mark.parametrize("normal", [False, True])
def test_one_step_begins_at_the_rows(normal: bool) -> None:
    rbm, rows = machine(normal=normal), STATES[4]
    torch.manual_seed(5)
    loss = Contrastive().losses(rbm, Batch((rows,)))["loss"]
    torch.manual_seed(5)
    h = torch.bernoulli(torch.sigmoid(rows @ rbm.hidden.weight.t() + rbm.hidden.bias))
    mean = h @ rbm.hidden.weight + rbm.visible_bias
    v = (mean + torch.randn_like(mean) if normal else torch.bernoulli(torch.sigmoid(mean))).detach()
    torch.testing.assert_close(loss, rbm.free_energy(rows).mean() - rbm.free_energy(v).mean())


def test_chains_go_on_where_they_were_and_rest_while_measuring() -> None:
    rbm = machine(chains=5)
    before = rbm.get_buffer("chains").clone()
    rbm.eval()
    rbm(STATES[4])
    assert torch.equal(before, rbm.get_buffer("chains"))
    rbm.train()
    torch.manual_seed(3)
    rbm(STATES[4])
    torch.manual_seed(3)
    assert torch.equal(rbm.get_buffer("chains"), rbm.sample_visible(rbm.sample_hidden(before)))


NET: dict[str, Any] = {"data": (ROWS, None), "model": "mlp:8,5", "activation": "sigmoid", "precision": "float64"}


def test_a_belief_net_unrolls_into_the_layers_that_fine_tuning_reuses(cached_however_small: None) -> None:
    reuse.pretrain("dbn", epochs=4, out="run", **NET)
    assert [line["stage"] for line in history("run")] == ["hidden1"] * 2 + ["hidden2"] * 2
    labels = (3 * ROWS[:, 0]).astype(int)
    tuned = reuse.finetune("run", freeze="hidden1", data=(ROWS, labels), epochs=1, precision="float64")
    assert tuned.cache is not None
    assert tuned.cache["rows"] == {"computed": 0, "found": 50}
    kept = weights("run")
    assert set(kept) == {f"hidden{n}.linear.{kind}" for n in (1, 2) for kind in ("weight", "bias")}


@pytest.mark.parametrize("after", [1, 2, 3, 4, 5])
def test_chains_and_all_resume_bit_for_bit(after: int, cached_however_small: None) -> None:
    objective, given = BeliefNet(chains=7), {**NET, "epochs": 6}
    reuse.pretrain(objective, out="whole", **given)
    with pytest.raises(Interrupted):
        reuse.pretrain(objective, out="stopped", reporter=Listener(after + 1), **given)
    reuse.pretrain(objective, data=(ROWS, None), resume="stopped")
    assert history("stopped") == history("whole")
    assert all(torch.equal(tensor, weights("stopped")[name]) for name, tensor in weights("whole").items())


@pytest.mark.parametrize(
    ("objective", "settings", "words"),
    [
        ("rbm", {"model": "mlp:8,5"}, "one hidden layer, and there are 2: take dbn"),
        ("dbn", {"activation": "relu"}, "give activation=sigmoid"),
        ("dbn", {"norm": "batch"}, "no norm or dropout"),
        ("dbn", {"dropout": 0.1}, "no norm or dropout"),
        ("dbn", {"input_dropout": 0.1}, "no norm or dropout"),
        (BeliefNet(visible="binary"), {}, "values are not from 0 to 1: give visible=normal"),
    ],
)
def test_what_is_no_machine_is_refused(objective: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        reuse.pretrain(objective, epochs=2, **{**NET, **settings})


@pytest.mark.parametrize("bad", [{"steps": 0}, {"chains": -1}, {"visible": "grey"}, {"layer_epochs": 0}])
def test_settings_that_mean_nothing_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        BeliefNet(**bad)
