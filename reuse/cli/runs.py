"""`reuse runs`: list, prune."""

from pathlib import Path
from typing import Any

import click

from reuse.cli.completing import completing
from reuse.cli.options import JSON, FromHome, Group
from reuse.cli.saying import announce, confirm_removal, say
from reuse.units import format_count

ROOT = click.option(
    "--root", type=FromHome(), default="runs", show_default=True, help="The folder that holds run folders."
)


@click.group(cls=Group)
def runs() -> None:
    """Look after run folders.

    Example: reuse runs list
    """


@runs.command("list")
@ROOT
@JSON
def list_entries(root: str, as_json: bool) -> None:
    """List the runs in a folder, the newest first, with what they came to and what they take on disk.

    Example: reuse runs list
    """
    announce(as_json=as_json)
    from dataclasses import asdict

    from reuse.cli.printing import print_json, table
    from reuse.runs.listing import disk_bytes, list_runs
    from reuse.units import format_bytes

    entries = list_runs(Path(root))
    total, _ = disk_bytes([Path(entry.run) for entry in entries])
    if as_json:
        print_json({"path": root, "bytes": total, "runs": [asdict(entry) for entry in entries]})
        return
    if entries:
        click.echo(table([_line(entry) for entry in entries]))
    say(f"{root}: {format_count(len(entries), 'run')}, {format_bytes(total)} on disk")


@runs.command()
@click.argument("names", shell_complete=completing("names"), metavar="[RUN]...", nargs=-1, type=FromHome())
@click.option("--keep", type=click.IntRange(0), help="Remove all but the newest N that are finished.")
@click.option("--unfinished", is_flag=True, help="Remove those that never came to a result.")
@click.option("--yes", is_flag=True, help="Remove without asking.")
@ROOT
@JSON
def prune(names: tuple[str, ...], keep: int | None, unfinished: bool, yes: bool, root: str, as_json: bool) -> None:
    """Remove runs, after saying which and what that frees.

    RUN is a run folder. Files that no run writes stay where they are.

    Example: reuse runs prune --unfinished --keep 20
    """
    announce(as_json=as_json)
    from reuse.cli.printing import print_json
    from reuse.errors import UsageError
    from reuse.runs.listing import check_run, disk_bytes, list_runs, remove_run
    from reuse.units import format_bytes

    if not names and keep is None and not unfinished:
        raise UsageError("nothing says which runs are not wanted: name some, or give --keep N or --unfinished")
    entries = list_runs(Path(root)) if keep is not None or unfinished else []
    finished = [entry.run for entry in entries if entry.finished]
    doomed = [*names, *(finished[keep:] if keep is not None else [])]
    unended = [entry for entry in entries if unfinished and not entry.finished and not entry.damage]
    doomed += [entry.run for entry in unended if not entry.may_be_training]
    paths = list(dict.fromkeys(Path(name) for name in doomed))
    for path in paths:
        check_run(path)
    _, freed = disk_bytes(paths)
    if paths and not yes:
        _ask(paths, format_bytes(freed))
    left = [one for path in paths for one in remove_run(path)]
    if as_json:
        print_json({"removed": [str(path) for path in paths], "freed": freed, "left": [str(one) for one in left]})
        return
    say(f"{format_count(len(paths), 'run')} removed, {format_bytes(freed)} freed")
    for entry in unended:
        if entry.may_be_training:
            say(f"left, as it may be training: {entry.run} was written to within the last day; name it to remove it")
    for one in left:
        say(f"left where it was, as no run writes it: {one}")


def _ask(paths: list[Path], freed: str) -> None:
    """Say what would be removed, and leave unless somebody says yes."""
    for path in paths:
        say(str(path), err=True)
    confirm_removal(f"{format_count(len(paths), 'run')} with {freed}", "say --yes")


def _line(entry: Any) -> dict[str, Any]:
    from reuse.units import format_bytes

    moment = entry.created.astimezone().strftime("%Y-%m-%d %H:%M") if entry.created else ""
    return {
        "run": entry.run,
        "kind": entry.kind,
        "data": entry.data,
        "began": moment,
        "epochs": entry.epochs if entry.finished else None,
        "metric": entry.metric,
        "score": entry.score,
        "size": format_bytes(entry.bytes),
        "frees": format_bytes(entry.freed),
        "damage": entry.damage or ("" if entry.finished else f"not finished: --resume {entry.run}"),
    }
