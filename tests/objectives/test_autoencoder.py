"""Reconstruction: the error against its formula, noise only where it belongs."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reuse.data.loading import load
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.autoencoder import Denoising, Reconstruction
from reuse.objectives.menu import parse_objective
from reuse.objectives.objective import Objective
from reuse.settings.training import ObjectiveSettings


class Remembering(nn.Module):
    """Gives back half its input and remembers it."""

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen = inputs
        return inputs / 2


def test_error_is_against_the_clean_input() -> None:
    rows = torch.randn(40, 3, 2, dtype=torch.float64)
    network = Remembering()
    torch.manual_seed(0)
    (loss,) = Reconstruction(noise=0.5).losses(network, Batch((rows,))).values()
    assert not torch.equal(network.seen, rows)
    torch.testing.assert_close(loss, ((network.seen / 2 - rows) ** 2).mean())


@pytest.mark.parametrize("objective", [Reconstruction(), Reconstruction(0.5), Reconstruction(0.5, "masking")])
def test_measuring_is_clean_and_adds_up_over_batches(objective: Reconstruction) -> None:
    rows = torch.randn(10, 3, 2, dtype=torch.float64)
    tallies = [objective.tally(Remembering(), Batch((some,))) for some in rows.split([3, 7])]
    found = objective.metrics({name: tallies[0][name] + tallies[1][name] for name in tallies[0]})
    assert found == pytest.approx({"loss": float((rows**2).mean() / 4), "mse": float((rows**2).mean() / 4)})


def test_gaussian_noise_has_the_deviation_asked_for() -> None:
    network, rows = Remembering(), torch.full((200, 500), 3.0)
    torch.manual_seed(0)
    Reconstruction(noise=0.7).losses(network, Batch((rows,)))
    noise = network.seen - rows
    assert noise.std().item() == pytest.approx(0.7, rel=0.01)
    assert noise.mean().item() == pytest.approx(0, abs=0.01)


def test_masking_zeroes_the_share_asked_for_and_leaves_the_rest() -> None:
    network, rows = Remembering(), torch.full((200, 500), 3.0)
    torch.manual_seed(0)
    Reconstruction(noise=0.3, kind="masking").losses(network, Batch((rows,)))
    assert set(network.seen.unique().tolist()) == {0.0, 3.0}
    assert (network.seen == 0).double().mean().item() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize(
    ("noise", "kind"), [(-1.0, "gaussian"), (float("nan"), "gaussian"), (1.0, "masking"), (0, "x")]
)
def test_impossible_noise_is_refused(noise: float, kind: str) -> None:
    with pytest.raises(UsageError):
        Reconstruction(noise, kind)


def test_menu_makes_what_it_says() -> None:
    def made(name: str, targets: np.ndarray) -> Objective:
        rows = np.zeros((20, 3), np.float32)
        return parse_objective(name).settled(load((rows, targets)), ObjectiveSettings())

    numbers = np.linspace(0, 1, 20, dtype=np.float32)
    assert made("autoencoder", numbers) == Reconstruction()
    assert made("denoising_autoencoder", numbers) == Denoising(0.25, "masking")
    assert made("supervised", numbers).monitor == "loss"
