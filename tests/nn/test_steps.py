"""Steps of sequences: hidden states as the net itself computes them, and steps drawn in exact numbers."""

import pytest
import torch

import reuse
from reuse.nn.recurrent import RecurrentNet
from reuse.nn.steps import draw_steps, hidden_steps, hide_steps, present, steps_at

TOKENS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8, 0, 0, 0, 0], [7, 0, 0, 0, 0, 0, 0, 0]])


@pytest.mark.parametrize("settings", [{}, {"norm": "layer"}, {"norm": "layer:input"}])
@pytest.mark.parametrize("spec", ["gru:6,5", "lstm:5"])
def test_the_last_hidden_state_is_what_the_net_goes_by(spec: str, settings: dict[str, str]) -> None:
    net = reuse.build(spec, (7, 3), 2, **settings)
    assert isinstance(net, RecurrentNet)
    x = torch.randn(4, 7, 3)
    steps = hidden_steps(net, x)
    assert steps.shape == (4, 7, 5)
    torch.testing.assert_close(net.output(steps[:, -1]), net(x))


def test_of_tokens_it_is_the_last_that_is_no_padding() -> None:
    net = reuse.build("gru:5", (8,), 2, num_tokens=10, embedding_size=4)
    steps = hidden_steps(net, TOKENS)  # type: ignore[arg-type]
    last = torch.stack([steps[0, 7], steps[1, 3], steps[2, 0]])
    torch.testing.assert_close(net.output(last), net(TOKENS))  # type: ignore[operator]


@pytest.mark.parametrize(("share", "counts"), [(0.15, [1, 1, 0]), (0.5, [4, 2, 0]), (0.95, [7, 3, 0])])
def test_exactly_a_share_of_what_is_there_is_drawn(share: float, counts: list[int]) -> None:
    there = present(TOKENS)
    for _ in range(20):
        places, drawn = draw_steps(there, share)
        assert drawn.sum(1).tolist() == counts
        hidden = hide_steps(TOKENS, places, drawn)
        assert ((hidden != TOKENS).sum(1)).tolist() == counts, "steps that are there, each once"
        restored = hidden.clone()
        for row, place in drawn.nonzero().tolist():
            restored[row, places[row, place]] = steps_at(TOKENS, places)[row, place]
        assert torch.equal(restored, TOKENS)


def test_steps_of_numbers_are_hidden_whole() -> None:
    x = torch.randn(6, 8, 3)
    places, drawn = draw_steps(present(x), 0.25)
    zeros = hide_steps(x, places, drawn) == 0
    assert torch.equal(zeros.all(2), zeros.any(2))
    assert zeros.all(2).sum(1).tolist() == [2] * 6
    assert torch.equal(steps_at(x, places)[1, 0], x[1, places[1, 0]])
