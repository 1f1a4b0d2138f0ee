"""Kernels of `torch.library`, however they were registered: another one is seen by the key or by the probe."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from attacks.test_mutations import X, read
from reuse.caching.cache import ActivationCache
from reuse.data.loading import load

BODY = """
import torch
from torch import nn
GAIN = 1.25

class Body(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(8, 6)
    def forward(self, x):
        return torch.ops.kerneled.weigh(self.linear(x))

"""
DEFINED = 'library = torch.library.Library("kerneled", "DEF")\nlibrary.define("weigh(Tensor x) -> Tensor")\n'
CALLED = "def weigh(x):\n    return x * 2.0 * GAIN\n"
WAYS = {
    "custom_op": """
@torch.library.custom_op("kerneled::weigh", mutates_args=())
def weigh(x: torch.Tensor) -> torch.Tensor:
    return x * 2.0 * GAIN
""",
    "custom_op and register_kernel": """
@torch.library.custom_op("kerneled::weigh", mutates_args=())
def weigh(x: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError
@weigh.register_kernel("cpu")
def _(x):
    return x * 2.0 * GAIN
""",
    "Library.impl": DEFINED + CALLED + 'library.impl("weigh", weigh, "CPU")\n',
    "Library.impl of a lambda": DEFINED + 'library.impl("weigh", lambda x: x * 2.0 * GAIN, "CPU")\n',
    "Library.impl for every device": DEFINED + CALLED + 'library.impl("weigh", weigh, "CompositeExplicitAutograd")\n',
    "the decorator impl": DEFINED + '@torch.library.impl(library, "weigh", "CPU")\n' + CALLED,
    "register_kernel": DEFINED + '@torch.library.register_kernel("kerneled::weigh", "cpu", lib=library)\n' + CALLED,
}
CUSTOM = [name for name in WAYS if name.startswith("custom_op")]
DATA = load((X, np.arange(len(X)) % 4))

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*verriding a previously registered"),
    pytest.mark.filterwarnings("ignore:Warning only once for all operators"),  # which torch 2.9 adds to it
]


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import the module `kerneled` with a source, as another process would."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    with ExitStack() as made:

        def load_module(source: str) -> ModuleType:
            made.close()
            (tmp_path / "kerneled.py").write_text(source)
            sys.modules.pop("kerneled", None)
            importlib.invalidate_caches()
            module = importlib.import_module("kerneled")
            made.callback(_forget, module)
            return module

        yield load_module
    sys.modules.pop("kerneled", None)


def _forget(module: ModuleType) -> None:
    """Take an operator out of the dispatcher, as the end of a process does."""
    library = getattr(module, "library", None)
    if library is not None:
        library._destroy()
        return
    definition = torch._library.custom_ops.OPDEFS.pop("kerneled::weigh")
    definition._lib._destroy()


def body_of(module: ModuleType) -> nn.Module:
    body: nn.Module = module.Body().eval()
    return body


def kept(body: nn.Module) -> str:
    """Return how a second reading comes, after which nothing is left of either."""
    outcome = read(body, DATA)
    again = read(body, DATA)
    assert again == ("set aside" if outcome == "set aside" else "found")
    ActivationCache(Path("cache")).clear()
    return outcome


@pytest.mark.parametrize("way", WAYS)
def test_the_same_kernel_is_found_and_another_text_of_it_is_another_key(imported: Any, way: str) -> None:
    source = BODY + WAYS[way]
    assert read(body_of(imported(source)), DATA) == "computed"
    assert read(body_of(imported(source)), DATA) == "found"
    assert read(body_of(imported(source + "\n# a remark\n")), DATA) == "found"
    assert read(body_of(imported(source.replace("2.0", "3.0"))), DATA) == "computed"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("device", ["CPU", "CompositeExplicitAutograd", "Autograd"])
def test_a_kernel_that_is_registered_instead_is_not_served_the_old_rows(imported: Any, way: str, device: str) -> None:
    body = body_of(imported(BODY + WAYS[way]))
    assert read(body, DATA) == "computed"
    with torch.library._scoped_library("kerneled", "IMPL") as other:
        other.impl("weigh", lambda x: x * 5.0, device, allow_override=True)
        with torch.no_grad():
            changed = not torch.allclose(body(torch.from_numpy(X)), body.linear(torch.from_numpy(X)) * 2.5)
        assert kept(body) in (("computed", "set aside") if changed else ("found",))
    assert changed or device != "CPU"


@pytest.mark.parametrize("way", WAYS)
def test_what_a_kernel_reads_is_in_the_key_or_under_the_probe(imported: Any, way: str) -> None:
    module = imported(BODY + WAYS[way])
    body = body_of(module)
    assert read(body, DATA) == "computed"
    module.GAIN = 1.5
    assert kept(body) == ("computed" if way in CUSTOM else "set aside")
