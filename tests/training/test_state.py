"""Which tensors a training changes, and where they are."""

import torch
from torch import nn

from reuse.layers.freezing import freeze
from reuse.training.state import LivePlaces, live_tensors


def test_places_give_the_live_tensors_that_are_there_now() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    freeze(model, "0")
    places = LivePlaces(model)
    assert {n: id(t) for n, t in places.tensors().items()} == {n: id(t) for n, t in live_tensors(model).items()}
    assert "0.weight" not in places.tensors()
    model[1].running_mean = torch.ones(4)  # a module may put another tensor in the place of its buffer
    assert places.tensors()["1.running_mean"] is model[1].running_mean
