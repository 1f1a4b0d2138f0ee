"""`reuse cache`: list, why, verify, prune, clear."""

from typing import Any

import click

from reuse.cli.completing import completing
from reuse.cli.configuring import settings_of_call
from reuse.cli.failing import AnsweredError
from reuse.cli.options import CONFIG, JSON, PATTERNS, Group, Parsed, refusing, with_settings
from reuse.cli.saying import announce, confirm_removal, say
from reuse.settings.commands import PlanArguments
from reuse.units import format_count, parse_bytes

FOLDER = click.option("--cache-dir", help="Where activations are kept; by default $REUSE_CACHE or ./cache.")
KEY = click.argument("key", required=False, shell_complete=completing("key"))


@click.group(cls=Group)
def cache() -> None:
    """Look after the activations of frozen layers.

    Example: reuse cache list
    """


@cache.command("list")
@FOLDER
@JSON
def list_entries(cache_dir: str | None, as_json: bool) -> None:
    """List what is cached, the most recently used first.

    Example: reuse cache list --cache-dir cache
    """
    from dataclasses import asdict

    from reuse.cli.printing import print_json, table
    from reuse.units import format_bytes

    announce(as_json=as_json)
    opened = _open(cache_dir)
    entries = opened.entries()
    total = sum(entry.bytes for entry in entries)
    if as_json:
        print_json({"path": str(opened.root), "bytes": total, "entries": [asdict(entry) for entry in entries]})
        return
    if entries:
        click.echo(table([_line(entry) for entry in entries]))
    say(f"{opened.root}: {format_count(len(entries), 'prefix')}, {format_bytes(total)}")


@cache.command(cls=refusing(PlanArguments), epilog=PATTERNS)
@with_settings(PlanArguments)
@CONFIG
@JSON
@click.pass_context
def why(context: click.Context, /, as_json: bool, config: str | None, **_: Any) -> None:
    """Say whether a fine-tuning with these options would find its activations, and if not, what differs.

    Example: reuse cache why timm:resnet18 --freeze '!head' --data photos/
    """
    announce(as_json=as_json)
    from reuse.cli.printing import print_json
    from reuse.errors import CutError
    from reuse.features.explaining import explain
    from reuse.finetuning.finetune import plan

    try:
        features = plan(**settings_of_call(context, config, PlanArguments))[1]
    except CutError as error:
        answer: dict[str, Any] = {"hit": False, "cut": False, "reason": str(error)}
        lines = [f"nothing is cached: {error}"]
    else:
        explanation = explain(features)
        answer, lines = {"cut": True, **explanation.to_dict()}, explanation.lines()
    if as_json:
        print_json(answer)
        return
    for line in lines:
        say(line)


@cache.command()
@KEY
@FOLDER
@JSON
def verify(key: str | None, cache_dir: str | None, as_json: bool) -> None:
    """Read every cached byte, of one prefix or of all, and name the files and rows that are damaged.

    Example: reuse cache verify
    """
    from reuse.cli.printing import print_json

    announce(as_json=as_json)
    opened = _open(cache_dir)
    problems = opened.verify(_whole_key(opened, key))
    checked = 1 if key else len(opened.entries())
    keys = ", ".join(dict.fromkeys(problem.path.parent.name for problem in problems))
    damage = f"{opened.root} is damaged in {format_count(len(problems), 'place')}: `reuse cache clear KEY` for {keys}"
    if as_json:
        listed = [{"path": str(problem.path), "what": problem.what} for problem in problems]
        error = {"error": damage, "exit_code": AnsweredError.exit_code} if problems else {}
        print_json({"path": str(opened.root), "checked": checked, "problems": listed, **error})
    elif problems:
        for problem in problems:
            say(str(problem))
    else:
        say(f"{opened.root}: {format_count(checked, 'prefix')}, nothing is damaged")
    if problems:
        raise AnsweredError(damage)


@cache.command()
@click.option("--budget", type=Parsed("BYTES", parse_bytes), required=True, help="Bytes to keep at most, such as 2GB.")
@FOLDER
@JSON
def prune(budget: int, cache_dir: str | None, as_json: bool) -> None:
    """Remove what was not used for longest until all fits a budget.

    Example: reuse cache prune --budget 2GB
    """
    announce(as_json=as_json)
    opened = _open(cache_dir)
    _show_freed(opened, opened.prune(budget), as_json)
    for entry in () if as_json else opened.entries():
        if entry.damage:
            say(f"{entry.key} is damaged ({entry.damage[0]}): `reuse cache clear {entry.key}` removes it")


@cache.command()
@KEY
@click.option("--yes", is_flag=True, help="Remove all without asking.")
@FOLDER
@JSON
def clear(key: str | None, yes: bool, cache_dir: str | None, as_json: bool) -> None:
    """Remove all that is cached, after asking, or the prefix KEY (its first digits are enough).

    Example: reuse cache clear --yes
    """
    announce(as_json=as_json)
    opened = _open(cache_dir)
    if key is None and not yes:
        _ask(opened)
    _show_freed(opened, opened.clear(_whole_key(opened, key)), as_json)


def _open(folder: str | None) -> Any:
    from reuse.caching.cache import ActivationCache
    from reuse.errors import UsageError
    from reuse.paths import cache_folder

    path = cache_folder(folder)
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file, and activations are kept in a folder: give another --cache-dir")
    return ActivationCache(path)


def _whole_key(opened: Any, key: str | None) -> str | None:
    """Return the key that begins with `key`."""
    from reuse.errors import UnknownNameError
    from reuse.menus import suggest

    if key is None:
        return None
    keys = [entry.key for entry in opened.entries()]
    found = [whole for whole in keys if whole.startswith(key)]
    if len(found) != 1:
        what = f"{len(found)} prefixes begin with {key!r}" if found else f"there is no prefix {key!r}"
        near = suggest(key, found or keys) if keys else "it is empty"
        raise UnknownNameError(f"{what} in {opened.root}: {near}")
    return str(found[0])


def _ask(opened: Any) -> None:
    """Say what would be removed, and leave unless somebody says yes; of an empty cache nothing is asked."""
    from reuse.units import format_bytes

    entries = opened.entries()
    if not entries:
        return
    size = format_bytes(sum(entry.bytes for entry in entries))
    what = f"{format_count(len(entries), 'prefix')} with {size} in {opened.root}"
    confirm_removal(what, "say --yes, or name a prefix")


def _show_freed(opened: Any, freed: int, as_json: bool) -> None:
    from reuse.cli.printing import print_json
    from reuse.units import format_bytes

    left = sum(entry.bytes for entry in opened.entries())
    if as_json:
        print_json({"path": str(opened.root), "freed": freed, "bytes": left})
    else:
        say(f"{opened.root}: {format_bytes(freed)} freed, {format_bytes(left)} left")


def _line(entry: Any) -> dict[str, Any]:
    from datetime import datetime

    from reuse.units import format_bytes

    return {
        "key": entry.key,
        "model": entry.description.get("model", ""),
        "data": entry.description.get("data", ""),
        "frontier": entry.description.get("frontier", ""),
        "rows": entry.rows,
        "size": format_bytes(entry.bytes),
        "last used": datetime.fromtimestamp(entry.last_used).strftime("%Y-%m-%d %H:%M"),  # noqa: DTZ006, RUF100 - the user's own time
        "damage": "; ".join(entry.damage),
    }
