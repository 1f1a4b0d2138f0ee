"""Changes of functions: what they name, their arguments, what looks up names that are made up."""

from attacks.few_rows import Kind

FUNCTIONS = {
    "nested lambda uses another global": Kind(
        before="""
A = 2.0
B = 3.0
""",
        forward="""
x = x * A + B
return (lambda y: y * A)(x)
""",
        edit=("(lambda y: y * A)", "(lambda y: y * B)"),
    ),
    "comprehension uses another global": Kind(
        before="""
A = 2.0
B = 3.0
""",
        forward="""
x = x * A + B
return [p * A for p in (x, x)][0]
""",
        edit=("[p * A for", "[p * B for"),
    ),
    "nested function calls another helper": Kind(
        before="""
def f(x): return x * 2
def g(x): return x * 3
""",
        forward="""
x = f(x) + g(x)
return sum(f(p) for p in (x, x))
""",
        edit=("sum(f(p)", "sum(g(p)"),
    ),
    "argument names swapped, called through a partial": Kind(
        before="def helper(x, scale=1.0, shift=0.5): return x * scale + shift",
        init="self.part = functools.partial(helper, scale=2.0)",
        forward="return self.part(x)",
        edit=("scale=1.0, shift=0.5): return x * scale + shift", "shift=1.0, scale=0.5): return x * shift + scale"),
    ),
    "argument names swapped, called through a dictionary": Kind(
        before="def helper(x, scale=1.0, shift=0.5): return x * scale + shift",
        init="self.options = {'scale': 2.0}",
        forward="return helper(x, **self.options)",
        edit=("scale=1.0, shift=0.5): return x * scale + shift", "shift=1.0, scale=0.5): return x * shift + scale"),
    ),
    "function attribute": Kind(
        before="""
def helper(x): return x * helper.scale
helper.scale = 2.0
""",
        forward="return helper(x)",
        change="network.helper.scale = 3.0",
    ),
    "function attribute of a held function": Kind(
        before="""
def helper(x): return x
helper.scale = 2.0
""",
        init="self.f = helper",
        forward="return x * self.f.scale",
        change="network.helper.scale = 3.0",
    ),
    "attribute of a method": Kind(
        source="""
class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        pass
    def forward(self, x):
        return x * self.forward.__func__.scale
Inner.forward.scale = 2.0
""",
        change="network.Inner.forward.scale = 3.0",
    ),
    "f-string getattr": Kind(
        init="self.w1 = 2.0; self.number = 1",
        forward="return x * getattr(self, f'w{self.number}')",
        change="inner.w1 = 3.0",
    ),
    "global alias of getattr": Kind(
        before="""
GET = getattr
class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = 2.0
    def forward(self, x): return x
""",
        init="self.deep = Holder(); self.name = 'scale'",
        forward="return x * GET(self.deep, self.name)",
        change="inner.deep.scale = 3.0",
    ),
    "builtins.getattr": Kind(
        before="""
class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = 2.0
    def forward(self, x): return x
""",
        init="self.deep = Holder(); self.name = 'scale'",
        forward="return x * builtins.getattr(self.deep, self.name)",
        change="inner.deep.scale = 3.0",
    ),
    "attrgetter held as a global": Kind(
        before="""
GET = operator.attrgetter('scale')
class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = 2.0
    def forward(self, x): return x
""",
        init="self.deep = Holder()",
        forward="return x * GET(self.deep)",
        change="inner.deep.scale = 3.0",
    ),
    "attrgetter held as an attribute": Kind(
        before="""
class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = 2.0
    def forward(self, x): return x
""",
        init="self.deep = Holder(); self.get = operator.attrgetter('scale')",
        forward="return x * self.get(self.deep)",
        change="inner.deep.scale = 3.0",
    ),
    "methodcaller held as an attribute": Kind(
        before="""
class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = 2.0
    def scaled(self): return self.scale
    def forward(self, x): return x
""",
        init="self.deep = Holder(); self.get = operator.methodcaller('scaled')",
        forward="return x * self.get(self.deep)",
        change="inner.deep.scale = 3.0",
    ),
    "methodcaller, method edited": Kind(
        before="""
class Holder(nn.Module):
    def scaled(self): return 2.0
    def forward(self, x): return x
""",
        init="self.deep = Holder(); self.get = operator.methodcaller('scaled')",
        forward="return x * self.get(self.deep)",
        edit=("return 2.0", "return 3.0"),
    ),
    "get_buffer by a made-up name": Kind(
        init="self.register_buffer('w1', torch.tensor(2.0)); self.number = 1",
        forward="return x * self.get_buffer('w%d' % self.number)",
        change="inner.w1.fill_(3.0)",
    ),
    "__getattr__ called by a made-up name": Kind(
        init="self.register_buffer('w1', torch.tensor(2.0)); self.number = 1",
        forward="return x * self.__getattr__('w%d' % self.number)",
        change="inner.w1.fill_(3.0)",
    ),
    "getattr_static of a child": Kind(
        before="""
class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = 2.0
    def forward(self, x): return x
""",
        init="self.deep = Holder(); self.name = 'scale'",
        forward="return x * inspect.getattr_static(self.deep, self.name)",
        change="inner.deep.scale = 3.0",
    ),
    "partial of getattr": Kind(
        before="""
class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = 2.0
    def forward(self, x): return x
""",
        init="""
self.deep = Holder(); self.get = functools.partial(getattr, self.deep)
self.name = 'scale'
""",
        forward="return x * self.get(self.name)",
        change="inner.deep.scale = 3.0",
    ),
}
