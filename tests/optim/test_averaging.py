"""Averages against timm's and torch's; swapping them in and out."""

import pytest
import torch
from timm.utils import ModelEmaV3
from torch import nn
from torch.optim.swa_utils import AveragedModel

from reuse.errors import ReuseError, UsageError
from reuse.optim.averaging import ExponentialAverage, StochasticWeightAverage, swapped


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def move(model: nn.Module, number: int) -> None:
    model(torch.randn(8, 4, generator=torch.Generator().manual_seed(number)))  # moves the batch norm's statistics
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(number)))


@pytest.mark.parametrize("warmup", [False, True])
def test_the_exponential_average_is_timms(warmup: bool) -> None:
    model = network()
    ours, theirs = ExponentialAverage(0.9, warmup), ModelEmaV3(model, decay=0.9, use_warmup=warmup)
    for step in range(1, 60):
        move(model, step)
        ours.update(tensors(model), step)
        theirs.update(model, step)
    expected = tensors(theirs.module)
    torch.testing.assert_close(ours.average, {name: expected[name].detach() for name in ours.average})
    assert ours.average.keys() == expected.keys()


def test_the_stochastic_average_is_torchs_and_the_plain_mean() -> None:
    model, seen = network(), []
    ours, theirs = StochasticWeightAverage(3), AveragedModel(model)
    for epoch in range(1, 8):
        move(model, epoch)
        ours.update(dict(model.named_parameters()), epoch)
        if epoch >= 3:
            theirs.update_parameters(model)
            seen.append([p.detach().double() for p in model.parameters()])
    torch.testing.assert_close(list(ours.average.values()), [p.detach() for p in theirs.module.parameters()])
    means = [torch.stack(values).mean(0).float() for values in zip(*seen, strict=True)]
    torch.testing.assert_close(list(ours.average.values()), means, rtol=1e-5, atol=1e-6)
    assert ours.needs_statistics
    assert not ExponentialAverage.needs_statistics


def test_the_average_never_aliases_the_weights() -> None:
    model, average = network(), StochasticWeightAverage(1)
    average.update(tensors(model), 1)
    kept = {name: tensor.clone() for name, tensor in average.average.items()}
    move(model, 1)
    assert all(torch.equal(average.average[name], kept[name]) for name in kept)


@pytest.mark.parametrize("stop", [0, 2, 5])
@pytest.mark.parametrize("make", [lambda: ExponentialAverage(0.9, True), lambda: StochasticWeightAverage(3)])
def test_going_on_equals_never_having_stopped(make: object, stop: int) -> None:
    assert callable(make)
    model, average, whole = network(), make(), make()
    for number in range(1, 9):
        move(model, number)
        average.update(tensors(model), number)
        whole.update(tensors(model), number)
        if number == stop:
            state = average.state_dict()
            average.update(tensors(model), number)  # the state is a copy, so this must not move it
            average = make()
            average.load_state_dict(state)
    assert all(torch.equal(average.average[name], whole.average[name]) for name in whole.average)
    assert average.average.keys() == whole.average.keys()


def test_a_layer_that_begins_to_train_starts_with_its_own_value() -> None:
    model, average = network(), ExponentialAverage(0.9)
    for step in (1, 2, 3):
        move(model, step)
        average.update({"0.weight": model[0].weight}, step)
    old = average.average["0.weight"].clone()
    average.update({"0.weight": model[0].weight, "2.weight": model[2].weight}, 4)
    assert torch.equal(average.average["2.weight"], model[2].weight)
    torch.testing.assert_close(average.average["0.weight"], 0.9 * old + 0.1 * model[0].weight.detach())
    average.update({"2.weight": model[2].weight}, 5)
    assert set(average.average) == {"2.weight"}


def test_coarse_weights_have_a_fine_average() -> None:
    weight = torch.ones(3, dtype=torch.bfloat16)
    average = ExponentialAverage(0.999)
    average.update({"w": weight}, 1)
    for step in range(2, 102):
        average.update({"w": weight * 2}, step)
    assert average.average["w"].dtype == torch.float32
    assert average.average["w"].tolist() == pytest.approx([2 - 0.999**100] * 3, rel=1e-4)


@pytest.mark.parametrize("fails", [False, True])
def test_swapping_gives_the_exact_weights_back(fails: bool) -> None:
    model, average = network(), ExponentialAverage(0.9)
    for step in (1, 2, 3):
        move(model, step)
        average.update(tensors(model), step)
    before = {name: tensor.detach().clone() for name, tensor in tensors(model).items()}
    with pytest.raises(ZeroDivisionError) if fails else torch.enable_grad(), swapped(tensors(model), average.average):
        assert all(torch.equal(tensor, average.average[name]) for name, tensor in tensors(model).items())
        assert not torch.equal(model[0].weight, before["0.weight"])
        if fails:
            raise ZeroDivisionError
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors(model).items())


def test_what_does_not_fit_is_refused() -> None:
    model = network()
    with pytest.raises(ReuseError, match="no average yet"), swapped(tensors(model), {}):
        pass
    with pytest.raises(ReuseError, match=r"'3\.weight'"), swapped(tensors(model), {"3.weight": torch.zeros(2)}):
        pass
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(UsageError, match="decay"):
            ExponentialAverage(wrong)
    with pytest.raises(UsageError, match="from 1"):
        StochasticWeightAverage(0)
