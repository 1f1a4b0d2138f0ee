"""Models of the user's own: `package.module:callable`."""

import importlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from reuse.errors import ReuseError, UnknownNameError, UsageError
from reuse.layout import Layout, names_of
from reuse.menus import suggest
from reuse.nn.embeddings import TokenOptions
from reuse.nn.options import LayerOptions


def offers(input_shape: tuple[int, ...], num_outputs: int, tensors: Layout = ()) -> dict[str, Any]:
    """Return what a callable may ask for of the shapes of inputs and outputs, by name.

    Args:
        input_shape: of one sample; of several tensors, of the first.
        num_outputs: how many there are.
        tensors: of one sample, where there are several.
    """
    names = names_of(tensors) or tuple(map(str, range(len(tensors))))
    shapes = {name: tensor.shape for name, tensor in zip(names, tensors, strict=True)}
    return {
        "input_shape": input_shape,
        "in_features": math.prod(input_shape),
        "in_chans": input_shape[0] if input_shape else 1,
        **({"input_shapes": shapes} if tensors else {}),
        **dict.fromkeys(("num_outputs", "num_classes", "out_features"), num_outputs),
    }


def build_from_callable(
    spec: str, given: Mapping[str, Any], options: LayerOptions, tokens: TokenOptions
) -> tuple[nn.Module, set[str]]:
    """Import the callable that `spec` names, with the current folder on the path, and call it.

    It is given those of `given`, the options, `embeddings`, and `num_tokens` where there are tokens, that its signature
    names.

    Args:
        spec: `package.module:callable`.
        given: `input_shape`, `in_features` (their product), `in_chans` (the first of them), `num_outputs`,
            `num_classes`, `out_features` (all three the number of outputs), and `pretrained` (see `offers`).
        options: of the layers.
        tokens: of inputs that are tokens.

    Returns:
        The module, and the names of what was given.

    Raises:
        UnknownNameError: the module holds no such callable.
        UsageError: the module cannot be imported, the callable needs other arguments, fails or returns no `nn.Module`.
    """
    path, _, attribute = spec.partition(":")
    offered = {
        **given,
        **asdict(options),
        "embeddings": tokens.embeddings,
        **({} if tokens.num_tokens is None else {"num_tokens": tokens.num_tokens}),
    }
    with _current_folder_on_path():
        function = _find(path, attribute, spec)
        wanted = {name: offered[name] for name in _wanted(function, offered, spec)}
        model = _call(function, wanted, spec)
    if not isinstance(model, nn.Module):
        raise UsageError(f"{spec} returned a {type(model).__name__}; it must return a torch.nn.Module")
    return model, set(wanted)


def import_callable(spec: str) -> Callable[..., Any]:
    """Return the function that `package.module:function` names, with the current folder on the path.

    Raises:
        UnknownNameError: the module holds no such function.
        UsageError: the module cannot be imported.
    """
    path, _, attribute = spec.partition(":")
    with _current_folder_on_path():
        return _find(path, attribute, spec)


def names_code(spec: str, families: Collection[str]) -> bool:
    """Return whether `spec` is `package.module:name` and not one of `families` with what it takes behind its colon.

    Its form alone decides: a file of that name, which somebody may have put there, does not make it a file's name.
    """
    path, _, attribute = spec.partition(":")
    return path not in families and attribute.isidentifier() and all(map(str.isidentifier, path.split(".")))


def can_be_imported(path: str) -> bool:
    """Return whether there is a module `path`, in the current folder or installed, without importing it itself."""
    with _current_folder_on_path():
        try:
            return importlib.util.find_spec(path) is not None
        except (ImportError, ValueError):
            return False
        except (Exception, SystemExit):  # noqa: BLE001 - the package around it fails, and importing it will say how
            return True


@contextmanager
def _current_folder_on_path() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    importlib.invalidate_caches()  # the module may have been written a moment ago
    try:
        yield
    finally:
        sys.path.remove(folder)


def _find(path: str, attribute: str, spec: str) -> Callable[..., Any]:
    try:
        module = importlib.import_module(path)
    except (Exception, SystemExit) as error:
        raise UsageError(f"the module of {spec} cannot be imported ({_described(error)}): mend it") from error
    if not hasattr(module, attribute):
        names = [name for name, value in vars(module).items() if callable(value)]
        raise UnknownNameError(f"module {path} has no {attribute!r}: {suggest(attribute, names)}")
    found = getattr(module, attribute)
    if isinstance(found, nn.Module) or not callable(found):
        raise UsageError(f"{spec} is a {type(found).__name__}: name a class or function that makes a new module")
    return found  # type: ignore[no-any-return]


def _call(function: Callable[..., Any], given: Mapping[str, Any], spec: str) -> Any:
    try:
        return function(**given)
    except ReuseError:  # it says already what to do
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{spec} failed on {', '.join(given) or 'no arguments'} ({_described(error)}): mend it"
        ) from error


def _described(error: BaseException) -> str:
    """Return an error's type and its text on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def _wanted(function: Callable[..., Any], offered: Mapping[str, Any], spec: str) -> list[str]:
    """Return which of what is offered the signature names; anything else that it needs is an error."""
    parameters = inspect.signature(function).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    missing = [p.name for p in named if p.default is p.empty and p.name not in offered]
    missing += [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.default is p.empty]
    if missing:
        raise UsageError(
            f"{spec} needs {', '.join(missing)}, which nobody gives: give defaults, or take of {', '.join(offered)}"
        )
    return [p.name for p in named if p.name in offered]
