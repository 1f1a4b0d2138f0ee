"""The user's own code counts by what it does and reads; names, places and what it only keeps do not."""

from collections import deque

import pytest
import torch
from torch import nn

from caching.prefixes import print_of
from reuse.fingerprinting.reading import reads_of

SOURCE = """
import time
from collections import deque
import torch
from torch import nn

def helper(x, scale=2.0):
    doubled = x * scale
    return doubled + 1

class Inner(nn.Module):
    def forward(self, x):
        return x.relu()

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.inner = Inner()
        self.register_buffer("seen", torch.zeros(()))
        self.factor = 1.5
        self.calls = 0
        self.history = []
        self.recent = deque(maxlen=3)
        self.counts = {"rows": 0}
        self.last = None
        self.begun = time.time()
        self.elapsed = 0.0
        self.made_by = "somebody"
        self.ids = (number for number in range(9))

    def forward(self, x):
        self.calls += 1
        self.history.append(x.mean().item())
        self.recent.append(len(x))
        self.counts["rows"] += len(x)
        self.seen += 1
        self.elapsed = time.time() - self.begun
        hidden = self.inner(self.linear(x))
        self.last = hidden.detach()
        return self.finish(helper(hidden, scale=self.factor))

    def finish(self, x):
        parts = [part * 0.5 for part in (x, x)]
        return parts[0] + (lambda y: y * self.factor)(parts[1])

    def unused(self, x):
        return x * 7
"""


def model(source=SOURCE, name="Block"):
    """The network of a source, as a file of the user's own would give it, with the same weights each time."""
    scope = {"__name__": "users_blocks"}
    exec(compile(source, "blocks.py", "exec"), scope)
    torch.manual_seed(0)
    return nn.Sequential(scope[name]()).eval()


NEEDLESS = {
    "a local variable renamed": ("doubled", "twice"),
    "a class renamed": ("Inner", "Nonlinearity"),
    "a function renamed": ("helper", "finisher"),
    "a variable of a comprehension renamed": ("[part * 0.5 for part in", "[piece * 0.5 for piece in"),
    "an argument renamed": ("def finish(self, x):\n        parts = [part * 0.5 for part in (x, x)]",
                            "def finish(self, it):\n        parts = [part * 0.5 for part in (it, it)]"),
    "an unused method": ("x * 7", "x * 8"),
    "an unused method taken away": ("    def unused(self, x):\n        return x * 7\n", ""),
    "a docstring": ("def finish(self, x):\n", 'def finish(self, x):\n        """Finish it."""\n'),
    "a name that is only kept": ("somebody", "somebody else"),
    "the beginning of a count": ("self.calls = 0", "self.calls = 40"),
}  # fmt: skip


@pytest.mark.parametrize("edit", NEEDLESS)
def test_an_edit_that_computes_the_same_keeps_the_key(edit):
    old, new = NEEDLESS[edit]
    assert old in SOURCE
    assert print_of(model()).key == print_of(model(SOURCE.replace(old, new))).key


def test_the_class_itself_may_have_another_name_and_place():
    moved = model(SOURCE.replace("class Block", "class Renamed"), "Renamed")
    type(moved[0]).__module__ = "elsewhere"
    assert print_of(model()).key == print_of(moved).key


def test_what_a_module_keeps_while_it_is_used_keeps_the_key():
    used = model()
    for rows in (2, 5):
        used(torch.rand(rows, 3))
    next(used[0].ids)
    assert used[0].calls == 2
    assert print_of(model()).key == print_of(used).key


