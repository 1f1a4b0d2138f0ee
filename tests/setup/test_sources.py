"""Sources: a run, a weights file, a model spec, or the newest pretraining run; anything else is one clear line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from listening import Listener
from reuse.errors import RunError, UnknownNameError, UsageError
from reuse.finetuning.finetune import finetune
from reuse.layers.weights import load_weights
from reuse.pretraining.pretrain import pretrain
from reuse.runs.models import load_model
from reuse.setup.sources import find_source

X = np.random.default_rng(0).random((40, 6))
Y = np.arange(40) % 2


def pretrained(**settings: Any) -> str:
    return pretrain(data=(X, None), model="mlp:5,4", epochs=1, **settings).run


def test_a_run_brings_spec_weights_settings_and_manifest() -> None:
    run = pretrained(out="mine", norm="batch")
    for given in (run, Path(run), f"{run}/"):
        source = find_source(given)
        assert source.spec == "mlp:5,4"
        assert source.settings.norm == "batch"
        assert source.manifest.kind == "pretrain"
        assert source.weights is not None
        torch.testing.assert_close(source.weights, load_file("mine/weights.safetensors"), rtol=0, atol=0)


def test_without_a_name_it_is_the_newest_finished_pretraining_run() -> None:
    with pytest.raises(RunError, match=r"no finished pretraining run under ./runs: run `reuse pretrain` first"):
        find_source(None)
    pretrained()
    newest = pretrained()
    finetune(newest, freeze="hidden1", data=(X, Y), epochs=1)
    assert find_source(None).name == newest


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_of_weights_needs_a_model(suffix: str) -> None:
    weights = load_file(f"{pretrained(out='mine')}/weights.safetensors")
    name = f"file{suffix}"
    save_file(weights, name) if suffix == ".safetensors" else torch.save(weights, name)
    source = find_source(name)
    assert (source.spec, source.manifest, source.settings) == (None, None, None)
    assert source.weights is not None
    torch.testing.assert_close(source.weights, weights, rtol=0, atol=0)
    with pytest.raises(UsageError, match="does not say of which model: give --model"):
        finetune(name, data=(X, Y))
    with pytest.raises(UsageError, match="is not a run, so it names no data: give --data"):
        finetune(name, model="mlp:5,4")
    result = finetune(name, model="mlp:5,4", freeze="hidden1", data=(X, Y), epochs=1)
    assert (result.restored, result.fresh) == (("hidden1", "hidden2"), ("output",))


@pytest.mark.parametrize("spec", ["timm:resnet18", "mlp:5,4", "convnet:4", "some.module:function"])
def test_a_model_spec_brings_no_file(spec: str) -> None:
    source = find_source(spec)
    assert (source.name, source.spec, source.weights) == (spec, spec, None)


def test_what_is_no_source_says_so() -> None:
    pretrained(out="runs/first-try")
    with pytest.raises(RunError, match=r"nowhere\.safetensors: there is no such run folder or weights file"):
        find_source("nowhere.safetensors")
    with pytest.raises(RunError, match=r"runs/nowhere: there is no such run folder or weights file"):
        find_source("runs/nowhere")
    with pytest.raises(UnknownNameError, match="neither a run folder, nor a weights file, nor a model: did you mean 'first-try'"):  # noqa: E501 # fmt: skip
        find_source("first_tri")
    Path("folder").mkdir()
    with pytest.raises(RunError, match="folder is no run folder, or damaged"):
        find_source("folder")
    Path("runs/first-try/weights.safetensors").unlink()
    with pytest.raises(RunError, match=r"weights\.safetensors is missing: the run is damaged or was not finished"):
        find_source("runs/first-try")


def test_arrays_are_not_kept_by_a_run() -> None:
    with pytest.raises(UsageError, match="was trained on arrays, which a run does not keep: give them as data"):
        finetune(pretrained(), freeze="hidden1")


LIGHTNING = {"epoch": 1, "global_step": 9, "optimizer_states": [], "hyper_parameters": {"lr": 0.1}}


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "backbone.", "net.encoder."])
def test_checkpoints_from_elsewhere_are_restored_and_what_was_mapped_is_said(prefix: str) -> None:
    weights = load_file(f"{pretrained(out='mine')}/weights.safetensors")
    named = {f"{prefix}{name}": tensor for name, tensor in weights.items() if not name.startswith("output")}
    torch.save(LIGHTNING | {"state_dict": {**named, "criterion.weight": torch.ones(3)}}, "last.ckpt")
    listener = Listener()
    result = finetune("last.ckpt", model="mlp:5,4", data=(X, Y), freeze="hidden1", epochs=1, reporter=listener)
    assert result.restored == ("hidden1", "hidden2")
    kept = load_weights(f"{result.run}/weights.safetensors")
    name = "hidden1.linear.weight"
    torch.testing.assert_close(kept[name], weights[name], rtol=0, atol=0)
    said = "\n".join(result.notes)
    assert "left behind in last.ckpt: criterion" in said
    assert (f"{prefix} is taken off" in said) == bool(prefix)
    assert listener.said("left behind in last.ckpt: criterion")


def test_layers_with_other_names_are_renamed_as_the_user_says() -> None:
    weights = load_file(f"{pretrained(out='mine')}/weights.safetensors")
    other = {"hidden1": "first", "hidden2": "second.inner"}
    parts = {name: name.partition(".") for name in weights if name.startswith("hidden")}
    torch.save({f"{other[layer]}.{rest}": weights[name] for name, (layer, _, rest) in parts.items()}, "other.pt")
    settings: dict[str, Any] = {"model": "mlp:5,4", "data": (X, Y), "freeze": "hidden1", "epochs": 1}
    with pytest.raises(UsageError, match="nothing of the source fits"):
        finetune("other.pt", **settings)
    result = finetune("other.pt", rename="first=hidden1,second.inner=hidden2", **settings)
    assert result.restored == ("hidden1", "hidden2")
    assert result.settings["rename"] == "first=hidden1,second.inner=hidden2"


def test_position_embeddings_of_another_image_size_are_the_old_ones_resampled() -> None:
    from timm.layers import resample_abs_pos_embed

    photos = np.random.default_rng(1).integers(0, 255, (20, 3, 32, 32), dtype=np.uint8), np.arange(20) % 2
    model = "timm:vit_tiny_patch16_224"
    small = finetune(model, random_weights=True, data=photos, image_size=32, epochs=1, out="small")
    old = load_model(small.run).network.get_parameter("pos_embed").detach()
    torch.save(load_model(small.run).network.state_dict(), "vit.pth")
    right = resample_abs_pos_embed(old, [3, 3], num_prefix_tokens=1)
    for source in ("small", "vit.pth"):
        result = finetune(source, model=model, data=photos, image_size=48, freeze="!head", epochs=1, out=f"of-{source}")
        torch.testing.assert_close(load_model(result.run).network.get_parameter("pos_embed").detach(), right)
        assert "resampled to the patches of this image size: pos_embed from (1, 5, 192) to (1, 10, 192)" in result.notes
        assert "pos_embed" in result.restored
