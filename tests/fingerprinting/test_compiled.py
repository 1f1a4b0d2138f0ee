"""Frozen layers that `torch.compile` was called on have one key, and their rows are found again."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import reuse
from reuse.fingerprinting.cuts import cut_key
from reuse.fingerprinting.fingerprint import Fingerprint, fingerprint
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze
from reuse.layout import one_tensor

X = torch.rand(8, 6, generator=torch.Generator().manual_seed(0))
CPU = torch.device("cpu")
SOURCE = """
import torch
from torch import nn

def net(num_classes):
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, num_classes))
    model[0] = torch.compile(model[0], backend="eager")
    return model
"""


def network(compiled: bool = True, where: str = "0", **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6)), nn.Linear(6, 3))
    freeze(model, "0")
    if compiled:
        owner, _, name = where.rpartition(".")
        layer = torch.compile(model.get_submodule(where), **{"backend": "eager", **settings})
        setattr(model.get_submodule(owner), name, layer)
    return model


def print_of(model: nn.Module) -> Fingerprint:
    prefix = cut(model, X).prefix
    return fingerprint(prefix, preprocessing={}, dtype=torch.float32, device=CPU, cache_format=1)


def in_another_process(hash_seed: str) -> str:
    folder = Path(__file__).parents[1]
    path = os.pathsep.join(map(str, (folder, folder.parent)))
    program = "from fingerprinting.test_compiled import network, print_of; print(print_of(network()).key)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("where", ["0", "0.0"])
def test_the_key_is_the_same_from_build_to_build(where: str) -> None:
    first, again = network(where=where), network(where=where)
    assert print_of(first).differences(print_of(again)) == []
    shapes = one_tensor((6,))
    assert cut_key(first, shapes, CPU, (), "1") == cut_key(again, shapes, CPU, (), "1") is not None


def test_the_key_is_the_same_in_another_process() -> None:
    """Both fresh: the key holds the compiler's settings, which other tests and toolkits change in theirs."""
    assert in_another_process("7") == in_another_process("8")


def test_other_weights_another_compiler_and_none_have_other_keys() -> None:
    other = network()
    with torch.no_grad():
        other[0]._orig_mod[0].bias += 1
    networks = [network(), network(compiled=False), network(backend=lambda graph, _: graph.forward), other]
    assert len({print_of(one).key for one in networks}) == 4
    own = network(compiled=False)
    own[0].compile(backend="eager")
    assert print_of(own).key != print_of(network(compiled=False)).key


def test_rows_of_compiled_layers_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "compiled_nets.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    data = (np.random.default_rng(0).normal(size=(90, 6)).astype(np.float32), np.arange(90) % 3)
    settings: dict[str, Any] = {"freeze": "0", "data": data, "epochs": 2, "trust": True}
    first, again = (reuse.finetune("compiled_nets:net", seed=1, **settings) for _ in range(2))
    assert first.cache
    assert again.cache
    assert (first.cache["hit"], again.cache["hit"]) == (False, True)
    assert again.metrics == first.metrics