READ = {
    "a counter": ("return self.finish(", "return self.calls * self.finish("),
    "a counter in a condition": ("return self.finish(", "return self.linear(x) if self.calls > 9 else self.finish("),
    "a list": ("return self.finish(", "return sum(self.history) + self.finish("),
    "a list by its length": ("return self.finish(", "return len(self.history) * self.finish("),
    "a deque": ("return self.finish(", "return max(self.recent) * self.finish("),
    "a dictionary": ("return self.finish(", "return self.counts['rows'] * self.finish("),
    "a buffer": ("return self.finish(", "return self.seen * self.finish("),
    "a clock": ("return self.finish(", "return self.elapsed * self.finish("),
    "through a constant name": ("return self.finish(", "return getattr(self, 'calls') * self.finish("),
    "through a name that is made up": ("return self.finish(", "return getattr(self, 'cal' + 'ls') * self.finish("),
    "through all attributes": ("return self.finish(", "return vars(self)['calls'] * self.finish("),
    "by another function": ("return self.finish(", "return own(self) * self.finish("),
    "by a local function": ("return self.finish(", "return (lambda: self.calls)() * self.finish("),
    "by what is kept and read": ("self.last = hidden.detach()", "self.linear.shift = self.calls")
}  # fmt: skip
OWN = "\ndef own(block):\n    return block.calls\n"


@pytest.mark.parametrize("way", READ)
def test_what_a_forward_reads_counts(way):
    old, new = READ[way]
    assert SOURCE.count(old) == 1
    source = SOURCE.replace(old, new).replace("class Inner", OWN + "class Inner")
    if "shift" in new:
        source = source.replace("self.inner(self.linear(x))", "self.inner(self.linear(x)) * self.linear.shift")
    one, other = model(source), model(source)
    for changed in (other[0],):
        changed.calls, changed.elapsed = 3, 1.5
        changed.history.append(2.0)
        changed.recent.append(3)
        changed.counts["rows"] = 4
        changed.seen += 1
    assert print_of(one).key != print_of(other).key


def test_a_setter_and_a_method_of_ones_own_may_do_anything_with_what_they_get():
    source = SOURCE.replace("    def unused(self, x):\n        return x * 7\n", "").replace(
        "self.last = hidden.detach()", "self.gain = self.made_by"
    ) + (
        "\n    @property\n    def gain(self):\n        return 1\n    @gain.setter\n"
        "    def gain(self, value):\n        self.linear.given = len(value)\n"
    )
    one, other = model(source), model(source)
    other[0].made_by = "x"
    assert print_of(one).key != print_of(other).key


def test_what_is_changed_in_place_counts_unless_it_is_a_plain_counter():
    one, other = model(), model()
    one[0].history, other[0].history = Meter(1), Meter(2)
    assert print_of(one).key != print_of(other).key
    one[0].history, other[0].history = deque([1]), deque([2])
    assert print_of(one).key == print_of(other).key


class Meter:
    """Appends by changing what it is given."""

    def __init__(self, step):
        self.step = step

    def append(self, value):
        value += self.step


def test_recursion_of_one_and_of_two_functions_are_told_apart():
    def pair(second):
        scope = {"__name__": "users_blocks"}
        exec(f"def f(x, n):\n    return g(x, n)\ndef g(x, n):\n    return {second}(x, n - 1) * 2 if n else x", scope)
        block = nn.Sequential(nn.Identity())
        block[0].way = scope["f"]
        return block

    assert print_of(pair("f")).key == print_of(pair("f")).key
    assert print_of(pair("f")).key != print_of(pair("g")).key


def test_a_registry_that_refers_to_itself_ends():
    def registered(factor):
        scope = {"__name__": "users_blocks", "ways": {}}
        exec(f"def f(x):\n    return ways['g'](x)\ndef g(x):\n    return x * {factor} if x else ways['f'](x)", scope)
        scope["ways"].update(f=scope["f"], g=scope["g"])
        block = nn.Sequential(nn.Identity())
        block[0].ways = scope["ways"]
        return block

    assert print_of(registered(2)).key == print_of(registered(2)).key
    assert print_of(registered(2)).key != print_of(registered(3)).key


