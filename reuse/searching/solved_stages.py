"""The heads of a sweep by a solver: solved, measured, and held as those are that were trained."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from reuse.heads.fitting import measure_heads
from reuse.heads.head import Head
from reuse.heads.many_heads import ManyHeads
from reuse.heads.solvers import check_solvable, features_of, solve
from reuse.searching.folds import Division
from reuse.searching.grid import NO_LAYERS
from reuse.searching.solver_choices import SolverChoice
from reuse.searching.stages import Stage, Sweep, architecture_of, rows_of
from reuse.searching.table import Configuration
from reuse.units import format_count, verb_of

Solved = tuple[SolverChoice, Division | None, Head, int]
"""A choice, its rows, the head and the solver's iterations."""


def solve_stage(sweep: Sweep, choices: Sequence[SolverChoice]) -> Stage:
    """Solve for all heads of a sweep: all penalties and divisions of a solver at once.

    Raises:
        DataError: there are no validation rows.
        UsageError: the solver cannot serve the task, or more than a linear layer is left to train.
    """
    started, settings = time.perf_counter(), sweep.task.settings
    architecture = architecture_of(sweep, NO_LAYERS, sweep.reporter)
    layer = check_solvable(architecture.network)
    (source, targets), _, used = rows_of(architecture, sweep, sweep.parts)
    cached = time.perf_counter()
    features, targets = features_of(architecture.network, source), targets.to(source.device)
    rows = None if used is None else torch.stack([d.train[used] for d in sweep.parts if d is not None])
    solved: list[Solved] = []
    for name in dict.fromkeys(choice.solver for choice in choices):
        own = [choice for choice in choices if choice.solver == name]
        solved += _solve(sweep, own, layer, features, targets, rows)
    heads = [head for _, _, head, _ in solved]
    sweep.reporter.line(
        f"{format_count(len(heads), 'head')} {verb_of(len(heads), 'is', 'are')} solved together on {len(source)} rows"
    )
    many = ManyHeads(architecture.network, sweep.objective, heads, batch_size=settings.batch_size, seed=settings.seed)
    divisions = [division for _, division, _, _ in solved]
    measured = measure_heads(many, sweep.objective, rows_of(architecture, sweep, divisions)[1])
    configurations = []
    for number, ((choice, division, _, iterations), valid) in enumerate(zip(solved, measured, strict=True)):
        labels, fold = (settings.labels, None) if division is None else (division.labels, division.fold)
        configurations.append(Configuration(number, choice, settings.seed, labels, fold, None, valid, iterations))
    seconds = cached - started, time.perf_counter() - cached
    return Stage(architecture, many, configurations, divisions, 0, *seconds)


def _solve(
    sweep: Sweep,
    choices: Sequence[SolverChoice],
    layer: str,
    features: Tensor,
    targets: Tensor,
    rows: Tensor | None,
) -> list[Solved]:
    """Return the heads of one solver, by choice and then by division."""
    penalties = [choice.penalty for choice in choices]
    found = solve(choices[0].solver, sweep.objective, features, targets, penalties, rows)
    name = f"{layer}." if layer else ""
    solved = []
    for place, choice in enumerate(choices):
        if not bool(found.converged[:, place].all()):
            sweep.reporter.line(
                f"{choice.solver} with the penalty {choice.penalty:g} has not converged in "
                f"{int(found.iterations[:, place].max())} iterations: give a larger penalty"
            )
        for own, division in enumerate(sweep.parts):
            weights = {f"{name}weight": found.weight[own, place], f"{name}bias": found.bias[own, place]}
            solved.append((choice, division, Head(weights), int(found.iterations[own, place])))
    return solved
