"""The promise: whatever changes the computation changes the key, and nothing else does."""

import copy
import functools
import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
import types
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from caching import prefixes
from caching.prefixes import build, print_of, trace
from reuse.errors import CacheError
from reuse.fingerprinting.fingerprint import Fingerprint


def _in_another_process(hash_seed):
    folder = Path(__file__).parents[1]
    path = os.pathsep.join(map(str, (folder, folder.parent)))
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
    command = [sys.executable, "-c", "from caching.prefixes import *; print(print_of(build()).key)"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_the_key_is_the_same_in_other_processes_and_after_rebuilding():
    key = print_of(build()).key
    assert re.fullmatch("[0-9a-f]{32}", key)
    assert key == print_of(build()).key
    assert key == print_of(copy.deepcopy(build())).key
    assert {_in_another_process("1"), _in_another_process("2")} == {key}


def _rebuilt(state):
    model = build(seed=1)
    model.load_state_dict(state)
    return model


SAME = {
    "requires_grad": lambda model: model.requires_grad_(False),
    "loaded": lambda model: _rebuilt(model.state_dict()),
    "gradients": lambda model: model(torch.ones(2, 6)).sum().backward(),
    "used": lambda model: [model(torch.ones(3, 6)) for _ in range(3)],
    "head outside": lambda model: model.add_module("head", nn.Linear(4, 2)),
    "held in eval": lambda model: vars(model.first).__setitem__("train", lambda mode=True: model.first),
    "not contiguous": lambda model: setattr(
        model.first.linear.weight, "data", model.first.linear.weight.data.t().contiguous().t()
    ),
    "traced again": trace,
    "rate of a dropout that evaluates": lambda model: setattr(model.second[2], "p", 0.7),
}


@pytest.mark.parametrize("change", SAME)
def test_what_does_not_change_the_computation_keeps_the_key(change):
    model = build()
    before = print_of(model)
    changed = SAME[change](model)
    after = print_of(changed if isinstance(changed, nn.Module) else model)
    assert before.differences(after) == []
    assert before.key == after.key


def _poke(tensor):
    with torch.no_grad():
        tensor.view(-1)[0] += 1e-6


def _patched_forward(self, x):
    return self.linear(x)


class Shrunk(nn.Dropout):
    """Uses its rate when it evaluates too."""

    def forward(self, x):
        return super().forward(x) if self.training else x * (1 - self.p)


def _shrink(self, x):
    return x * (1 - self.p)


def _with_dropout(kind, rate, change=lambda dropout: None):
    model = nn.Sequential(kind(rate)).eval()
    change(model[0])
    return model


RATES_THAT_COUNT = {
    "subclass": (Shrunk, lambda dropout: None),
    "patched forward": (nn.Dropout, lambda dropout: setattr(dropout, "forward", types.MethodType(_shrink, dropout))),
    "hook": (nn.Dropout, lambda dropout: dropout.register_forward_hook(lambda module, given, out: out * module.p)),
    "pre-hook": (nn.Dropout, lambda dropout: dropout.register_forward_pre_hook(lambda module, given: given * module.p)),
}


@pytest.mark.parametrize("way", RATES_THAT_COUNT)
def test_the_rate_of_a_dropout_that_uses_it_when_it_evaluates_changes_the_key(way):
    one, other = (
        print_of(_with_dropout(RATES_THAT_COUNT[way][0], rate, RATES_THAT_COUNT[way][1])) for rate in (0.1, 0.2)
    )
    assert any("attributes/0/p" in line for line in one.differences(other))


@pytest.mark.parametrize(
    "kind", ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"]
)
def test_the_rate_of_any_dropout_of_torch_that_evaluates_keeps_the_key(kind):
    assert print_of(_with_dropout(getattr(nn, kind), 0.1)).key == print_of(_with_dropout(getattr(nn, kind), 0.2)).key


DIFFERENT = {
    "one weight": (lambda model: _poke(model.first.linear.weight), "weights/first.linear.weight"),
    "parameter outside modules": (lambda model: _poke(model.shift), "weights/shift"),
    "buffer": (lambda model: _poke(model.first.norm.running_mean), "weights/first.norm.running_mean"),
    "buffer that is not saved": (lambda model: _poke(model.first.hidden), "weights/first.hidden"),
    "tensor as an attribute": (lambda model: _poke(model.first.offset), "weights/first.offset"),
    "eps": (lambda model: setattr(model.first.norm, "eps", 1e-3), "attributes/first.norm/eps"),
    "slope": (lambda model: setattr(model.first.act, "negative_slope", 0.3), "attributes/first.act/negative_slope"),
    "activation": (lambda model: setattr(model.second, "1", nn.GELU()), "attributes/second.1/class"),
    "number": (lambda model: setattr(model.first, "scale", 2), "attributes/first/scale"),
    "nested setting": (lambda model: model.first.settings["kinds"].append("c"), "attributes/first/settings"),
    "set": (lambda model: model.first.settings["words"].add("w"), "attributes/first/settings"),
    "lambda": (lambda model: setattr(model.first, "post", lambda x: x * 1.25), "attributes/first/post"),
    "partial": (lambda model: setattr(model.first, "post", functools.partial(torch.mul, other=3)), "first/post"),
    "patched forward": (
        lambda model: setattr(model.first, "forward", types.MethodType(_patched_forward, model.first)),
        "attributes/first/forward",
    ),
    "mode": (lambda model: model.second.train(), "attributes/second/training"),
    "mode of one inner module": (lambda model: model.second[2].train(), "attributes/second.2/training"),
    "rate of a live dropout": (
        lambda model: (model.second[2].train(), setattr(model.second[2], "p", 0.7)),
        "attributes/second.2/p",
    ),
    "hook": (lambda model: model.first.act.register_forward_hook(lambda *a: a[2] + 1), "hooks/first.act/forward_hooks"),
    "pre-hook": (lambda model: model.first.register_forward_pre_hook(lambda m, a: (a[0] * 2,)), "forward_pre_hooks"),
    "dropped module": (lambda model: setattr(model, "second", model.second[:2]), "attributes/second/children"),
    "type": (lambda model: model.double(), "weights/shift"),
}


@pytest.mark.parametrize("change", DIFFERENT)
def test_what_changes_the_computation_changes_the_key_and_is_named(change):
    mutate, named = DIFFERENT[change]
    model = build()
    before = print_of(model)
    mutate(model)
    after = print_of(model)
    assert before.key != after.key
    assert any(named in line for line in before.differences(after))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"dtype": torch.bfloat16}, "dtype: float32 here, bfloat16 there"),
        ({"device": torch.device("cuda")}, "device: cpu here, cuda there"),
        ({"preprocessing": {"size": 9}}, "preprocessing/size: 8 here, 9 there"),
        ({"preprocessing": {"size": 8, "mean": [0.5]}}, "preprocessing/mean: absent here, [0.5] there"),
    ],
)
def test_settings_are_part_of_the_key(settings, named):
    lines = print_of(build()).differences(print_of(build(), **settings))
    assert [line for line in lines if not line.startswith("numerics/")] == [named]  # each kind of device has its own


