"""`reuse pretrain` and `reuse finetune`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click

from reuse.cli.configuring import settings_of_call
from reuse.cli.objectives import list_objectives, with_own
from reuse.cli.options import CONFIG, JSON, PATTERNS, QUIET, Command, with_settings
from reuse.cli.saying import announce, say
from reuse.settings.commands import FinetuneArguments, PretrainArguments
from reuse.units import format_count

SPLITS = ("train", "valid", "test")  # in the order in which they are shown


@click.command(cls=Command)
@with_settings(PretrainArguments)
@CONFIG
@JSON
@QUIET
@click.option("--list", "list_objectives", is_flag=True, help="Name the objectives and what they do.")
@click.option(
    "--set", "own", multiple=True, metavar="NAME=VALUE", help="A setting of the objective's own, as behind its colon."
)
@click.pass_context
def pretrain(context: click.Context, /, own: tuple[str, ...], **switches: Any) -> None:
    """Train layers that others will reuse, without labels or on the labels of another task.

    OBJECTIVE is autoencoder where none is named; --list names them all.

    Example: reuse pretrain simclr --data photos/ --model convnet:32,64,128 --epochs 50
    """
    if switches["list_objectives"]:
        list_objectives(as_json=switches["as_json"])
        return
    announce(as_json=switches["as_json"] or switches["quiet"])
    from reuse.pretraining.pretrain import pretrain as call

    settings = with_own(own, settings_of_call(context, switches["config"], PretrainArguments))
    result = _train(call, settings, quiet=switches["quiet"])
    _show(result, "reuse finetune --freeze LAYERS", as_json=switches["as_json"], quiet=switches["quiet"])


@click.command(cls=Command, epilog=PATTERNS)
@with_settings(FinetuneArguments)
@CONFIG
@JSON
@QUIET
@click.pass_context
def finetune(context: click.Context, /, as_json: bool, quiet: bool, config: str | None, **_: Any) -> None:
    """Reuse the layers of SOURCE, freeze some, compute these once, train the rest on labels.

    SOURCE is a run folder, a file of weights, or a model such as timm:resnet18; the newest pretraining run where none
    is named.

    Example: reuse finetune timm:resnet18 --freeze '!head' --data photos/ --epochs 20
    """
    announce(as_json=as_json or quiet)
    from reuse.finetuning.finetune import finetune as call

    settings = settings_of_call(context, config, FinetuneArguments)
    result = _train(call, settings, quiet=quiet)
    if "resume" in settings and not as_json:
        result = replace(result, plan=None)  # it is of a part of the epochs, and what is told beside it of all
    _show(result, f"reuse predict {result.run} --data SPEC", as_json=as_json, quiet=quiet)


def _train(function: Any, settings: dict[str, Any], *, quiet: bool) -> Any:
    from reuse.cli.printing import Printer, QuietPrinter

    printer = QuietPrinter() if quiet else Printer()
    try:
        return function(**settings, reporter=printer)
    finally:
        printer.close()


def _show(result: Any, following: str, *, as_json: bool, quiet: bool) -> None:
    from reuse.cli.printing import print_json

    if as_json:
        print_json(result.to_dict())
        return
    if not quiet:
        _show_metrics(result)
    say(f"run folder: {result.run}; next: {following}")


def _show_metrics(result: Any) -> None:
    from reuse.cli.printing import table

    if result.comparison:
        for line in _compared(result):
            click.echo(line)
    else:
        measured = {name: result.metrics[name] for name in SPLITS if result.metrics.get(name)}
        click.echo(table([{"split": name, **values} for name, values in measured.items()]))
    for line in (*_phases(result), *_came_of_plan(result), _summary(result)):
        say(line)


def _compared(result: Any) -> list[str]:
    """Return the table of the comparison under what it is of, and whether the reused layers gain."""
    from reuse.cli.printing import table
    from reuse.runs.results import WAYS, with_intervals

    sizes, draws = result.sizes, result.comparison["scratch"].get("draws", 1)
    split = "test" if result.metrics["test"] else "validation"
    same = f"on the {split} split, after training on the same {sizes['train']} + {sizes['valid']} labels"
    if draws == 1:
        rows = [{"layers": WAYS[way], **row} for way, row in result.comparison.items()]
        return [f"{same}:", table(rows)]
    rows = [{"layers": WAYS[way], **with_intervals(row)} for way, row in result.comparison.items()]
    gains = [_gained(WAYS[way], row) for way, row in result.comparison.items() if "gain" in row]
    return [f"{same}, {draws} draws of them, means ± 95 %:", table(rows), *gains]


def _gained(way: str, row: Mapping[str, float]) -> str:
    """Return what a way is better by than from scratch, and whether that is more than chance."""
    low, high = row["gain"] - row["gain_interval"], row["gain"] + row["gain_interval"]
    verdict = "a gain" if low > 0 else "a loss" if high < 0 else "no clear gain"
    return f"{way} minus from scratch, on the same labels: {row['gain']:+.3f} ± {row['gain_interval']:.3f}: {verdict}"


def _phases(result: Any) -> list[str]:
    """Return a line for each phase where there are several: what was frozen, and where the cut was."""
    if len(result.phases) < 2:
        return []
    lasts = [*(phase["epoch"] - 1 for phase in result.phases[1:]), result.epochs]
    lines = []
    for phase, last in zip(result.phases, lasts, strict=True):
        frozen = f"{', '.join(phase['frozen'])} frozen" if phase["frozen"] else "nothing frozen"
        cut = ", ".join(tensor["name"] for tensor in phase["frontier"])
        epochs = f"epoch {last}" if last == phase["epoch"] else f"epochs {phase['epoch']} to {last}"
        lines.append(f"{epochs}: {frozen}{f', cut behind {cut}' if cut else ''}")
    return [line for line, phase in zip(lines, result.phases, strict=True) if phase["epoch"] <= result.epochs]


def _came_of_plan(result: Any) -> list[str]:
    """Return what the plan of a single phase predicted and what it took, and both of the command as a whole."""
    if not result.plan or not result.cache:
        return []
    lines = [_came_of_cache(result)] if len(result.phases) == 1 else []
    return [*lines, _came_of_all(result)] if result.plan["elapsed"] else lines


def _came_of_cache(result: Any) -> str:
    from reuse.units import format_epochs, format_seconds

    cached, plain = (format_seconds(result.plan[name]) for name in ("with_cache", "without_cache"))
    took = format_seconds(result.seconds["cache"] + result.seconds["train"])
    views = result.cache.get("views")
    versions = f"; {views['count']} versions of each training row, and {views['new']} new ones since" if views else ""
    planned, done = format_epochs(result.plan["epochs"]), format_epochs(result.epochs)
    told = f"{done}: predicted {cached}, took {took}"
    if planned != done:
        told = f"predicted {cached} for {planned}, took {took} for {done}"
    return f"{told} (without the cache predicted {plain}){versions}"


def _came_of_all(result: Any) -> str:
    from reuse.units import format_epochs, format_seconds

    planned, done = result.settings["epochs"], [result.epochs]
    done += [row["epochs"] for row in (result.comparison or {}).values()]
    fewer = f" for {format_epochs(planned)}, of which not all were trained" if min(done) < planned else ""
    total, took = format_seconds(result.plan["total"]), format_seconds(result.seconds["total"])
    return f"the command as a whole: predicted {total}{fewer}, took {took}"


def _summary(result: Any) -> str:
    from reuse.units import format_bytes, format_epochs, format_seconds

    parts = [f"{format_epochs(result.epochs)}, best {result.best_epoch}"]
    if result.cache:
        rows = result.cache["rows"]
        parts.append(
            f"cache {'hit' if result.cache['hit'] else 'filled'}: {format_count(rows['computed'], 'row')} "
            f"computed, {rows['found']} "
            f"found, {format_bytes(result.cache['bytes'])}"
        )
        if later := result.cache.get("later"):
            parts[-1] += f", and {format_count(later, 'row')} computed for later phases"
    parts.append(", ".join(f"{name} {format_seconds(value)}" for name, value in result.seconds.items() if value))
    return "; ".join(parts)
