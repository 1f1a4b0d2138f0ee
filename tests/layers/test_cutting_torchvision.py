"""Cuts of torchvision's classification families: all but the classifier frozen, and the first 60 % of the weights."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torchvision.models as zoo
from torch import nn

from exact_cuts import ALL_FAMILIES, ROWS, Case, hold_to_model
from reuse.nn.outputs import output_layers

small_vit = partial(zoo.VisionTransformer, 32, 8, 3, 2, 48, 96)
small_swin = partial(zoo.SwinTransformer, [4, 4], 24, [2, 2], [2, 4], [4, 4])
maxvit = partial(zoo.MaxVit, (64, 64), 16, 4, [16, 32], [1, 1], 16, 0.1)
small_convnext = partial(zoo.ConvNeXt, [zoo.convnext.CNBlockConfig(24, 48, 2), zoo.convnext.CNBlockConfig(48, None, 2)])
small_efficientnet_v2 = partial(
    zoo.EfficientNet,
    [
        zoo.efficientnet.FusedMBConvConfig(1, 3, 1, 24, 24, 1),
        zoo.efficientnet.FusedMBConvConfig(4, 3, 2, 24, 48, 2),
        zoo.efficientnet.MBConvConfig(4, 3, 2, 48, 64, 2),
    ],
    0.1,
    last_channel=128,
)
bottlenecks = partial(zoo.ResNet, zoo.resnet.Bottleneck, [1, 2, 1, 1])
WIDTH = 64
# Inception's auxiliary head needs 299 pixels, and two minutes; GoogLeNet's takes small images.


def with_narrow_head(make: Callable[..., nn.Module], **settings: Any) -> nn.Module:
    """Return a model with 64 units where its dense layers have 4,096, which are nine tenths of its weights."""
    with torch.device("meta"):
        model = make(**settings)
    dense = [index for index, layer in enumerate(model.classifier) if isinstance(layer, nn.Linear)]
    before = model.classifier[dense[0]].in_features
    for index in dense[:-1]:
        model.classifier[index] = nn.Linear(before, WIDTH)
        before = WIDTH
    model.classifier[dense[-1]] = nn.Linear(before, settings["num_classes"])
    model.to_empty(device="cpu")
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return model


FAMILIES: dict[str, tuple[Callable[..., nn.Module], int]] = {
    "alexnet": (partial(with_narrow_head, zoo.alexnet), 64),
    "convnext": (small_convnext, 32),
    "densenet121": (zoo.densenet121, 32),
    "efficientnet_b0": (zoo.efficientnet_b0, 64),
    "efficientnet_v2": (small_efficientnet_v2, 64),
    "googlenet": (partial(zoo.googlenet, init_weights=True), 64),
    "inception_v3": (
        partial(zoo.inception_v3, init_weights=False, aux_logits=ALL_FAMILIES),
        299 if ALL_FAMILIES else 96,
    ),
    "maxvit": (maxvit, 64),
    "mnasnet0_5": (zoo.mnasnet0_5, 32),
    "mobilenet_v2": (zoo.mobilenet_v2, 32),
    "mobilenet_v3_small": (zoo.mobilenet_v3_small, 32),
    "regnet_x_400mf": (zoo.regnet_x_400mf, 96),
    "regnet_y_400mf": (zoo.regnet_y_400mf, 96),
    "resnet18": (zoo.resnet18, 32),
    "resnext": (partial(bottlenecks, groups=32, width_per_group=4), 32),
    "shufflenet_v2_x0_5": (zoo.shufflenet_v2_x0_5, 32),
    "squeezenet1_1": (zoo.squeezenet1_1, 64),
    "swin": (small_swin, 32),
    "swin_v2": (partial(small_swin, block=zoo.swin_transformer.SwinTransformerBlockV2), 32),
    "vgg11": (partial(with_narrow_head, zoo.vgg11), 32),
    "vgg11_bn": (partial(with_narrow_head, zoo.vgg11_bn), 32),
    "vit": (small_vit, 32),
    "wide_resnet": (partial(bottlenecks, width_per_group=128), 32),
}
QUICK = ("googlenet", "mobilenet_v3_small", "resnet18", "swin_v2", "vit")


def cases(name: str, share: str) -> Case:
    make, pixels = FAMILIES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make(num_classes=7)
        images = torch.randn(ROWS, 3, pixels, pixels).double()
    frozen = [f"!{n}" for n in output_layers(model)] if share == "head" else first_share(model, 0.6)
    return Case(partial(made, make), frozen, (images,))


def made(make: Callable[..., nn.Module]) -> nn.Module:
    return make(num_classes=7).double()


def first_share(model: nn.Module, share: float) -> list[str]:
    budget = share * sum(p.numel() for p in model.parameters())
    names: list[str] = []
    for name, parameter in model.named_parameters():
        budget -= parameter.numel()
        if budget < 0 and names:
            break
        names.append(name)
    return names


@pytest.mark.parametrize("share", ["head", "60 %"])
@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in FAMILIES])
def test_exact(name: str, share: str) -> None:
    hold_to_model(cases(name, share), tolerance=1e-7)