@pytest.fixture
def precision():
    """Whatever a test sets is set back, and what newer versions of torch set along with it."""
    before = torch.get_float32_matmul_precision()
    owners = (getattr(torch.backends.mkldnn, "matmul", None), torch.backends.cuda.matmul, torch.backends.cudnn)
    kept = [(owner, owner.fp32_precision) for owner in owners if hasattr(owner, "fp32_precision")]
    yield
    torch.set_float32_matmul_precision(before)
    for owner, value in kept:
        owner.fp32_precision = value


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_precision_of_products_is_part_of_the_key(device):
    keys = {}
    for name in ("highest", "high", "medium"):
        torch.set_float32_matmul_precision(name)
        keys[name] = print_of(build(), device=torch.device(device))
    line = "numerics/float32_matmul_precision: highest here, medium there"
    assert line in keys["highest"].differences(keys["medium"])
    assert len({found.key for found in keys.values()}) == 3


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", ["high", "medium"])
def test_a_precision_that_is_set_to_and_fro_keeps_the_key(device, name):
    begun = print_of(build(), device=torch.device(device))
    torch.set_float32_matmul_precision(name)
    torch.set_float32_matmul_precision("highest")
    assert print_of(build(), device=torch.device(device)).key == begun.key


@pytest.mark.usefixtures("precision")
def test_tf32_is_part_of_the_key_on_cuda_alone(monkeypatch):
    settings = [
        (torch.backends.cuda.matmul, "allow_tf32", "numerics/cuda.matmul.allow_tf32"),
        (torch.backends.cudnn, "allow_tf32", "numerics/cudnn.allow_tf32"),
    ]
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    for owner, name, component in settings:
        before = {device: print_of(build(), device=device) for device in (cpu, cuda)}
        was = getattr(owner, name)
        setattr(owner, name, not was)
        try:
            after = {device: print_of(build(), device=device) for device in (cpu, cuda)}
        finally:
            setattr(owner, name, was)
        assert f"{component}: {was} here, {not was} there" in before[cuda].differences(after[cuda])
        assert not any("tf32" in line for line in before[cpu].differences(after[cpu]))


