"""A forward that cannot be followed is told by a line of the user's own, and by no line of the tools that followed."""

import linecache
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

import reuse
from reuse.layers.following import why_unfollowed


def written(path: Path, call: str = "inner()") -> Callable[..., Any]:
    """Return `step(inner)` as if it were written in a file of that name, which is not made."""
    source = f"def step(inner):\n    return {call}\n"
    linecache.cache[str(path)] = len(source), None, source.splitlines(keepends=True), str(path)
    scope: dict[str, Any] = {}
    exec(compile(source, str(path), "exec"), scope)
    step: Callable[..., Any] = scope["step"]
    return step


def told(step: Callable[..., Any], inner: Callable[..., Any] | None) -> str:
    with pytest.raises(TypeError) as found:
        step(inner)
    return why_unfollowed(found.value.with_traceback(found.tb.tb_next))  # without this very file


def fails_in(path: Path) -> Callable[..., Any]:
    return partial(written(path, "inner + 1"), None)


PACKAGES = Path(timm.__file__).parents[1]
TOOLS = [Path(torch.__file__).parent / "nn" / "any.py", Path(reuse.__file__).parent / "layers" / "any.py"]
PYTHON = Path(statistics.__file__)


@pytest.mark.parametrize("path", [*TOOLS, PYTHON, PACKAGES / "another" / "any.py"], ids=lambda path: path.parent.name)
def test_the_own_line_in_front_of_it_is_told(path: Path, tmp_path: Path) -> None:
    step = written(tmp_path / "model.py")
    assert told(step, fails_in(path)) == "its forward cannot be followed through `return inner()` (model.py, line 2)"


@pytest.mark.parametrize("tool", [torch, reuse])
def test_a_folder_that_begins_as_a_tools_does_is_none_of_its(tool: Any) -> None:
    path = Path(tool.__file__).parent.with_name(f"{tool.__name__}_like") / "model.py"
    assert "followed through `return inner()` (model.py, line 2)" in told(written(path), fails_in(TOOLS[0]))


def test_the_line_of_a_package_is_told_where_the_model_is_of_it() -> None:
    step = written(PACKAGES / "timm" / "model.py")
    assert "followed through `return inner()` (model.py, line 2)" in told(step, fails_in(PYTHON))


@pytest.mark.parametrize("path", [*TOOLS, PYTHON], ids=lambda path: path.parent.name)
def test_no_line_of_a_tool_or_of_python_is_told(path: Path) -> None:
    expected = "TypeError: unsupported operand type(s) for +: 'NoneType' and 'int'"
    assert told(written(path, "inner + 1"), None) == expected
