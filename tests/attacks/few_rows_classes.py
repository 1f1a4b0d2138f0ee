"""Changes of classes, and of what is put in the place of methods of torch's."""

from attacks.few_rows import Kind

CLASSES = {
    "a method that torch's base class calls": Kind(
        source="""
class Conv(nn.Conv1d):
    def _conv_forward(self, input, weight, bias): return super()._conv_forward(input, weight, bias) * 2.0
class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = Conv(1, 1, 3, padding=1)
    def forward(self, x): return self.conv(x[:, None])[:, 0]
""",
        edit=("* 2.0", "* 3.0"),
    ),
    "an attribute that torch's base class reads": Kind(
        source="""
class Conv(nn.Conv1d):
    def _conv_forward(self, input, weight, bias): return super()._conv_forward(input, weight, bias)
class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = Conv(1, 1, 3, padding=1)
    def forward(self, x): return self.conv(x[:, None])[:, 0]
""",
        change="inner.conv.padding = (2,); inner.conv.dilation = (2,)",
    ),
    "a mixin overrides what torch's base class calls": Kind(
        source="""
class Mixin:
    def _conv_forward(self, input, weight, bias): return nn.Conv1d._conv_forward(self, input, weight, bias) * 2.0
class Conv(Mixin, nn.Conv1d): pass
class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = Conv(1, 1, 3, padding=1)
    def forward(self, x): return self.conv(x[:, None])[:, 0]
""",
        edit=("* 2.0", "* 3.0"),
    ),
    "__call__ by lru_cache": Kind(
        before="""
class Deep:
    @functools.lru_cache
    def __call__(self, n): return 2.0 * n
""",
        init="self.deep = Deep()",
        forward="return x * self.deep(1)",
        edit=("2.0 * n", "3.0 * n"),
    ),
    "a dunder constant": Kind(
        before="""
class Deep:
    __scale__ = 2.0
""",
        init="self.deep = Deep()",
        forward="return x * self.deep.__scale__",
        edit=("__scale__ = 2.0", "__scale__ = 3.0"),
    ),
    "a callable object as __call__": Kind(
        before="""
class By:
    def __init__(self, s): self.s = s
    def __call__(self, *a): return self.s
class Deep:
    __call__ = By(2.0)
""",
        init="self.deep = Deep()",
        forward="return x * self.deep()",
        edit=("By(2.0)", "By(3.0)"),
    ),
    "annotations read": Kind(
        before="""
class Settings:
    scale: typing.Annotated[float, 2.0]
""",
        forward="return x * typing.get_type_hints(Settings, include_extras=True)['scale'].__metadata__[0]",
        edit=("float, 2.0", "float, 3.0"),
    ),
    "docstring read": Kind(
        before="""
class Settings:
    '''2.0'''
""",
        forward="return x * float(Settings.__doc__)",
        edit=("'''2.0'''", "'''3.0'''"),
    ),
    "own _call_impl": Kind(
        before="""
class Deep(nn.Module):
    def _call_impl(self, x): return self.forward(x) * 2.0
    def forward(self, x): return x
""",
        init="self.deep = Deep()",
        forward="return self.deep(x)",
        edit=("* 2.0", "* 3.0"),
    ),
    "_call_impl put on an instance": Kind(
        before="""
class Deep(nn.Module):
    def forward(self, x): return x
""",
        init="self.deep = Deep()",
        forward="return self.deep(x)",
        change="inner.deep._call_impl = lambda x: x * 3",
    ),
    "nn.Module.__call__ patched": Kind(
        init="self.deep = nn.Identity()",
        forward="return self.deep(x)",
        change="""
was = nn.Module.__call__
def call(self, *a, **k):
    out = was(self, *a, **k)
    return out * 3 if type(self) is nn.Identity else out
nn.Module.__call__ = call
undo.callback(setattr, nn.Module, "__call__", was)
""",
    ),
    "nn.Module._call_impl patched": Kind(
        init="self.deep = nn.Identity()",
        forward="return self.deep(x)",
        change="""
was = nn.Module._call_impl
def call(self, *a, **k):
    out = was(self, *a, **k)
    return out * 3 if type(self) is nn.Identity else out
nn.Module._call_impl = call
undo.callback(setattr, nn.Module, "_call_impl", was)
""",
    ),
    "Tensor.__mul__ patched": Kind(
        forward="return x * 2.5",
        change="""
was = torch.Tensor.__mul__
torch.Tensor.__mul__ = lambda self, o: was(self, o) + 1 if isinstance(o, float) and o == 2.5 else was(self, o)
undo.callback(setattr, torch.Tensor, "__mul__", was)
""",
    ),
    "torch function mode": Kind(
        forward="return x.erf()",
        change="""
from torch.overrides import TorchFunctionMode
class Mode(TorchFunctionMode):
    def __torch_function__(self, f, t, a=(), k=None):
        out = f(*a, **(k or {}))
        return out * 2 if getattr(f, '__name__', '') == 'erf' else out
undo.enter_context(Mode())
""",
    ),
    "torch dispatch mode": Kind(
        forward="return x.erf()",
        change="""
from torch.utils._python_dispatch import TorchDispatchMode
class Mode(TorchDispatchMode):
    def __torch_dispatch__(self, f, t, a=(), k=None):
        out = f(*a, **(k or {}))
        return out * 2 if 'erf' in str(f) else out
undo.enter_context(Mode())
""",
    ),
    "rate of a dropout that is read": Kind(
        init="self.drop = nn.Dropout(0.2)",
        forward="return x * self.drop.p",
        change="inner.drop.p = 0.3",
    ),
    "rate of a dropout that a hook reads": Kind(
        init="""
self.drop = nn.Dropout(0.2)
self.deep = nn.Identity()
self.deep.register_forward_hook(lambda mod, a, out, drop=self.drop: out * drop.p)
""",
        forward="return self.deep(x)",
        change="inner.drop.p = 0.3",
    ),
    "sys.modules by a constant": Kind(
        before="import few_tools",
        forward="return x * sys.modules['few_tools'].STEP",
        change="""
import few_tools
undo.callback(setattr, few_tools, 'STEP', 2.0)
few_tools.STEP = 3.0
""",
    ),
    "import_module by a constant": Kind(
        forward="return x * importlib.import_module('few_tools').STEP",
        change="""
import few_tools
undo.callback(setattr, few_tools, 'STEP', 2.0)
few_tools.STEP = 3.0
""",
    ),
    "a module's __getattr__": Kind(
        before="import few_tools",
        forward="return x * few_tools.LAZY",
        change="""
import few_tools
undo.callback(few_tools.HIDDEN.update, LAZY=2.0)
few_tools.HIDDEN['LAZY'] = 3.0
""",
    ),
    "a graph module with a hook": Kind(
        init="self.g = torch.fx.symbolic_trace(nn.Sequential(nn.Linear(6, 6), nn.ReLU()))",
        forward="return self.g(x)",
        change="inner.g.register_forward_hook(lambda mod, a, out: out * 3)",
    ),
    "a graph module with a pre-hook": Kind(
        init="self.g = torch.fx.symbolic_trace(nn.Sequential(nn.Linear(6, 6), nn.ReLU()))",
        forward="return self.g(x)",
        change="inner.g.register_forward_pre_hook(lambda mod, a: (a[0] * 3,))",
    ),
    "a graph module with another forward": Kind(
        init="self.g = torch.fx.symbolic_trace(nn.Sequential(nn.Linear(6, 6), nn.ReLU()))",
        forward="return self.g(x)",
        change="inner.g.forward = lambda x: x * 3",
    ),
    "a graph module's own class edited": Kind(
        before="""
class Tri(nn.Module):
    def forward(self, x): return x * 2.0
""",
        init="self.g = torch.fx.symbolic_trace(Tri())",
        forward="return self.g(x)",
        change="type(inner.g).forward = lambda self, x: x * 5.0",
    ),
    "a constant of an installed package": Kind(
        before="import timm.data.constants as timm_constants",
        init="""
import timm.data.constants as c
self.c = 0
""",
        forward="return x * timm_constants.IMAGENET_DEFAULT_MEAN[0]",
        change="""
import timm.data.constants as c
was = c.IMAGENET_DEFAULT_MEAN; c.IMAGENET_DEFAULT_MEAN = (3.0,); undo.callback(setattr, c, 'IMAGENET_DEFAULT_MEAN', was)
""",
    ),
    "a registry of classes in an installed package": Kind(
        source="""
class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        pass
    def forward(self, x):
        return nn.functional.stale_scale * x
F.stale_scale = 2.0
""",
        change="F.stale_scale = 3.0; undo.callback(setattr, F, 'stale_scale', 2.0)",
    ),
}
