"""`reuse inspect` and `reuse plan`."""

import time
from dataclasses import replace
from typing import Any

import click

from reuse.cli.configuring import settings_of_call
from reuse.cli.options import CONFIG, JSON, PATTERNS, Command, given, refusing, with_settings
from reuse.cli.saying import announce, say
from reuse.cli.wording import as_typed
from reuse.settings.commands import PlanArguments
from reuse.settings.uses import InspectArguments


@click.command(cls=Command, epilog=PATTERNS)
@with_settings(InspectArguments)
@JSON
@click.pass_context
def inspect(context: click.Context, /, as_json: bool, **_: Any) -> None:
    """Draw the layers of MODEL as a tree, with what is frozen and where it would be cut.

    MODEL is a model such as mlp:100,50 or timm:resnet18, or a run folder.

    Example: reuse inspect timm:resnet18 --freeze '!layer4,!head' --depth 2
    """
    announce(as_json=as_json)
    from reuse.cli.printing import print_json
    from reuse.cli.tree import tree
    from reuse.setup.inspecting import inspect_model

    found = inspect_model(**given(context, InspectArguments))
    if as_json:
        print_json(found.to_dict())
        return
    for note in found.notes:
        say(note, err=True)
    click.echo(tree(found.layers, _frontier(found), found.model))
    say(f"{found.model}: {_shape(found.input_shape)} in, {found.num_outputs} out, {found.parameters} parameters")
    say(_cut_line(found))
    if found.uncached:
        say(f"frozen behind layers that train, so computed every epoch: {', '.join(found.uncached)}")


@click.command(cls=refusing(PlanArguments), epilog=PATTERNS)
@with_settings(PlanArguments)
@CONFIG
@JSON
@click.pass_context
def plan(context: click.Context, /, as_json: bool, config: str | None, **_: Any) -> None:
    """Say what a fine-tuning would freeze, compute, cache and cost; takes its options, and leaves no run.

    Activations that an interrupted run has computed and not published are published, so that they count.

    Example: reuse plan timm:resnet18 --freeze '!head' --data photos/ --epochs 20
    """
    announce(as_json=as_json)
    from reuse.cli.printing import print_json
    from reuse.errors import CutError
    from reuse.features.planned import describe_plan
    from reuse.finetuning.finetune import plan as make_plan
    from reuse.planning.plan import plan_table

    try:
        freezing, features = make_plan(**settings_of_call(context, config, PlanArguments))
        if features.plan.elapsed:  # not known of a training in phases, or one that is compared
            since = time.perf_counter() - context.find_root().obj
            features = replace(features, plan=replace(features.plan, elapsed=since))
    except CutError as error:
        if as_json:
            print_json(
                {"cut": False, "reason": str(error), "frozen": None, "frontier": [], "cache": None, "plan": None}
            )
        else:
            say(as_typed(f"no cache: {error}"))
        return
    if as_json:
        print_json(_plan_values(freezing, features))
        return
    say(f"frozen: {', '.join(freezing.layers)}")
    for line in (*describe_plan(features), *plan_table(features.plan)):
        say(as_typed(line))


def _plan_values(freezing: Any, features: Any) -> dict[str, Any]:
    made = features.plan
    return {
        "cut": True,
        "reason": made.reason,
        "frozen": list(freezing.layers),
        "frontier": list(features.frontier),
        "uncached": list(features.parts.uncached),
        "cache": {
            "hit": made.missing == 0,
            "key": features.store.key,
            "path": str(features.store.path),
            "rows": {"missing": made.missing, "found": made.rows - made.missing},
        },
        "plan": made.to_dict(),
        "seconds": features.seconds,
    }


def _cut_line(found: Any) -> str:
    if not found.frontier:
        return f"no cut: {found.why_not}"
    return f"cut by {found.engine} at {_frontier(found)}: {found.bytes_per_sample} bytes a sample"


def _frontier(found: Any) -> str:
    return ", ".join(f"{f['name']} {_shape(f['shape'])} {f['dtype']}" for f in found.frontier)


def _shape(shape: Any) -> str:
    return "" if shape is None else "×".join(map(str, shape)) or "1"