def test_code_of_this_package_counts_by_what_it_does_wherever_it_lies(monkeypatch):
    from reuse.nn.building import build

    def key():
        return print_of(build("convnet:2,residual4", (1, 8, 8), 2).eval().requires_grad_(False)).key

    torch.manual_seed(0)
    before = key()
    kinds = {type(module) for module in build("convnet:2,residual4", (1, 8, 8), 2).modules()}
    ours = [kind for kind in kinds if kind.__module__.startswith("reuse.")]
    assert ours
    for kind in ours:
        monkeypatch.setattr(kind, "__module__", "reuse.another.place")
    torch.manual_seed(0)
    assert key() == before


@pytest.mark.parametrize(
    ("statement", "names", "dynamic"),
    [
        ("self.n += 1", set(), False),
        ("self.n += self.m", set(), False),
        ("y = self.n", {"n"}, False),
        ("self.n = helper(self.m)", {"m"}, False),
        ("self.n = x.add_(self.m)", {"add_", "m"}, False),
        ("self.seen.append(self.m)", set(), False),
        ("self.seen.append(x.add_(self.m))", {"seen", "append", "add_", "m"}, False),
        ("self.meter.step(x)", {"meter", "step"}, False),
        ("self.table[self.n] = x", set(), False),
        ("self.table[len(x)] += self.n", set(), False),
        ("self.table.rows[0] = self.n", set(), False),
        ("self.table.get(x)[0] += self.n", {"table", "get", "n"}, False),
        ("x[self.n] = self.m", {"n", "m"}, False),
        ("return self.n", {"n"}, False),
        ("if self.n: x = 1", {"n"}, False),
        ("for part in self.parts: self.n += 1", {"parts"}, False),
        ("return f(self)", set(), True),
        ("return vars(x)", set(), True),
        ("return getattr(self, x)", set(), True),
        ("return getattr(self, 'n')", {"n"}, False),
        ("return getattr(self, 'n', f(x, g(x)))", {"n"}, False),
        ("return getattr(self, f'n{x}')", {"n", "n…"}, False),
        ("return getattr(self, 'n%d' % x)", {"n…"}, False),
        ("return getattr(self, 'n' + str(x) + 'm')", {"n", "n…", "m"}, False),
        ("return getattr(self, f'{x}n')", {"n"}, True),
        ("return getattr(self, 'n{}'.format(x))", {"format"}, True),
        ("return getattr(self.m, 'n'.join(x))", {"m", "n", "join"}, True),
        ("return self.get_buffer('n%d' % x)", {"get_buffer", "n…"}, False),
    ],
)
def test_which_names_a_statement_reads(statement, names, dynamic):
    scope = {}
    exec(f"def forward(self, x):\n    {statement}\n", scope)
    reads = reads_of(scope["forward"].__code__, "self")
    assert (set(reads.names), reads.dynamic) == (names, dynamic)


def test_of_names_that_are_made_up_those_count_that_begin_so():
    source = SOURCE.replace(
        "return self.finish(", "return getattr(self, f'fac{x.shape[1]}', self.factor) * self.finish("
    )
    one, other = model(source), model(source)
    other[0].calls, other[0].made_by = 7, "nobody"
    assert print_of(one).key == print_of(other).key
    other[0].fac3 = 2.0
    assert print_of(one).key != print_of(other).key


class Meta(type(nn.Module)):
    strength = 0.5

    def soften(cls, x):
        return x * cls.strength


class Softened(nn.Module, metaclass=Meta):
    def forward(self, x):
        return type(self).soften(x)


@pytest.mark.parametrize(("name", "value"), [("strength", 0.7), ("soften", lambda kind, x: x)])
def test_what_the_class_of_a_class_has_counts(monkeypatch, name, value):
    before = print_of(nn.Sequential(Softened())).key
    monkeypatch.setattr(Meta, name, value)
    assert print_of(nn.Sequential(Softened())).key != before


