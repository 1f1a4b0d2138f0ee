"""Maps with their channels last: the same training, in another order of memory."""

import pytest
import torch
from torch import Tensor, nn

import reuse
from grouped import grouped
from reuse.data.rows import Resident
from reuse.objectives.supervised import Classification
from reuse.optim.averaging import ExponentialAverage
from reuse.optim.optimizers import OPTIMIZERS
from reuse.training.trainer import Trainer

LAST = torch.channels_last
MATRICES_ALONE = {"muon"}


def rows(channels: int) -> tuple[Resident, Tensor]:
    draw = torch.Generator().manual_seed(channels)
    images = torch.randn(24, channels, 8, 8, generator=draw, dtype=torch.float64)
    return Resident(images), torch.randint(3, (24,), generator=draw)


def trained(channels: int, epochs: int = 2, **settings: object) -> tuple[nn.Module, Trainer]:
    torch.manual_seed(0)
    model = reuse.build("convnet:4,5", (channels, 8, 8), 3, norm="batch").double()
    trainer = Trainer(model, Classification(3), **grouped(**{"batch_size": 8, "learning_rate": 0.01, **settings}))
    for _ in trainer.epochs(*rows(channels), epochs=epochs):
        pass
    return model, trainer


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in MATRICES_ALONE])
def test_every_optimizer_takes_the_same_steps(name: str) -> None:
    model, _ = trained(3, optimizer=name, channels_last=True)
    expected, _ = trained(3, optimizer=name)
    torch.testing.assert_close(model.state_dict(), expected.state_dict(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("channels", [1, 3])
def test_maps_follow_the_weights(channels: int) -> None:
    model, _ = trained(channels, channels_last=True)
    seen: list[Tensor] = []
    for layer in (model.conv1, model.conv2):
        layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    model(*rows(channels)[0].gather(torch.arange(4)))
    assert [maps.is_contiguous(memory_format=LAST) and not maps.is_contiguous() for maps in seen] == [True, True]
    assert model.output.weight.is_contiguous()


def test_frozen_weights_stay_as_they_lie() -> None:
    torch.manual_seed(0)
    model = reuse.build("convnet:4,5", (3, 8, 8), 3)
    model.conv1.requires_grad_(False)
    Trainer(model, Classification(3), **grouped(channels_last=True))
    first, second = (next(layer.parameters()) for layer in (model.conv1, model.conv2))
    assert first.is_contiguous()
    assert second.is_contiguous(memory_format=LAST)


def test_killed_and_resumed_equals_uninterrupted() -> None:
    settings = {"channels_last": True, "optimizer": "adam", "average": ExponentialAverage(0.9)}
    whole, _ = trained(3, epochs=4, **settings)
    _, killed = trained(3, epochs=2, **settings)
    resumed, trainer = trained(3, epochs=0, **settings)
    trainer.load_state_dict(killed.state_dict())
    for _ in trainer.epochs(*rows(3), epochs=4):
        pass
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)


def bound(model: nn.Module) -> Trainer:
    return Trainer(model, Classification(3), **grouped(channels_last=True))


def pair(*more: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3), *more, nn.Flatten(), nn.LazyLinear(3))


def ready(model: nn.Module) -> nn.Module:
    model(torch.rand(2, 3, 8, 8))
    return model


def test_weights_that_share_memory_stay_tied() -> None:
    model = ready(pair())
    model[1].weight.data = model[0].weight.data
    bound(model)
    with torch.no_grad():
        model[0].weight.fill_(0.5)
    assert torch.equal(model[0].weight, model[1].weight)


@pytest.mark.parametrize("kind", ["frozen", "a buffer", "a part of something larger"])
def test_a_weight_in_the_memory_of_another_tensor_stays_there(kind: str) -> None:
    model = ready(pair())
    if kind == "frozen":
        model[1].weight.data = model[0].weight.data
        model[1].weight.requires_grad_(False)
        other = model[1].weight
    elif kind == "a buffer":
        model.register_buffer("copy", model[0].weight.data)
        other = model.copy
    else:
        flat = torch.zeros(100)
        model[0].weight.data = flat[:81].view(3, 3, 3, 3)
        other = flat[:81].view(3, 3, 3, 3)
    bound(model)
    with torch.no_grad():
        model[0].weight.fill_(0.5)
    assert torch.equal(model[0].weight, other)


def test_a_weight_under_two_names_is_laid_out() -> None:
    model = ready(pair())
    model[1].weight = model[0].weight
    bound(model)
    assert model[1].weight is model[0].weight
    assert model[0].weight.is_contiguous(memory_format=LAST)


def test_a_weight_that_a_norm_computes_is_the_same() -> None:
    model = ready(pair())
    nn.utils.parametrizations.weight_norm(model[0])
    x = torch.rand(2, 3, 8, 8)
    before = model(x)
    bound(model)
    torch.testing.assert_close(model(x), before)
