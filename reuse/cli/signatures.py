"""Reading a command's settings from the source of the function that it calls, without importing it.

The function's signature and docstring, and `reuse/settings.py` for what several functions take as `**settings`, are the
one place where a setting has its name, type, default and help; the command line mirrors them, and `--help` does not
wait for torch.
"""

import ast
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NOT_ON_THE_COMMAND_LINE = ("reporter",)


@dataclass(frozen=True)
class Setting:
    """One argument of a function.

    Attributes:
        name: as in Python.
        annotation: the source text of its type.
        default: its default value.
        help: its entry in the docstring.
        positional: whether it may be given without its name.
        required: whether it has no default.
    """

    name: str
    annotation: str
    default: Any
    help: str
    positional: bool
    required: bool = False


def read_settings(module: str, function: str) -> list[Setting]:
    """Return the settings of a function in their order.

    Args:
        module: such as `reuse.finetuning.finetune`; its source is read, it is not imported.
        function: the name of a function at its top level.

    Raises:
        LookupError: there is no such module or function.
    """
    for node in _source_of(module).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            shared = read_shared_settings() if node.args.kwarg else []
            return [s for s in (*_settings(node), *shared) if s.name not in NOT_ON_THE_COMMAND_LINE]
    raise LookupError(f"{module} has no function {function}")


def read_shared_settings() -> list[Setting]:
    """Return the settings of `reuse.settings` in their order."""
    tree = _source_of("reuse.settings")
    (declared,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings")
    (defaults,) = (node.value for node in tree.body if isinstance(node, ast.AnnAssign) and _is(node.target, "DEFAULTS"))
    values = ast.literal_eval(defaults) if defaults else {}
    helps = _entries(ast.get_docstring(declared) or "", "Attributes")
    fields = [node for node in declared.body if isinstance(node, ast.AnnAssign)]
    named = [(ast.unparse(field.target), ast.unparse(field.annotation)) for field in fields]
    return [Setting(name, kind, values[name], helps.get(name, ""), positional=False) for name, kind in named]


def _source_of(module: str) -> ast.Module:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise LookupError(f"there is no module {module}")
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def _is(target: ast.expr, name: str) -> bool:
    return isinstance(target, ast.Name) and target.id == name


def _settings(node: ast.FunctionDef) -> list[Setting]:
    helps = _entries(ast.get_docstring(node) or "", "Args")
    arguments, absent = node.args.args, [None] * (len(node.args.args) - len(node.args.defaults))
    positional = list(zip(arguments, [*absent, *node.args.defaults], strict=True))
    named = list(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
    return [
        Setting(
            argument.arg,
            ast.unparse(argument.annotation) if argument.annotation else "Any",
            None if default is None else ast.literal_eval(default),
            helps.get(argument.arg, ""),
            positional=number < len(positional),
            required=default is None,
        )
        for number, (argument, default) in enumerate([*positional, *named])
    ]


def _entries(docstring: str, title: str) -> dict[str, str]:
    """Return the entries of a section of a Google-style docstring."""
    section = re.search(rf"^{title}:\n(.*?)(?=^\S|\Z)", docstring, re.MULTILINE | re.DOTALL)
    entries: dict[str, str] = {}
    name = ""
    for line in section.group(1).splitlines() if section else []:
        start = re.match(r" {4}(\w+): (.*)", line)
        if start:
            name, entries[start.group(1)] = start.group(1), start.group(2)
        elif name:
            entries[name] += " " + line.strip()
    return {key: text.strip() for key, text in entries.items()}
