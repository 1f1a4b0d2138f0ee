"""`reuse recipes`: list, run."""

import ast
from pathlib import Path
from typing import Any

import click

from reuse.cli.completing import matching
from reuse.cli.options import JSON, Group
from reuse.cli.saying import announce, say


@click.group(cls=Group)
def recipes() -> None:
    """Run the worked examples of the folder recipes.

    Example: reuse recipes list
    """


@recipes.command("list")
@JSON
def list_recipes(as_json: bool) -> None:
    """Name the recipes and what they show.

    Example: reuse recipes list
    """
    from reuse.cli.printing import print_json, table

    rows = [{"recipe": name, "summary": _summary(path)} for name, path in _found().items()]
    if as_json:
        print_json({"recipes": rows})
    else:
        click.echo(table(rows))


@recipes.command("run")
@click.argument("name", shell_complete=lambda *given: matching(_found(), given[-1]))
@click.option("--quick", is_flag=True, help="On small data, in seconds.")
@JSON
def run_recipe(name: str, quick: bool, as_json: bool) -> None:
    """Run the recipe NAME.

    Example: reuse recipes run frozen_finetune --quick
    """
    from contextlib import redirect_stdout
    from importlib import import_module
    from sys import stderr

    from reuse.cli.printing import print_json
    from reuse.menus import lookup

    lookup(_found(), name, "recipe")
    announce(as_json=as_json)
    with redirect_stdout(stderr):  # what a recipe prints on its way is progress
        result: dict[str, Any] = import_module(f"reuse.recipes.{name}").main(quick=quick)
    if as_json:
        print_json(result)
        return
    for key, value in result.items():
        say(f"{key}: {value}")


def _found() -> dict[str, Path]:
    """Return the recipes, modules with a function `main`, by name; none is imported."""
    import reuse.recipes

    paths = [path for folder in reuse.recipes.__path__ for path in sorted(Path(folder).glob("*.py"))]
    return {path.stem: path for path in paths if not path.stem.startswith("_") and _has_main(path)}


def _has_main(path: Path) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in _parsed(path).body)


def _summary(path: Path) -> str:
    return (ast.get_docstring(_parsed(path)) or "").partition("\n")[0]


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
