"""Changes of what stands outside of a layer: constants, flags and settings of packages, names that are made up."""

from attacks.few_rows import Kind

BACKENDS, MATMUL = "torch.backends.cudnn", "torch.backends.cuda.matmul"
BENCHMARK = (
    "from torch.backends import cudnn; undo.callback(setattr, cudnn, 'benchmark', False); cudnn.benchmark = True"
)
SCALED_BY = "return x * (2.0 if {} else 1.0)"
FEWER_DIGITS = "torch.set_printoptions(precision=1); undo.callback(torch.set_printoptions, profile='default')"


def flag(place: str, name: str, value: str) -> Kind:
    """Return a layer that reads a setting of a package, and the change to that setting."""
    return Kind(
        forward=SCALED_BY.format(f"{place}.{name} == {value}"),
        change=f"undo.callback(setattr, {place}, {name!r}, {place}.{name}); {place}.{name} = {value}",
    )


SWAPPED = ("scale=1.0, shift=0.5): return x * scale + shift", "shift=1.0, scale=0.5): return x * shift + scale")
DEEP = """
class Deep(nn.Module):
    def forward(self, x, scale=1.0, shift=0.5): return x * scale + shift
"""
OUTSIDE = {
    "argument names swapped, keyword hook with a key that is a global": Kind(
        before=DEEP + "def give(m, a, kw): return a, {KEY: 2.0}\nKEY = 'scale'\n",
        init="self.deep = Deep(); self.deep.register_forward_pre_hook(give, with_kwargs=True)",
        forward="return self.deep(x)",
        edit=SWAPPED,
    ),
    "argument names swapped, keyword hook with a key that is made up": Kind(
        before=DEEP + "def give(m, a, kw): return a, {'sc' + str(m.end): 2.0}\n",
        init="self.deep = Deep(); self.deep.end = 'ale'\nself.deep.register_forward_pre_hook(give, with_kwargs=True)",
        forward="return self.deep(x)",
        edit=SWAPPED,
    ),
    "argument names swapped, called by names that are made up": Kind(
        before="def helper(x, scale=1.0, shift=0.5): return x * scale + shift\n",
        init="self.end = 'ale'",
        forward="return helper(x, **{f'sc{self.end}': 2.0})",
        edit=SWAPPED,
    ),
    "argument names swapped, called by a name in a list": Kind(
        before="def helper(x, scale=1.0, shift=0.5): return x * scale + shift\n",
        init="self.given = ['scale']",
        forward="return helper(x, **dict.fromkeys(self.given, 2.0))",
        edit=SWAPPED,
    ),
    "argument names swapped, called by functional_call": Kind(
        before=DEEP,
        init="self.deep = Deep(); self.key = 'scale'",
        forward="return torch.func.functional_call(self.deep, {}, (x,), {self.key: 2.0})",
        edit=SWAPPED,
    ),
    "arguments of the program": Kind(
        forward="return x * len(sys.argv)", change="sys.argv.append('x'); undo.callback(sys.argv.pop)"
    ),
    "torch.pi": Kind(
        forward="return x * torch.pi", change="undo.callback(setattr, torch, 'pi', torch.pi); torch.pi = 4.0"
    ),
    "numpy's pi": Kind(forward="return x * np.pi", change="undo.callback(setattr, np, 'pi', np.pi); np.pi = 4.0"),
    "math's pi": Kind(
        before="import math",
        forward="return x * math.pi",
        change="import math; undo.callback(setattr, math, 'pi', math.pi); math.pi = 4.0",
    ),
    "a flag of cudnn": flag(BACKENDS, "benchmark", "True"),
    "a number of cudnn": flag(BACKENDS, "benchmark_limit", "3"),
    "a flag of an object of torch": flag(
        "torch.backends.cuda.matmul", "allow_bf16_reduced_precision_reduction", "False"
    ),
    "a text of torch": flag("torch.backends.opt_einsum", "strategy", "'greedy'"),
    "a setting of the compiler": flag("torch._dynamo.config", "cache_size_limit", "3"),
    "a flag held by its module": Kind(
        before="from torch.backends import cudnn",
        forward=SCALED_BY.format("cudnn.benchmark"),
        change=BENCHMARK,
    ),
    "a flag of a module that is held": Kind(
        init="self.backend = torch.backends.cudnn",
        forward=SCALED_BY.format("self.backend.benchmark"),
        change=BENCHMARK,
    ),
    "the number of threads": Kind(
        forward="return x * torch.get_num_threads()",
        change="undo.callback(torch.set_num_threads, torch.get_num_threads()); "
        "torch.set_num_threads(torch.get_num_threads() + 1)",
    ),
    "the seed": Kind(
        forward="return x * (torch.initial_seed() % 1000)",
        change="undo.callback(torch.manual_seed, torch.initial_seed()); torch.manual_seed(12345)",
    ),
    "printing options of torch, in str": Kind(
        forward="return x * float(str(torch.tensor(2.55555)).split('(')[1].rstrip(')'))",
        change=FEWER_DIGITS,
    ),
    "printing options of torch, in a formatted text": Kind(
        forward="return x * len(f'{torch.tensor([2.55555])}')",
        change=FEWER_DIGITS,
    ),
    "printing options of torch, by a percent sign": Kind(
        forward="return x * len('%s' % torch.tensor(2.55555))",
        change=FEWER_DIGITS,
    ),
    "printing options of torch, by a held function": Kind(
        init="self.text = repr",
        forward="return x * len(self.text(torch.tensor(2.55555)))",
        change=FEWER_DIGITS,
    ),
    "printing options of NumPy": Kind(
        forward="return x * len(str(np.array([2.55555])))",
        change="undo.callback(np.set_printoptions, precision=8); np.set_printoptions(precision=1)",
    ),
    "precision of decimal numbers": Kind(
        forward="return x * float(decimal.Decimal(1) / decimal.Decimal(3))",
        change="undo.callback(setattr, decimal.getcontext(), 'prec', 28); decimal.getcontext().prec = 3",
    ),
    "a global that a text names": Kind(
        before="SCALE = 2.0", forward="return x * globals()['SCALE']", edit=("SCALE = 2.0", "SCALE = 3.0")
    ),
    "a global in a text that is evaluated": Kind(
        before="SCALE = 2.0", forward="return x * eval('1 * SCALE')", change="network.SCALE = 3.0"
    ),
    "a member of an enumeration that is gone through": Kind(
        before="class Mode(enum.Enum):\n    SOFT = 2.0\n    HARD = 3.0\n",
        forward="return x * next(iter(Mode)).value",
        edit=("SOFT = 2.0", "SOFT = 4.0"),
    ),
    "the order in which a pattern takes attributes": Kind(
        before="""
class Pair:
    __match_args__ = ("low", "high")
    def __init__(self, low, high): self.low, self.high = low, high
""",
        forward="""
match Pair(1.0, 2.0):
    case Pair(a, b): return x * b
""",
        edit=('("low", "high")', '("high", "low")'),
    ),
    "an attribute of a layer that a pattern takes": Kind(
        before="""
class Pair(nn.Module):
    __match_args__ = ("low", "high")
    def __init__(self):
        super().__init__()
        self.low, self.high = 1.0, 2.0
    def forward(self, x): return x
""",
        init="self.pair = Pair()",
        forward="""
match self.pair:
    case Pair(a, b): return self.pair(x) * b
""",
        change="inner.pair.high = 3.0",
    ),
    **{
        f"what {name} of an object makes": Kind(
            before=f"class Odd:\n    step = 1.0\n    def {name}(self):\n{body}",
            init="self.odd = Odd()",
            forward=f"return x * {call}",
            edit=("2.0", "3.0"),
        )
        for name, body, call in (
            ("__str__", "        return '2.0'\n", "float(str(self.odd))"),
            ("__repr__", "        return '2.0'\n", "float(f'{self.odd!r}')"),
            ("__sizeof__", "        return int(2.0)\n", "(sys.getsizeof(self.odd) % 1000)"),
            ("__copy__", "        o = Odd(); o.step = 2.0; return o\n", "copy.copy(self.odd).step"),
        )
    },
}