def test_a_builtin_that_is_patched_counts(monkeypatch):
    class Summed(nn.Module):
        def forward(self, x):
            return sum([x, x])

    before = print_of(nn.Sequential(Summed())).key
    monkeypatch.setattr("builtins.sum", lambda *values, was=sum, **named: was(*values, **named))
    assert print_of(nn.Sequential(Summed())).key != before


def test_an_autograd_function_has_no_number_of_its_process():
    def built():
        class Twice(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return 2 * x

        class Doubled(nn.Module):
            def forward(self, x):
                return Twice.apply(x) * vars(self).get("by", 1)  # any name may be read

        return nn.Sequential(Doubled())

    assert print_of(built()).key == print_of(built()).key


def test_a_class_of_ones_own_counts_though_it_has_the_name_of_one_that_torch_makes(monkeypatch):
    class Scaled(nn.Module):
        _backward_cls: type = Once

        def forward(self, x):
            return x * self._backward_cls.rate

    before = print_of(nn.Sequential(Scaled())).key
    monkeypatch.setattr(Scaled, "_backward_cls", Twofold)
    assert print_of(nn.Sequential(Scaled())).key != before


class Once:
    rate = 1.0


class Twofold:
    rate = 2.0


REMEMBERING = """
import functools
import torch
from torch import nn

@functools.singledispatch
def act(x):
    return x

@act.register
def _(x: torch.Tensor):
    return x.tanh()

@functools.lru_cache(maxsize=8)
def table(size):
    return torch.arange(size) * 1.0

@functools.cache
def step(size):
    return 1 / size

class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    @functools.singledispatchmethod
    def bend(self, x):
        return x

    @bend.register
    def _(self, x: torch.Tensor):
        return x.relu()

    @functools.lru_cache
    def shift(self, size):
        return size * 0.5

class Dispatches(Base):
    def forward(self, x):
        return act(self.linear(x))

class DispatchesMethod(Base):
    def forward(self, x):
        return self.bend(self.linear(x))

class HoldsDispatcher(Base):
    def __init__(self):
        super().__init__()
        self.act = act

    def forward(self, x):
        return self.act(self.linear(x))

class Remembers(Base):
    def forward(self, x):
        return self.linear(x) + table(3)

class RemembersStep(Base):
    def forward(self, x):
        return self.linear(x) * step(len(x[0]))

class RemembersMethod(Base):
    def forward(self, x):
        return self.linear(x) + self.shift(3)
"""
REMEMBERED = {
    "Dispatches": ("x.tanh()", "x.sigmoid()"),
    "DispatchesMethod": ("x.relu()", "x.sigmoid()"),
    "HoldsDispatcher": ("x.tanh()", "x.sigmoid()"),
    "Remembers": ("* 1.0", "* 2.0"),
    "RemembersStep": ("1 / size", "2 / size"),
    "RemembersMethod": ("* 0.5", "* 0.25"),
}


@pytest.mark.parametrize("name", REMEMBERED)
def test_what_functools_remembers_keeps_the_key(name):
    used = model(REMEMBERING, name)
    begun = print_of(used)
    used(torch.rand(2, 3))
    assert print_of(used).key == begun.key == print_of(model(REMEMBERING, name)).key
    old, new = REMEMBERED[name]
    assert print_of(model(REMEMBERING.replace(old, new), name)).key != begun.key


@pytest.mark.parametrize("name", ["Dispatches", "DispatchesMethod", "HoldsDispatcher"])
def test_what_a_dispatcher_registers_changes_the_key(name):
    used = model(REMEMBERING, name)
    used(torch.rand(2, 3))
    begun = print_of(used)
    act = type(used[0]).forward.__globals__["act"]
    register = vars(type(used[0]).__mro__[1])["bend"].register if name == "DispatchesMethod" else act.register
    keys = [begun.key]
    for kind in (nn.Parameter, torch.Tensor):  # a new one, and another one
        register(kind, (lambda self, x: x * 3) if name == "DispatchesMethod" else (lambda x: x * 3))
        keys.append(print_of(used).key)
    assert len(set(keys)) == 3
