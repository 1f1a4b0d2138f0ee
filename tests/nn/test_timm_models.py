import socket
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
import timm
import torch
from safetensors.torch import save_file

from reuse.errors import RunError, UnknownNameError, UsageError
from reuse.nn import hub, timm_models
from reuse.nn.building import build, output_layer, preprocessing_of, replace_output

VIT = "timm:vit_tiny_patch16_224"
DISTILLED = "timm:deit_tiny_distilled_patch16_224"
CLASSIFIERS = {
    "timm:resnet18": ["fc"],
    VIT: ["head"],
    DISTILLED: ["head", "head_dist"],
    "timm:convnext_atto": ["head.fc"],
    "timm:mobilenetv3_small_050": ["classifier"],
}


@pytest.mark.parametrize("spec", CLASSIFIERS)
def test_output_layer_is_timms_classifier_and_can_be_replaced(spec: str) -> None:
    model = build(spec, (3, 32, 32), 5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert output_layer(model) == CLASSIFIERS[spec][0]
    assert replace_output(model, 7) == CLASSIFIERS[spec]
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    heads = tuple(f"{name}." for name in CLASSIFIERS[spec])
    assert changed
    assert {name for name in changed if "num_batches" not in name and "running" not in name} == {
        name for name in before if name.startswith(heads)
    }


def test_channels_and_dropout_are_passed_on() -> None:
    model = build("timm:resnet18", (2, 32, 32), 4, dropout=0.3)
    assert model.conv1.in_channels == 2
    assert model.drop_rate == 0.3


def test_building_leaves_the_model_in_training_mode_and_its_statistics_fresh() -> None:
    model = build("timm:resnet18", (3, 32, 32), 4)
    assert all(module.training for module in model.modules())
    assert not model.bn1.running_mean.any()


def test_same_seed_same_model_and_same_random_state() -> None:
    def draw() -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(1)
        return build("timm:mobilenetv3_small_050", (3, 32, 32), 4).classifier.weight, torch.rand(3)

    for a, b in zip(draw(), draw(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_unknown_names_and_tags_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'resnet18'"):
        build("timm:resnet-18x", (3, 32, 32), 4)
    with pytest.raises(UnknownNameError, match=r"resnet18\.a1_in1k"):
        build("timm:resnet18.a1", (3, 32, 32), 4)


def test_inputs_that_the_model_cannot_take_are_refused_with_what_it_takes() -> None:
    with pytest.raises(UsageError, match=r"\(3, 8, 8\).*\(3, 224, 224\)"):
        build("timm:convnext_atto", (3, 8, 8), 4)
    with pytest.raises(UsageError, match=r"images.*\(64,\)"):
        build("timm:resnet18", (64,), 4)


@pytest.mark.parametrize(
    "setting", [{"init": "zeros"}, {"input_dropout": 0.1}, {"recurrent_dropout": 0.1}, {"embedding_size": 3}]
)
def test_settings_that_timm_does_not_take_are_not_dropped_in_silence(setting: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(setting))):
        build("timm:resnet18", (3, 32, 32), 4, **setting)


def no_network(*args: object, **kwargs: object) -> NoReturn:
    raise socket.gaierror("no network")


def test_weights_that_cannot_be_fetched_are_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    with pytest.raises(RunError, match=r"timm:resnet18 could not be fetched.*--random-weights") as caught:
        build("timm:resnet18", (3, 32, 32), 4, pretrained=True)
    assert "\n" not in str(caught.value)


def test_weights_in_the_hubs_cache_need_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = timm.create_model("resnet18")
    snapshot = tmp_path / "models--timm--resnet18.a1_in1k" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    save_file(source.state_dict(), snapshot / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = build("timm:resnet18", (1, 32, 32), 4, pretrained=True)
    assert torch.equal(model.layer1[0].conv1.weight, source.layer1[0].conv1.weight)
    torch.testing.assert_close(model.conv1.weight, source.conv1.weight.sum(1, keepdim=True))


def test_weights_of_another_revision_do_not_count_as_being_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """timm asks for one revision, and without a network finds no other."""
    snapshot = tmp_path / "models--timm--resnet18.a1_in1k" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot / "model.safetensors").touch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config = timm.get_pretrained_cfg("resnet18")
    assert not timm_models.can_be_had(config)
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    assert timm_models.can_be_had(config)
    assert not timm_models.can_be_had(replace(config, hf_hub_id=f"{config.hf_hub_id}@{'1' * 40}"))


def test_weights_that_do_not_exist_are_said_so() -> None:
    with pytest.raises(RunError, match="no pretrained weights of botnet50ts_256"):
        build("timm:botnet50ts_256", (3, 32, 32), 4, pretrained=True)


def test_a_server_that_refuses_counts_as_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: object, timeout: float) -> NoReturn:
        raise hub.urllib.error.HTTPError("https://x", 403, "no", {}, None)  # type: ignore[arg-type]

    monkeypatch.setattr(hub.urllib.request, "urlopen", refuse)
    assert hub.answers("https://x")


def test_preprocessing_is_timms_and_none_for_our_own() -> None:
    expected = {
        "input_size": (3, 224, 224), "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225),
        "interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "center",
    }  # fmt: skip
    assert preprocessing_of(build("timm:resnet18", (3, 32, 32), 4)) == expected
    assert preprocessing_of("timm:resnet18") == expected
    assert preprocessing_of(build("mlp:3", (2,), 4)) is None
    assert preprocessing_of("mlp:3") is None


def test_preprocessing_for_other_channels_takes_the_mean_over_timms() -> None:
    grey = preprocessing_of(build("timm:resnet18", (1, 32, 32), 4))
    assert grey is not None
    assert grey["input_size"] == (1, 224, 224)
    assert grey["mean"] == pytest.approx(((0.485 + 0.456 + 0.406) / 3,))
    assert grey["std"] == pytest.approx(((0.229 + 0.224 + 0.225) / 3,))
