"""Evaluation measures in eval mode, changes nothing, and does not depend on the batch size."""

import pytest
import torch
from torch import nn

from reuse.data.rows import Resident
from reuse.errors import DataError, UnknownNameError
from reuse.objectives.supervised import Classification
from reuse.training.evaluation import evaluate

ROWS = torch.randn(50, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(50) % 3


def network() -> nn.Module:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).double()
    model(ROWS)
    return model


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_metrics_are_those_of_one_pass_in_eval_mode(batch_size: int) -> None:
    model = network()
    found = evaluate(model, Classification(3), Resident(ROWS), LABELS, batch_size=batch_size)
    logits = model.eval()(ROWS)
    assert found["loss"] == pytest.approx(nn.functional.cross_entropy(logits, LABELS).item())
    assert found["accuracy"] == pytest.approx((logits.argmax(1) == LABELS).double().mean().item())


def test_nothing_changes() -> None:
    model = network()
    model[1].eval()  # one module alone in eval mode
    model[2].training = True
    modes = [module.training for module in model.modules()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    evaluate(model, Classification(3), Resident(ROWS), LABELS, batch_size=8)
    assert [module.training for module in model.modules()] == modes
    torch.testing.assert_close(model.state_dict(), state, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), random)


def test_modes_come_back_after_an_error() -> None:
    model = network()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    with pytest.raises(RuntimeError):
        evaluate(model, Classification(3), Resident(ROWS[:, :2]), LABELS, batch_size=8)
    assert [module.training for module in model.modules()] == modes


def test_what_a_module_memorises_can_be_trained_with_afterwards() -> None:
    class Memorising(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 3).double()
            self.scale: torch.Tensor | None = None

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            if self.scale is None:
                self.scale = inputs.new_full((3,), 2.0)
            return self.layer(inputs) * self.scale

    model = Memorising()
    evaluate(model, Classification(3), Resident(ROWS), LABELS, batch_size=8)
    model(ROWS).sum().backward()
    assert model.layer.weight.grad is not None


def test_modes_of_the_model_are_switched_where_the_network_is_a_part_of_it() -> None:
    model = network()
    prefix, suffix = model[:2].eval(), lambda inputs: model[3](model[2](inputs))
    frontier = prefix(ROWS).detach()
    found = evaluate(suffix, Classification(3), Resident(frontier), LABELS, batch_size=8, model=model)
    assert found == pytest.approx(evaluate(model, Classification(3), Resident(ROWS), LABELS, batch_size=8))


def test_lower_precision_is_close_and_not_equal() -> None:
    model, rows = network().float(), ROWS.float()
    exact = evaluate(model, Classification(3), Resident(rows), LABELS, batch_size=8)
    rough = evaluate(model, Classification(3), Resident(rows), LABELS, batch_size=8, precision="bfloat16")
    assert exact["loss"] != rough["loss"] == pytest.approx(exact["loss"], rel=0.02)
    with pytest.raises(UnknownNameError):
        evaluate(model, Classification(3), Resident(rows), LABELS, batch_size=8, precision="float8")


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        evaluate(network(), Classification(3), Resident(ROWS[:0]), LABELS[:0], batch_size=8)
