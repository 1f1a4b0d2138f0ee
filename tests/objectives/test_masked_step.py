"""Hidden steps: the loss by hand, nothing hidden that the encoder sees, encoders of any kind."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import reuse
from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.masked_step import GapFiller, MaskedStep

RANDOM = np.random.default_rng(0)
STEPS = RANDOM.normal(size=(30, 6, 3)).astype(np.float32)
TOKENS = RANDOM.integers(1, 9, (30, 6))
TOKENS[::3, 4:] = 0


def built(objective: MaskedStep, data: Dataset) -> GapFiller:
    torch.manual_seed(0)
    tokens = {} if data.num_tokens is None else {"num_tokens": data.num_tokens, "embedding_size": 4}
    trained = objective.build(reuse.build("gru:5", data.input_shape, 2, **tokens), data)
    assert isinstance(trained, GapFiller)
    return trained.double()


def test_of_tokens_it_is_the_cross_entropy_of_what_was_hidden() -> None:
    objective = MaskedStep(0.4, hidden=7)
    network, rows = built(objective, reuse.load((TOKENS, None), vocabulary=9)), torch.from_numpy(TOKENS[:9])
    seen: list[torch.Tensor] = []
    network.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    torch.manual_seed(1)
    loss = objective.losses(network, Batch((rows,)))["loss"]
    spread, tell, places = network.spread.linear, network.tell, network.places.weight  # type: ignore[union-attr]
    coding = (network.encoder(seen[0]) @ spread.weight.T + spread.bias).detach().numpy()  # type: ignore[operator, union-attr]
    weight, bias = tell.weight.detach().numpy(), tell.bias.detach().numpy()  # type: ignore[union-attr, operator]
    errors = []
    for row, place in (seen[0] != rows).nonzero().tolist():
        hidden = np.maximum(coding[row] + places[place].detach().numpy(), 0)
        logits = weight @ hidden + bias
        errors.append(math.log(np.exp(logits).sum()) - logits[TOKENS[row, place]])
    assert len(errors) == 9 * 2, "two of six, and of four"
    assert loss.item() == pytest.approx(np.mean(errors), rel=1e-9)


def test_of_numbers_it_is_the_squared_error_of_what_was_hidden() -> None:
    objective = MaskedStep(0.5, hidden=7)
    network, rows = built(objective, reuse.load((STEPS, None))), torch.from_numpy(STEPS).double()
    torch.manual_seed(1)
    loss = objective.losses(network, Batch((rows,)))["loss"]
    torch.manual_seed(1)
    told, truth, drawn = network(rows)
    assert drawn.all()
    assert loss.item() == pytest.approx(np.square((told - truth).detach().numpy()).mean(), rel=1e-9)


@pytest.mark.parametrize(("rows", "settings"), [(STEPS, {}), (TOKENS, {"vocabulary": 9})])
@pytest.mark.parametrize("model", ["lstm:5", "mlp:8"])
def test_any_encoder_of_sequences_takes_part(model: str, rows: np.ndarray, settings: dict, tmp_path: Path) -> None:
    objective = MaskedStep(0.3, hidden=7)
    run = reuse.pretrain(objective, data=(rows, None), model=model, epochs=2, out=tmp_path / "run", **settings)
    assert all(map(math.isfinite, run.metrics["train"].values()))
    tuned = reuse.finetune(run.run, data=(rows, np.arange(30) % 2), epochs=1, out=tmp_path / "tuned", **settings)
    assert tuned.restored


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="share of hidden steps"):
        MaskedStep(share)
