"""Code that Python does not show: kernels registered for operators of `torch.library`, constants of traced functions.

A function that `custom_op` has registered is known. What `Library.impl` has registered lies in C++: the file in which
the library was made stands for it, all of its code.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from types import FunctionType

import torch

from reuse.fingerprinting.digests import code_digest, digest

FOREIGN = ("site-packages", "dist-packages")
PLACE = re.compile(r"registered at (.+\.py):\d+")

MANGLED = re.compile(r"___torch_mangle_\d+\.")
WHERE = re.compile(r" # .*")  # where a line of TorchScript comes from


def kernels_among(names: frozenset[str]) -> Iterator[FunctionType | str]:
    """Yield the kernels of the operators `torch.ops.space.name` with both parts among some names; see `kernels_of`."""
    if "ops" not in names:
        return
    for operator in sorted(torch._C._dispatch_get_all_op_names()):
        space, _, name = operator.partition("::")
        if space in names and name.partition(".")[0] in names:
            yield from kernels_of(operator)


def kernels_of(operator: str) -> Iterator[FunctionType | str]:
    """Yield the functions of an operator, or digests of files that stand for them; none of one of an installed package.

    Args:
        operator: such as `space::name`.
    """
    definition = torch._library.custom_ops.OPDEFS.get(operator.partition(".")[0])
    if definition is not None:
        registered = [
            definition._init_fn,
            *(function for _, function in sorted(definition._backend_fns.items(), key=str)),
        ]
        yield from dict.fromkeys(filter(_is_foreign, (_inner(function) for function in registered)))
    else:
        dump = torch._C._dispatch_dump(operator)
        for place in sorted(set(PLACE.findall(dump))):
            if not any(folder in place for folder in FOREIGN) and Path(place).is_file():
                yield _file_digest(place, Path(place).stat().st_mtime_ns)


def script_description(script: torch.jit.ScriptFunction, text: Callable[[object], str]) -> str:  # type: ignore[type-arg]
    """Return the description of a function of TorchScript: its code, and the tensors that it holds.

    Args:
        script: scripted or traced.
        text: describes tensors.
    """
    return f"script {digest(_script_text(script))}" + "".join(f" {text(held)}" for held in constants_of(script))


def _script_text(script: torch.jit.ScriptFunction) -> str:  # type: ignore[type-arg]
    """Return the code of a function of TorchScript, with that of others that it calls, whose names say nothing."""
    text = str(script.code)
    if "__torch__" not in text:
        return text
    return WHERE.sub("", MANGLED.sub("", str(script.inlined_graph)))


def constants_of(traced: torch.jit.ScriptFunction) -> Iterator[torch.Tensor]:  # type: ignore[type-arg]
    """Yield the tensors that a traced function holds."""
    for node in traced.graph.findAllNodes("prim::Constant"):  # type: ignore[attr-defined]
        if node.hasAttribute("value") and node.kindOf("value") == "t":
            yield node.t("value")


def _inner(function: FunctionType) -> FunctionType:
    """Return the user's function inside what torch has wrapped around it."""
    while not _is_foreign(function):
        inside = [cell.cell_contents for cell in function.__closure__ or ()]
        following = next((value for value in inside if isinstance(value, FunctionType)), None)
        if following is None:
            return function
        function = following
    return function


def _is_foreign(function: FunctionType) -> bool:
    return not any(folder in function.__code__.co_filename for folder in FOREIGN)


@lru_cache
def _file_digest(path: str, _written: int) -> str:
    """Return a digest of the code in a file; comments and docstrings of functions do not matter."""
    try:
        return code_digest(compile(Path(path).read_text(encoding="utf-8"), "", "exec"))
    except (OSError, SyntaxError, ValueError):
        return "unreadable"
