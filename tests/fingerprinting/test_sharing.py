"""Descriptions of one moment share what they find of functions and classes; a key is what it is without that."""

from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from reuse.features.extracting import graph_of
from reuse.fingerprinting.blocks import Blocks, ReferredDigest
from reuse.fingerprinting.fingerprint import Fingerprint, fingerprint
from reuse.fingerprinting.own_code import OwnCode
from reuse.fingerprinting.values import Description


class Scale:
    """An object that refers to itself, and keeps a function that refers to it."""

    def __init__(self) -> None:
        self.whole, self.times = self, 3.0
        self.by = lambda x: x * self.times


def shifted(x: torch.Tensor, by: tuple[float, ...] = (1.0, 2.0)) -> torch.Tensor:
    return functional.gelu(x) + by[0]


class Plain(nn.Module):
    """A layer that counts its calls, and has a property that can be set."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.act, self.calls, self._gain = nn.Linear(6, 6), nn.GELU(), 0, 1.0

    @property
    def gain(self) -> float:
        return self._gain

    @gain.setter
    def gain(self, gain: float) -> None:
        self._gain = gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return shifted(self.act(self.linear(x))) * self.gain


class Tied(Plain):
    """The same with such an object."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = Scale()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale.by(super().forward(x))


def make_models() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    models = {
        "package": nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.GELU()),
        "vit": timm.create_model("test_vit"),
        "resnet": timm.create_model("test_resnet"),
        "plain": Plain(),
        "tied": Tied(),
        "both": nn.Sequential(Tied(), nn.BatchNorm1d(6), Plain()),
    }
    return {name: model.eval() for name, model in models.items()}


def described(models: dict[str, nn.Module], blocks: Blocks | None) -> dict[str, Fingerprint]:
    given: dict[str, Any] = {"preprocessing": {"change": shifted}, "dtype": torch.float32, "cache_format": 1}
    device = torch.device("cpu")
    return {name: fingerprint(graph_of(m), device=device, blocks=blocks, **given) for name, m in models.items()}


@pytest.mark.parametrize("is_patched", [False, True])
def test_a_key_is_the_same_shared_and_by_itself(is_patched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if is_patched:
        plain = functional.gelu
        monkeypatch.setattr(functional, "gelu", lambda x, approximate="none": plain(x, approximate=approximate) * 2)
    models = make_models()
    orders = [list(models), list(reversed(models))]
    shared = [described({name: models[name] for name in order}, Blocks([models["resnet"]])) for order in orders]
    with monkeypatch.context() as alone:
        alone.setattr(Description, "_referred_digest", Description._digest_of)
        alone.setattr(OwnCode, "_parts_of", lambda self, thing: parts_alone(self, thing))
        expected = described(models, None)
    for found in shared:
        for name, own in expected.items():
            assert found[name].components == own.components, name
            assert found[name].key == own.key


def parts_alone(own: OwnCode, thing: Any) -> Any:
    """Find the parts of something as they were before anything was shared."""
    plain, is_made = (thing.kind, True) if type(thing).__name__ == "Made" else (thing, False)
    if (id(plain), is_made) not in own._parts:
        own._parts[id(plain), is_made] = thing, []
        found = own._class(plain, is_made) if isinstance(plain, type) else own._function(plain)
        own._parts[id(plain), is_made][1].extend(found)
    return own._parts[id(plain), is_made][1]


def test_what_leads_to_code_of_the_users_own_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.GELU, "forward", lambda self, x: shifted(x))
    blocks = Blocks([])
    described(make_models(), blocks)
    found = {thing: digest for thing, digest in blocks.digests.values() if isinstance(thing, type)}
    assert found[nn.GELU] is None
    assert isinstance(found[nn.Linear], ReferredDigest)
