"""Cuts of timm's architectures, one or two of each family, equal the model after randomising everything in it.

Two ways to freeze: all but the classifier, and the first 60 % of the parameters. Compared are outputs, in training mode
(dropout at 0) and in evaluation mode, and gradients, on two batch sizes that the cut has not seen.
"""

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, fx, nn

from exact_cuts import ALL_FAMILIES
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze
from reuse.layers.parts import Cut
from reuse.nn.outputs import output_layers

QUICK = ("resnet18", "vit_tiny_patch16_224", "densenet121", "ghostnet_050")
# A 64 pixel image unless the model wants another size. Among them: class tokens (cait, crossvit, deit, xcit), shapes
# computed at run time (swin, cait, mvitv2), functional dropout (ghostnet), control flow that torch.fx cannot follow
# (crossvit, twins, hiera, mobilevit, hrnet, convit, tiny_vit), windows folded into the batch (maxvit, swin, davit),
# writes in place (resnets, res2net), several classifiers and outputs (crossvit, levit).
SLOW = """
caformer_s18 cait_xxs24_224 coat_lite_tiny coatnet_nano_rw_224 convit_tiny convmixer_768_32 convnext_atto
crossvit_tiny_240:240 cs3darknet_s cspdarknet53 davit_tiny deit_tiny_patch16_224 dla34 dpn48b edgenext_xx_small
efficientformerv2_s0 efficientnet_b0 efficientvit_b0 efficientvit_m0:224 ese_vovnet19b_dw eva02_tiny_patch14_224:224
fasternet_t0 focalnet_tiny_srf gcvit_xxtiny gernet_s gmlp_ti16_224:224 hardcorenas_a hgnetv2_b0 hiera_tiny_224
hrnet_w18_small inception_next_tiny lcnet_035 levit_128s:224 mambaout_femto maxvit_pico_rw_256 mixer_s32_224:224
mixnet_s
mnasnet_small mobilenetv3_small_050 mobilenetv4_conv_small mobilevit_xxs mobilevitv2_050 mvitv2_tiny nest_tiny
nextvit_small nf_regnet_b0 pit_ti_224:224 poolformer_s12 pvt_v2_b0 regnetx_002 repghostnet_050 repvgg_a0 repvit_m0_9
res2net50_14w_8s resnest14d rexnet_100 seresnet18 shvit_s1 skresnet18 starnet_s1 swiftformer_xs
swin_tiny_patch4_window7_224 swinv2_cr_tiny_ns_224 tiny_vit_5m_224 tinynet_e twins_svt_small visformer_tiny:224
vovnet39a
xcit_nano_12_p8_224
"""
SLOW_NAMES = SLOW.split()
SHARES = ("head", "60 %")
# The slow ones are frozen in one of the two ways, in turn; in both with REUSE_FAMILIES=all.
CASES = [pytest.param(name, share, id=f"{name}-{share}") for name in QUICK for share in SHARES] + [
    pytest.param(name, share, id=f"{name}-{share}", marks=pytest.mark.slow)
    for number, name in enumerate(SLOW_NAMES)
    for share in (SHARES if ALL_FAMILIES else SHARES[number % 2 : number % 2 + 1])
]


def test_the_list_is_long_enough() -> None:
    names = [name.partition(":")[0] for name in SLOW_NAMES] + list(QUICK)
    assert len(set(names)) == len(names) >= 60


@pytest.mark.parametrize(("name", "share"), CASES)
def test_exact(name: str, share: str) -> None:
    name, _, size = name.partition(":")
    pixels = int(size or 64)
    generator = torch.Generator().manual_seed(1)
    model = randomised(build(name, pixels), generator)
    freeze(model, all_but_head(model) if share == "head" else first_share(model, 0.6))
    parts = cut(model, torch.randn(3, 3, pixels, pixels, generator=generator))
    assert no_frozen_layer_upstream(parts)
    for rows in (2, 4):
        images = torch.randn(rows, 3, pixels, pixels, generator=generator)
        assert_equal(model.train(), parts, images, gradients=True)
        assert_equal(model.eval(), parts, images, gradients=False)


def build(name: str, pixels: int) -> nn.Module:
    torch.manual_seed(0)
    try:
        model = timm.create_model(name, num_classes=7, img_size=pixels)
    except TypeError:
        model = timm.create_model(name, num_classes=7)
    for module in model.modules():  # dropout at 0: its masks would differ with the order of random numbers
        for attribute in ("p", "drop_prob", "drop_rate"):
            if isinstance(getattr(module, attribute, None), float):
                setattr(module, attribute, 0.0)
    return model


def randomised(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """Open every branch: fresh scales of zero would hide what lies behind them."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn(parameter.shape, generator=generator) * (0.02 if parameter.dim() > 1 else 0.1)
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
            elif name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.1)
    return model


def all_but_head(model: nn.Module) -> list[str]:
    return [f"!{name}" for name in output_layers(model)]


def first_share(model: nn.Module, share: float) -> list[str]:
    budget = share * sum(p.numel() for p in model.parameters())
    names: list[str] = []
    for name, parameter in model.named_parameters():
        budget -= parameter.numel()
        if budget < 0 and names:
            break
        names.append(name)
    return names


def assert_equal(model: nn.Module, parts: Cut, images: Tensor, gradients: bool) -> None:
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    expected, wanted = run(model, lambda: model(images), gradients)
    model.load_state_dict(state)  # live batch norm has moved
    with torch.no_grad():
        frontier = parts.prefix(images)
    got, found = run(model, lambda: parts.suffix(*frontier), gradients)
    assert type(got) is type(expected)
    model.load_state_dict(state)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def run(model: nn.Module, forward, gradients: bool) -> tuple[Any, dict[str, Tensor]]:
    torch.manual_seed(3)
    model.zero_grad()
    with torch.set_grad_enabled(gradients):
        outputs = forward()
        # models with two heads return both while training; all of their outputs take part
        flat = torch.cat([t.flatten() for t in (outputs if isinstance(outputs, tuple | list) else [outputs])])
        if gradients:
            (flat.double().square().mean() + flat.double().sum()).backward()
    detached = outputs.detach() if isinstance(outputs, Tensor) else type(outputs)(t.detach() for t in outputs)
    return detached, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def no_frozen_layer_upstream(parts: Cut) -> bool:
    """Every frozen layer that the suffix computes has something that trains before it, or within it.

    A table of biases that is looked up alike for every row, such as those of attention, is no layer of the rows; the
    cut says that it is computed in each epoch.
    """
    model = parts.suffix.model
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for graph in parts.suffix.graphs:
        live: set[fx.Node] = set()
        of_rows: set[fx.Node] = set()
        for node in graph.graph.nodes:
            if node.op == "placeholder" or of_rows.intersection(node.all_input_nodes):
                of_rows.add(node)
            flags = [parameters[str(node.target)].requires_grad] if str(node.target) in parameters else []
            if node.op == "call_module":
                flags = [p.requires_grad for p in model.get_submodule(str(node.target)).parameters()]
            if any(flags) or live.intersection(node.all_input_nodes):
                live.add(node)
            reads = [a for a in node.all_input_nodes if a.op == "get_attr" and str(a.target) in parameters]
            computes_frozen = (node.op == "call_module" and flags) or reads
            is_told = node not in of_rows and {str(a.target) for a in reads} <= set(parts.uncached)
            if computes_frozen and node not in live and not (reads and is_told):
                return False
    return True
