"""What one run hands to the next: encoders, auxiliary tasks, layers dropped, added and restored by pattern."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from finished_runs import weights
from listening import Listener
from reuse import build, load
from reuse.errors import UsageError
from reuse.finetuning.finetune import finetune
from reuse.nn.decoders import build_decoder, encoder_of
from reuse.pretraining.pretrain import pretrain
from reuse.runs.results import Result

DIGITS: dict[str, Any] = {"data": "digits", "labels": 60}
HIDDEN1 = ("hidden1.linear.weight", "hidden1.linear.bias")


def same(result: Result, source: Result, names: tuple[str, ...]) -> bool:
    ours, theirs = weights(result), weights(source)
    return all(torch.equal(ours[name], theirs[name]) for name in names)


@pytest.fixture
def encoder() -> Result:
    return pretrain(data="digits", model="mlp:20,12", epochs=2, out="encoder")


def test_an_encoder_is_reused_bit_for_bit_and_its_decoder_stays(encoder: Result) -> None:
    result = finetune("encoder", freeze="hidden1", epochs=2, **DIGITS)
    assert result.frozen == ("hidden1",)
    assert (result.restored, result.fresh) == (("hidden1", "hidden2"), ("output",))
    assert same(result, encoder, HIDDEN1)
    assert not same(result, encoder, ("hidden2.linear.weight",)), "it trains"
    assert {name.partition(".")[0] for name in weights(encoder)} == {"hidden1", "hidden2"}
    decoder = build_decoder(encoder_of(build("mlp:20,12", (64,), 10)), torch.zeros(1, 64))
    decoder.load_state_dict(load_file("encoder/decoder.safetensors"))


def test_the_decoder_beside_the_encoder_gives_the_reported_error(encoder: Result) -> None:
    rows = load("digits").test.inputs
    (x,) = rows.gather(torch.arange(len(rows)))
    model = encoder_of(build("mlp:20,12", tuple(x.shape[1:]), 10, activation="elu"))
    decoder = build_decoder(model, x[:1])
    model.load_state_dict(weights(encoder))
    decoder.load_state_dict(load_file("encoder/decoder.safetensors"))
    with torch.no_grad():
        error = (decoder(model(x)) - x).square().mean()
    assert encoder.metrics["test"]["mse"] == pytest.approx(float(error), rel=1e-5)


def test_a_convolutional_encoder_is_reused_too() -> None:
    images = torch.rand(40, 1, 8, 8).numpy()
    source = pretrain("denoising_autoencoder", data=(images, None), model="convnet:4,6", epochs=1, out="encoder")
    result = finetune("encoder", freeze="conv1", data=(images, torch.arange(40).numpy() % 2), epochs=1)
    assert result.restored == ("conv1", "conv2")
    assert same(result, source, tuple(name for name in weights(source) if name.startswith("conv1")))


def test_an_auxiliary_task_lends_its_lower_layers() -> None:
    source = pretrain("supervised", data="digits", classes="0-7", model="mlp:24,12", epochs=3, out="eight")
    assert weights(source)["output.weight"].shape == (8, 12)
    result = finetune("eight", freeze="hidden1,hidden2", data="digits", classes="8,9", epochs=15, learning_rate=0.01)
    assert (result.restored, result.fresh) == (("hidden1", "hidden2"), ("output",))
    assert same(result, source, (*HIDDEN1, "hidden2.linear.weight", "hidden2.linear.bias"))
    assert weights(result)["output.weight"].shape == (2, 12)
    assert result.metrics["test"]["accuracy"] > 0.8
    assert sum(result.sizes.values()) == 354, "digits holds 174 eights and 180 nines"


def test_an_output_layer_is_fresh_even_where_it_would_fit_unless_it_is_asked_for() -> None:
    source = pretrain("supervised", data="digits", model="mlp:12", epochs=1, out="source")
    assert finetune("source", epochs=1, **DIGITS).fresh == ("output",)
    kept = finetune("source", restore="hidden1,output", freeze="output", epochs=1, **DIGITS)
    assert (kept.restored, kept.fresh) == (("hidden1", "output"), ())
    assert same(kept, source, ("output.weight",))


def test_layers_restored_by_pattern_into_another_network() -> None:
    """Widths 30-20-20-20 lend three layers to 30-20-20-10, of which two are frozen."""
    source = pretrain("supervised", data="digits", model="mlp:30,20,20,20", epochs=1, out="source")
    listener = Listener()
    result = finetune(
        "source",
        model="mlp:30,20,20,10",
        restore="re:hidden[123]",
        freeze="hidden1,hidden2",
        epochs=2,
        optimizer="sgd",
        learning_rate=0.01,
        batch_size=20,
        reporter=listener,
        **DIGITS,
    )
    assert (result.restored, result.fresh) == (("hidden1", "hidden2", "hidden3"), ("hidden4", "output"))
    assert same(result, source, (*HIDDEN1, "hidden2.linear.weight", "hidden2.linear.bias"))
    assert "restored from source: hidden1, hidden2, hidden3; fresh: hidden4, output" in listener.lines
    assert result.frozen == ("hidden1", "hidden2")


def test_layers_dropped_and_added() -> None:
    pretrain("supervised", data="digits", model="mlp:16,12,10", epochs=1, out="source")
    dropped = finetune("source", drop_layers="hidden3", freeze="hidden1", epochs=1, **DIGITS)
    assert dropped.settings["model"] == "mlp:16,12"
    assert (dropped.restored, dropped.fresh) == (("hidden1", "hidden2"), ("output",))
    added = finetune("source", add_layers="9,8", freeze="hidden1", epochs=1, **DIGITS)
    assert added.settings["model"] == "mlp:16,12,10,9,8"
    assert added.fresh == ("hidden4", "hidden5", "output")
    exchanged = finetune("source", drop_layers="hidden3", add_layers="6", freeze="hidden1", epochs=1, **DIGITS)
    assert exchanged.settings["model"] == "mlp:16,12,6"
    assert exchanged.fresh == ("hidden3", "output"), "a layer of another width is fresh"


def test_a_frozen_layer_that_nobody_trained_is_spoken_of() -> None:
    pretrain("supervised", data="digits", model="mlp:16,12", epochs=1, out="source")
    listener = Listener()
    finetune("source", restore="hidden1", freeze="hidden1,hidden2", epochs=1, reporter=listener, **DIGITS)
    assert "warning: these frozen layers have random weights: hidden2" in listener.lines


def test_patterns_that_match_nothing_or_do_not_fit_are_refused() -> None:
    pretrain("supervised", data="digits", model="mlp:16,12", epochs=1, out="source")
    with pytest.raises(UsageError, match="hiden1"):
        finetune("source", freeze="hiden1", epochs=1, **DIGITS)
    with pytest.raises(UsageError, match="of another shape"):
        finetune("source", model="mlp:16,9", restore="hidden2", epochs=1, **DIGITS)
    with pytest.raises(UsageError, match="everything would be frozen"):
        finetune("source", freeze="*", epochs=1, **DIGITS)


def test_without_data_the_three_ways_are_compared_on_the_same_rows() -> None:
    pretrain(data="digits", model="mlp:16,12", epochs=1)
    result = finetune(freeze="hidden1", epochs=2, draws=1)
    assert list(result.comparison) == ["scratch", "frozen", "unfrozen"]
    assert result.sizes["train"] + result.sizes["valid"] == 30
    for name in ("scratch", "unfrozen"):
        assert (Path(result.run) / f"compared-{name}" / "result.json").exists()
    assert result.comparison["frozen"]["accuracy"] == result.metrics["test"]["accuracy"]