def test_which_device_of_a_kind_does_not_matter():
    keys = {print_of(build(), device=torch.device(name)).key for name in ("cuda", "cuda:0", "cuda:1")}
    assert len(keys) == 1


def test_a_global_that_the_code_refers_to_is_part_of_the_key(monkeypatch):
    before = print_of(build())
    monkeypatch.setattr(prefixes, "SLOPE", 0.2)
    assert [line.split(":")[0] for line in before.differences(print_of(build()))] == ["code/caching.prefixes.leak"]


def test_a_replaced_helper_function_or_method_is_seen(monkeypatch):
    before = print_of(build())
    with monkeypatch.context() as patch:
        patch.setattr(prefixes, "leak", lambda x: x)
        assert before.key != print_of(build()).key
    with monkeypatch.context() as patch:
        patch.setattr(prefixes.Block, "forward", _patched_forward)
        assert before.key != print_of(build()).key
    with monkeypatch.context() as patch:  # a torch class that was tampered with, whatever its version says
        patch.setattr(nn.LeakyReLU, "forward", lambda self, x: x)
        assert before.key != print_of(build()).key
    assert before.key == print_of(build()).key


SOURCE = """
import torch
from torch import nn
FACTOR = 2
def helper(x):
    return x * FACTOR
class Base(nn.Module):
    slope = 0.1
    def tail(self, x):
        return x + 1
class Own(Base):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
    @property
    def gain(self):
        return 3
    @staticmethod
    def square(x):
        return x * x
    def forward(self, x, times=1):
        inner = [helper(part) for part in (x, x)]
        return self.tail(self.square(inner[0] * self.weight)) * self.gain * self.slope * times
"""


def _own(source):
    """The module class of a source text, as an edited file would give it; the place in the file does not matter."""
    scope = {"__name__": "users_own_blocks"}
    exec(compile(source, "somewhere.py", "exec"), scope)
    return scope["Own"]()


