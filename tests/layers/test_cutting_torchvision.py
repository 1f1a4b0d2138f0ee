"""Cuts of torchvision's classification families: all but the classifier frozen, and the first 60 % of the weights."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torchvision.models as zoo
from torch import nn

from exact_cuts import ROWS, Case, hold_to_model
from reuse.nn.outputs import output_layers

small_vit = partial(zoo.VisionTransformer, 32, 8, 3, 2, 48, 96)
small_swin = partial(zoo.SwinTransformer, [4, 4], 24, [2, 2], [2, 4], [4, 4])
maxvit = partial(zoo.MaxVit, (64, 64), 16, 4, [16, 32], [1, 1], 16, 0.1)
FAMILIES: dict[str, tuple[Callable[..., nn.Module], int]] = {
    "alexnet": (zoo.alexnet, 64),
    "convnext_tiny": (zoo.convnext_tiny, 32),
    "densenet121": (zoo.densenet121, 32),
    "efficientnet_b0": (zoo.efficientnet_b0, 64),
    "efficientnet_v2_s": (zoo.efficientnet_v2_s, 64),
    "googlenet": (partial(zoo.googlenet, init_weights=True), 64),
    "inception_v3": (partial(zoo.inception_v3, init_weights=False), 299),
    "maxvit": (maxvit, 64),
    "mnasnet0_5": (zoo.mnasnet0_5, 32),
    "mobilenet_v2": (zoo.mobilenet_v2, 32),
    "mobilenet_v3_small": (zoo.mobilenet_v3_small, 32),
    "regnet_x_400mf": (zoo.regnet_x_400mf, 96),
    "regnet_y_400mf": (zoo.regnet_y_400mf, 96),
    "resnet18": (zoo.resnet18, 32),
    "resnext50_32x4d": (zoo.resnext50_32x4d, 32),
    "shufflenet_v2_x0_5": (zoo.shufflenet_v2_x0_5, 32),
    "squeezenet1_1": (zoo.squeezenet1_1, 64),
    "swin": (small_swin, 32),
    "swin_v2": (partial(small_swin, block=zoo.swin_transformer.SwinTransformerBlockV2), 32),
    "vgg11": (zoo.vgg11, 32),
    "vgg11_bn": (zoo.vgg11_bn, 32),
    "vit": (small_vit, 32),
    "wide_resnet50_2": (zoo.wide_resnet50_2, 32),
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
