"""Changes of values that layers hold, each of a type of its own."""

from attacks.few_rows import Kind

VALUES = {
    "weakref to an object": Kind(
        before="""
hold = []
class Thing:
    def __init__(self): self.scale = 2.0
""",
        init="self.thing = Thing(); hold.append(self.thing); self.ref = weakref.ref(self.thing); del self.thing",
        forward="return x * self.ref().scale",
        change="inner.ref().scale = 3.0",
    ),
    "weakref to a module": Kind(
        before="""
hold = []
class Thing(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(6, 6)
    def forward(self, x): return self.lin(x)
""",
        init="self.thing = Thing(); hold.append(self.thing); self.ref = weakref.ref(self.thing); del self.thing",
        forward="return self.ref()(x)",
        change="inner.ref().lin.weight.data *= 3.0",
    ),
    "weak method": Kind(
        before="""
hold = []
class Thing:
    def __init__(self): self.scale = 2.0
    def f(self, x): return x * self.scale
""",
        init="thing = Thing(); hold.append(thing); self.ref = weakref.WeakMethod(thing.f)",
        forward="return self.ref()(x)",
        change="network.hold[-1].scale = 3.0",
    ),
    "values of a dictionary": Kind(
        init="self.table = {'a': 2.0}; self.scales = self.table.values(); del self.table",
        forward="return x * sum(self.scales)",
        edit=("'a': 2.0", "'a': 3.0"),
    ),
    "keys of a dictionary": Kind(
        init="self.scales = {2.0: 1}.keys()",
        forward="return x * sum(self.scales)",
        edit=("2.0: 1", "3.0: 1"),
    ),
    "items of a dictionary": Kind(
        init="self.scales = {2.0: 1}.items()",
        forward="return x * list(self.scales)[0][0]",
        edit=("2.0: 1", "3.0: 1"),
    ),
    "metadata of a dataclass field": Kind(
        before="""
@dataclasses.dataclass
class Cfg:
    scale: float = dataclasses.field(default=1.0, metadata={'by': 2.0})
""",
        init="self.cfg = Cfg()",
        forward="return x * dataclasses.fields(self.cfg)[0].metadata['by']",
        edit=("'by': 2.0", "'by': 3.0"),
    ),
    "a private slot": Kind(
        before="""
class Cfg:
    __slots__ = ('a', '__scale')
    def __init__(self): self.a, self.__scale = 1.0, 2.0
    def get(self): return self.__scale
""",
        init="self.cfg = Cfg()",
        forward="return x * self.cfg.get()",
        change="inner.cfg._Cfg__scale = 3.0",
    ),
    "a Decimal with a remark": Kind(
        before="class Rate(decimal.Decimal): pass",
        init="self.rate = Rate('2.0'); self.rate.note = 'x'",
        forward="return x * float(self.rate)",
        edit=("Rate('2.0')", "Rate('3.0')"),
    ),
    "a context variable": Kind(
        before="RATE = contextvars.ContextVar('rate', default=2.0)",
        forward="return x * RATE.get()",
        change="""
RATE = network.RATE
token = RATE.set(3.0)
undo.callback(RATE.reset, token)
""",
    ),
    "the default of a context variable": Kind(
        before="RATE = contextvars.ContextVar('rate', default=2.0)",
        forward="return x * RATE.get()",
        edit=("default=2.0", "default=3.0"),
    ),
    "fields of a structured array swapped": Kind(
        init="self.t = np.array([(2.0, 3.0)], dtype=[('a', 'f4'), ('b', 'f4')])",
        forward="return x * float(self.t['a'][0])",
        edit=("[('a', 'f4'), ('b', 'f4')]", "[('b', 'f4'), ('a', 'f4')]"),
    ),
    "the mask of a masked array": Kind(
        init="self.t = np.ma.masked_array([2.0, 3.0], mask=[0, 1])",
        forward="return x * float(self.t.sum())",
        edit=("mask=[0, 1]", "mask=[1, 0]"),
    ),
    "a subclass of ndarray with an attribute": Kind(
        before="class Arr(np.ndarray): pass",
        init="self.t = np.ones(3).view(Arr); self.t.scale = 2.0",
        forward="return x * self.t.scale",
        edit=("t.scale = 2.0", "t.scale = 3.0"),
    ),
    "an operator of a subclass of ndarray": Kind(
        before="""
class Arr(np.ndarray):
    def total(self): return 2.0
""",
        init="self.t = np.ones(3).view(Arr)",
        forward="return x * self.t.total()",
        edit=("return 2.0", "return 3.0"),
    ),
    "torch.finfo": Kind(
        init="self.info = torch.finfo(torch.float16)",
        forward="return x * self.info.max / 1e5",
        edit=("torch.finfo(torch.float16)", "torch.finfo(torch.bfloat16)"),
    ),
    "a subclass of Tensor, its code": Kind(
        before="""
class T(torch.Tensor):
    def scaled(self): return self * 2.0
""",
        init="self.w = torch.ones(6).as_subclass(T)",
        forward="return x + self.w.scaled().as_subclass(torch.Tensor)",
        edit=("self * 2.0", "self * 3.0"),
    ),
    "a subclass of Tensor, __torch_function__": Kind(
        before="""
class T(torch.Tensor):
    @classmethod
    def __torch_function__(cls, f, t, a=(), k=None):
        out = super().__torch_function__(f, t, a, k or {})
        return out * 2.0 if f is torch.add else out
""",
        init="self.w = torch.ones(6).as_subclass(T)",
        forward="return torch.add(x, self.w).as_subclass(torch.Tensor)",
        edit=("out * 2.0", "out * 3.0"),
    ),
    "a subclass of Tensor, an attribute": Kind(
        before="""
class T(torch.Tensor):
    @classmethod
    def __torch_function__(cls, f, t, a=(), k=None):
        out = super().__torch_function__(f, t, a, k or {})
        return out * a[1].by if f is torch.add else out
""",
        init="self.w = torch.ones(6).as_subclass(T); self.w.by = 2.0",
        forward="return torch.add(x, self.w).as_subclass(torch.Tensor)",
        change="inner.w.by = 3.0",
    ),
    "a subclass of Parameter": Kind(
        before="""
class P(nn.Parameter):
    def scaled(self): return self.data * 2.0
""",
        init="self.w = P(torch.ones(6))",
        forward="return x + self.w.scaled()",
        edit=("self.data * 2.0", "self.data * 3.0"),
    ),
    "a quantised tensor's scale": Kind(
        init="self.q = torch.quantize_per_tensor(torch.tensor([2.0]), 0.5, 0, torch.quint8)",
        forward="return x * self.q.dequantize()",
        edit=("torch.tensor([2.0]), 0.5", "torch.tensor([4.0]), 1.0"),
    ),
    "a memoryview": Kind(
        init="self.t = memoryview(bytes([2]))",
        forward="return x * self.t[0]",
        edit=("bytes([2])", "bytes([3])"),
    ),
    "a struct": Kind(
        init="import struct; self.t = struct.Struct('<i')",
        forward="return x * self.t.unpack(bytes([2, 0, 0, 1]))[0] / 1e9",
        edit=("'<i'", "'>i'"),
    ),
    "an attribute of an Enum member": Kind(
        before="""
class Mode(enum.Enum):
    A = 1
    def __init__(self, v): self.by = 2.0
""",
        init="self.mode = Mode.A",
        forward="return x * self.mode.by",
        change="network.Mode.A.by = 3.0",
    ),
}
