"""`reuse rank`."""

from typing import Any

import click

from reuse.cli.completing import completing
from reuse.cli.options import JSON, QUIET, given, refusing, with_settings
from reuse.cli.saying import announce, say
from reuse.settings.ranking import RankArguments

ROWS = 20  # of the table


@click.command(cls=refusing(RankArguments))
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE…", shell_complete=completing("source"))
@with_settings(RankArguments, without=["sources"])
@JSON
@QUIET
@click.pass_context
def rank(context: click.Context, /, as_json: bool, quiet: bool, **_: Any) -> None:
    """Rank models and their layers for some data, by a race of probes on what is cached.

    SOURCE is a run folder, a file of weights or a model; several are ranked together.

    Example: reuse rank timm:resnet18 runs/mine --data photos/ --labels 1000
    """
    announce(as_json=as_json or quiet)
    from reuse.cli.printing import Printer, QuietPrinter, print_json, table
    from reuse.ranking.rank import rank as call

    printer = QuietPrinter() if quiet else Printer()
    try:
        result = call(**given(context, RankArguments), reporter=printer)
    finally:
        printer.close()
    if as_json:
        print_json(result.to_dict())
        return
    if quiet:
        for line in result.notes:
            say(line, err=True)
        say(_best(result))
        return
    click.echo(table(_shown(result)[:ROWS]))
    if len(result.table) > ROWS:
        say(f"{len(result.table) - ROWS} more with --json")
    for line in _told(result):
        say(line)


def _shown(result: Any) -> list[dict[str, Any]]:
    from reuse.cli.printing import DASH
    from reuse.ranking.scores import SCORES

    rows = []
    for own in result.table:
        scores = {score.title: own[name] for name, score in SCORES.items() if name in own}
        row = {name: own[name] for name in ("model", "layer", "width")} | {"bytes a row": own["row_bytes"]}
        row |= {result.metric: f"{own[result.metric]:.4f} ± {own['interval']:.4f}"}
        row |= {"dropped": f"fold {own['dropped']}" if own["dropped"] is not None else "tied" if own["tied"] else ""}
        rows.append(row | {title: DASH if value is None else value for title, value in scores.items()})
    return rows


def _told(result: Any) -> list[str]:
    from reuse.ranking.outcome import STATIC
    from reuse.ranking.scores import SCORES

    *scored, static = result.choices
    named = [f"{SCORES[one.by].title} would have chosen {_chosen(one, result)}" for one in scored]
    solved = f"{result.probes['solved']} of {result.probes['all']} probes solved"
    computed = ", ".join(f"{count} of {name}" for name, count in result.rows.items() if count) or "none"
    wall, processor = result.seconds["wall"], result.seconds["processor"]
    seconds = ", ".join(f"{part} {wall[part]:.1f} ({processor[part]:.1f})" for part in wall)
    return [
        *result.notes,
        *named,
        f"a static list ({STATIC}) would have chosen {_chosen(static, result)}",
        *([result.tie] if result.tie else []),
        f"{solved}; rows computed: {computed}; seconds (of processor): {seconds}",
        _best(result),
    ]


def _best(result: Any) -> str:
    following = f"; next: {result.command}" if result.command else ""
    return f"best: {result.best['model']}, {result.best['layer']}{following}"


def _chosen(one: Any, result: Any) -> str:
    which = f"{one.model}, {one.layer}"
    if (one.model, one.layer) == (result.best["model"], result.best["layer"]):
        return f"{which}: the best"
    if one.regret == 0:
        return f"{which}: as good a probe"
    unit = f"{100 * one.regret:.1f} points" if result.metric == "accuracy" else f"{one.regret:.3f} of R²"
    return f"{which}: {unit} worse"
