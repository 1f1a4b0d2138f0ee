"""Tied weights: transposes of the encoder's, before and after training, counted and saved once."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import linear

import reuse
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.decoders import Autoencoder
from reuse.objectives.tied import Tied

ROWS = np.random.default_rng(0).random((50, 6))


def built(model: str = "mlp:10,4", **options: Any) -> tuple[Autoencoder, Tensor]:
    data = reuse.load((ROWS, None))
    trained = Tied().build(reuse.build(model, (6,), 3, **options), data).double()
    assert isinstance(trained, Autoencoder)
    return trained, data.train.inputs.gather(torch.arange(20))[0].double()


def by_hand(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """Down through both layers and up through their transposes, by formula."""
    first, second = weights["encoder.hidden1.linear.weight"], weights["encoder.hidden2.linear.weight"]
    h = linear(x, first, weights["encoder.hidden1.linear.bias"]).relu()
    code = linear(h, second, weights["encoder.hidden2.linear.bias"]).relu()
    up = (code @ second + weights["decoder.hidden1.linear.bias"]).relu()
    return up @ first + weights["decoder.output.bias"]


def test_the_way_back_is_the_transposes_before_and_after_training() -> None:
    network, rows = built()
    assert {name for name, _ in network.named_parameters() if name.startswith("decoder")} == {
        "decoder.hidden1.linear.bias",
        "decoder.output.bias",
    }
    trainer = reuse.Trainer(network, Tied(noise=0.1), optimization=reuse.OptimizerSettings("adam", learning_rate=0.01))
    before = network.encoder.get_submodule("hidden1.linear").weight.detach().clone()
    for _ in range(2):
        network.eval()
        expected = by_hand(network.state_dict(), rows)
        torch.testing.assert_close(network(rows), expected)
        loss = Tied().losses(network, Batch((rows,)))["loss"]
        torch.testing.assert_close(loss, (expected - rows).square().mean())
        list(trainer.epochs(rows, None, epochs=3))
    assert not torch.equal(before, network.encoder.get_submodule("hidden1.linear").weight)


def test_a_copy_is_tied_to_its_own_encoder() -> None:
    network, rows = built()
    other = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    torch.testing.assert_close(other(rows), by_hand(other.state_dict(), rows))


def test_a_run_keeps_one_set_of_weights() -> None:
    reuse.pretrain("tied", data=(ROWS, None), model="mlp:10,4", epochs=1, out="run")
    assert set(load_file("run/decoder.safetensors")) == {"hidden1.linear.bias", "output.bias"}


def test_other_encoders_are_refused() -> None:
    with pytest.raises(UsageError, match="tied trains dense layers one by one, and this is a RecurrentNet"):
        reuse.pretrain("tied", data=(ROWS.reshape(50, 3, 2), None), model="gru:4", epochs=1)