EDITS = {
    "forward": ("* times", "+ times"),
    "constant in a comprehension": ("(x, x)", "(x, 2 * x)"),
    "default": ("times=1", "times=2"),
    "property": ("return 3", "return 4"),
    "static method": ("return x * x", "return x * x * x"),
    "class attribute": ("slope = 0.1", "slope = 0.2"),
    "method of the base class": ("return x + 1", "return x - 1"),
    "helper function": ("return x * FACTOR", "return x / FACTOR"),
    "global constant": ("FACTOR = 2", "FACTOR = 2.0"),
    "called function": ("self.square(inner", "torch.square(inner"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_code_changes_the_key(edit):
    before, after = EDITS[edit]
    assert SOURCE.count(before) == 1
    model, edited = (nn.Sequential(_own(source)) for source in (SOURCE, SOURCE.replace(before, after)))
    assert print_of(model).key != print_of(edited).key


def test_code_reached_through_the_users_own_module_counts(monkeypatch):
    tools = types.ModuleType("users_tools")
    monkeypatch.setitem(sys.modules, "users_tools", tools)
    source = "def act(x):\n    return x * STEP\nSTEP = 1"
    keys = []
    for edited in (source, source.replace("x * STEP", "x + STEP"), source.replace("STEP = 1", "STEP = 2")):
        exec(edited, vars(tools))
        model = _own("import users_tools as tools\n" + SOURCE.replace("helper(part)", "tools.act(part)"))
        keys.append(print_of(nn.Sequential(model)).key)
    assert len(set(keys)) == 3


IMPORTS = {
    "name": ("from users_package.tools import act", "act(part)"),
    "name under another": ("from users_package.tools import act as do", "do(part)"),
    "module": ("import users_package.tools", "users_package.tools.act(part)"),
    "module under another name": ("import users_package.tools as t", "t.act(part)"),
    "submodule": ("from users_package import tools", "tools.act(part)"),
    "relative": ("from .tools import act", "act(part)"),
    "relative submodule": ("from . import tools", "tools.act(part)"),
}
TOOLS = "from users_steps import STEP\ndef act(x):\n    return inner(x) * STEP\ndef inner(x):\n    return x + 1\n"


def _importing(folder, monkeypatch, line, call):
    """The key of a model whose forward imports a package in `folder`, as a new process would make it."""
    for name in ("users_package", "users_package.tools", "users_package.blocks", "users_steps"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    source = SOURCE.replace("        inner = [helper(part)", f"        {line}\n        inner = [{call}")
    assert line in source
    (folder / "users_package" / "blocks.py").write_text(source)
    model = nn.Sequential(importlib.import_module("users_package.blocks").Own())
    return model, print_of(model).key


@pytest.mark.parametrize("way", IMPORTS)
def test_code_that_a_forward_imports_counts_loaded_already_or_not(tmp_path, monkeypatch, way):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "users_package").mkdir()
    (tmp_path / "users_package" / "__init__.py").touch()
    edits = (TOOLS, TOOLS.replace("x + 1", "x - 1"), TOOLS.replace("* STEP", "/ STEP"), TOOLS)
    keys = []
    for text, step in zip(edits, (1, 1, 1, 2), strict=True):
        (tmp_path / "users_package" / "tools.py").write_text(text)
        (tmp_path / "users_steps.py").write_text(f"STEP = {step}")
        model, key = _importing(tmp_path, monkeypatch, *IMPORTS[way])
        model(torch.ones(2, 3))  # it loads what it imports
        assert print_of(model).key == key
        keys.append(key)
    assert len(set(keys)) == 4


def test_an_import_that_fails_or_is_not_the_users_own_is_no_obstacle():
    statements = ["if times > 9:", "    from users_absent import gone", "    import sklearn", "    import json"]
    line = "".join(f"        {statement}\n" for statement in statements)
    source = SOURCE.replace("        inner =", line + "        inner =")
    first, again = (print_of(nn.Sequential(_own(source))) for _ in range(2))
    assert first.key == again.key
    assert first.components["versions/sklearn"] == importlib.metadata.version("scikit-learn")
    assert "versions/json" not in first.components


def test_moved_and_documented_code_keeps_the_key():
    documented = "# a comment\n\n" + SOURCE.replace("def helper(x):", 'def helper(x):\n    """What it does."""\n')
    assert print_of(nn.Sequential(_own(SOURCE))).key == print_of(nn.Sequential(_own(documented))).key


def test_two_classes_of_one_name_in_one_model_are_told_apart():
    edited = SOURCE.replace("* times", "+ times")
    one = nn.Sequential(_own(SOURCE), _own(edited))
    other = nn.Sequential(_own(edited), _own(SOURCE))
    assert print_of(one).key != print_of(other).key


def test_order_of_named_children_matters():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    ways = [
        nn.Sequential(OrderedDict(pairs)) for pairs in ([("a", first), ("b", second)], [("b", second), ("a", first)])
    ]
    prints = [print_of(nn.Sequential(way)) for way in ways]
    assert prints[0].key != prints[1].key


def test_the_graph_matters_and_names_of_its_inputs_do_not():
    class Plus(nn.Module):
        def forward(self, x):
            return (x + 1).relu()

    class PlusRenamed(nn.Module):
        def forward(self, renamed):
            return (renamed + 1).relu()

    class Minus(nn.Module):
        def forward(self, x):
            return (x - 1).relu()

    class Other(nn.Module):
        def forward(self, x):
            return (x + 1).tanh()

    keys = [print_of(torch.fx.symbolic_trace(kind())).key for kind in (Plus, PlusRenamed, Minus, Other)]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_a_module_hidden_in_a_list_counts():
    def hidden(slope):
        model = nn.Sequential(nn.Identity())
        model[0].hidden = [nn.LeakyReLU(slope)]
        return model

    assert print_of(hidden(0.1)).key == print_of(hidden(0.1)).key
    assert print_of(hidden(0.1)).key != print_of(hidden(0.2)).key


def test_attributes_that_refer_back_to_the_module_are_fine():
    model = nn.Sequential(nn.Linear(2, 2))
    model[0].owner = [model]
    model[0].itself = [model[0]]
    other = copy.deepcopy(model)
    assert print_of(model).key == print_of(other).key
    _poke(other[0].weight)
    assert print_of(model).key != print_of(other).key


def test_parametrized_weights_are_described():
    def normed():
        torch.manual_seed(0)
        return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))).eval()

    assert print_of(normed()).key == print_of(normed()).key
    other = normed()
    _poke(other[0].parametrizations.weight.original0)
    assert print_of(normed()).key != print_of(other).key


@pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:FutureWarning")
def test_what_cannot_be_described_is_refused():
    scripted = nn.Sequential(torch.jit.trace(nn.ReLU(), torch.ones(1), check_trace=False))
    with pytest.raises(CacheError, match="TorchScript"):
        print_of(scripted)
    with pytest.raises(CacheError, match="meta"):
        print_of(nn.Sequential(nn.Linear(2, 2, device="meta")))


def test_differences_read_well():
    here, there = Fingerprint({"a": "1", "b": "2"}), Fingerprint({"b": "3", "c": "4"})
    assert here.differences(there) == [
        "a: 1 here, absent there",
        "b: 2 here, 3 there",
        "c: absent here, 4 there",
    ]
    assert here.differences(here) == []


def test_components_can_be_read():
    components = print_of(build()).components
    assert components["attributes/first.norm/eps"] == "1e-05"
    assert components["attributes/first.norm/training"] == "False"
    assert components["weights/first.norm.num_batches_tracked"].startswith("int64 () ")
    assert components["versions/torch"]
    assert components["dtype"] == "float32"
    assert max(map(len, components.values())) <= 200
    assert not any(re.search(r"0x[0-9a-f]{6}", text) for text in components.values())


@pytest.fixture
def usual_settings():
    """Settings of torch that a test changes are set back."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_default_dtype(torch.float32)
    torch.set_flush_denormal(False)
    torch.backends.mha.set_fastpath_enabled(True)


SETTINGS = {
    "deterministic_algorithms": lambda: torch.use_deterministic_algorithms(True),
    "default_dtype": lambda: torch.set_default_dtype(torch.float64),
    "mha_fastpath": lambda: torch.backends.mha.set_fastpath_enabled(False),
}


@pytest.mark.usefixtures("usual_settings")
@pytest.mark.parametrize("name", SETTINGS)
def test_unusual_settings_of_torch_are_part_of_the_key_and_usual_ones_are_not(name):
    model = build()
    before = print_of(model)
    assert f"numerics/{name}" not in before.components
    SETTINGS[name]()
    (line,) = before.differences(print_of(model))
    assert line.startswith(f"numerics/{name}: absent here")


@pytest.mark.usefixtures("usual_settings")
def test_flushed_denormals_are_part_of_the_key():
    before = print_of(build())
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor does not flush denormals")
    after = print_of(build())
    torch.set_flush_denormal(False)
    assert before.key != after.key


def _doubled(module, given, *output):
    return output[-1] * 2 if output else None


def test_flags_of_hooks_are_part_of_the_key():
    def key(**flags):
        model = build()
        model.first.register_forward_hook(_doubled, **flags)
        return print_of(model).key

    keys = [key(), key(with_kwargs=True), key(always_call=True)]
    assert len(set(keys)) == 3
    assert key(with_kwargs=True) == keys[1]


def test_hooks_of_all_modules_are_part_of_the_key():
    keys = [print_of(build()).key]
    for register in (
        nn.modules.module.register_module_forward_pre_hook,
        nn.modules.module.register_module_forward_hook,
    ):
        for flags in ({}, {"always_call": True}) if "pre" not in register.__name__ else ({},):
            handle = register(_doubled, **flags)
            keys.append(print_of(build()).key)
            handle.remove()
    assert len(set(keys)) == len(keys)
    assert print_of(build()).key == keys[0]


def test_an_autocast_that_is_around_is_part_of_the_key():
    before = print_of(build())
    with torch.autocast("cpu", torch.bfloat16):
        inside = print_of(build())
    assert before.differences(inside) == ["numerics/autocast: absent here, bfloat16 there"]
    with torch.autocast("cpu", enabled=False):
        assert print_of(build()).key == before.key
