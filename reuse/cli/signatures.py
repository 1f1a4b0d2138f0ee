"""Reading a command's settings from the source of the function that it calls, without importing it.

The function's signature and docstring are the one place where a setting has its name, type, default and help; the
command line mirrors them, and `--help` does not wait for torch.
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
        module: such as `reuse.finetuning`; its source is read, it is not imported.
        function: the name of a function at its top level.

    Raises:
        LookupError: there is no such module or function.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise LookupError(f"there is no module {module}")
    tree = ast.parse(Path(spec.origin).read_text())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return [s for s in _settings(node) if s.name not in NOT_ON_THE_COMMAND_LINE]
    raise LookupError(f"{module} has no function {function}")


def _settings(node: ast.FunctionDef) -> list[Setting]:
    helps = _argument_docs(ast.get_docstring(node) or "")
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


def _argument_docs(docstring: str) -> dict[str, str]:
    """Return the entries of a Google-style `Args:` section."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", docstring, re.MULTILINE | re.DOTALL)
    entries: dict[str, str] = {}
    name = ""
    for line in section.group(1).splitlines() if section else []:
        start = re.match(r" {4}(\w+): (.*)", line)
        if start:
            name, entries[start.group(1)] = start.group(1), start.group(2)
        elif name:
            entries[name] += " " + line.strip()
    return {key: text.strip() for key, text in entries.items()}
