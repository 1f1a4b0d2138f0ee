"""Solvers of linear heads by name: for which tasks, on which features of a network, in place of which layer."""

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from reuse.data.rows import Rows
from reuse.errors import UsageError
from reuse.heads.linear import LinearHeads
from reuse.heads.logistic import solve_logistic
from reuse.heads.ridge import solve_ridge
from reuse.heads.stacked_networks import DROPPING, chain_of
from reuse.menus import lookup
from reuse.objectives.objective import Objective
from reuse.objectives.sample_weights import Weighted
from reuse.objectives.supervised import Classification, MultiLabel, Regression
from reuse.training.evaluation import eval_mode

ROWS_AT_ONCE = 1024

Solve = Callable[[Objective, Tensor, Tensor, Sequence[float], Tensor | None], LinearHeads]
"""Solves for the heads of features, targets, penalties and row weights, `(rows,)` or `(sets, rows)`."""


def _logistic(
    objective: Objective, features: Tensor, targets: Tensor, penalties: Sequence[float], rows: Tensor | None
) -> LinearHeads:
    if not isinstance(objective, Classification):
        raise UsageError("the solver logistic tells classes apart, and this task is another: choose ridge")
    weights = _row_weights(objective, targets, rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what has not converged stands in the result
        return solve_logistic(features, targets, penalties, weights, num_classes=objective.num_classes)


def _ridge(
    objective: Objective, features: Tensor, targets: Tensor, penalties: Sequence[float], rows: Tensor | None
) -> LinearHeads:
    if isinstance(objective, MultiLabel) and objective.class_weights is not None:
        raise UsageError("the solver ridge takes no class weights for several labels a row: leave class_weights out")
    wanted = targets
    if isinstance(objective, Classification):
        wanted = 2 * functional.one_hot(targets, objective.num_classes) - 1
    elif isinstance(objective, MultiLabel):
        wanted = 2 * targets - 1
    return solve_ridge(features, wanted, penalties, _row_weights(objective, targets, rows))


SOLVERS: dict[str, Solve] = {"logistic": _logistic, "ridge": _ridge}
"""Solvers of linear heads; ridge takes classes and labels as targets of -1 and 1, as `RidgeClassifier` does."""


def solve(
    name: str,
    objective: Objective,
    features: Tensor,
    targets: Tensor,
    penalties: Sequence[float],
    rows: Tensor | None,
) -> LinearHeads:
    """Return the heads of every penalty and set of rows.

    Args:
        name: of `SOLVERS`.
        objective: a supervised one.
        features: `(rows, features)`.
        targets: of these rows, as the objective takes them.
        penalties: from 0.
        rows: True for those of each set, `(sets, rows)` bool; None: one set of all.

    Raises:
        UsageError: the solver cannot serve the objective.
    """
    if isinstance(objective, Weighted):
        targets, weights = objective.unpacked(targets)
        rows = weights if rows is None else rows.to(weights.device) * weights
        objective = objective.objective
    if not isinstance(objective, Classification | MultiLabel | Regression):
        raise UsageError(f"a solver cannot minimise a {type(objective).__name__}: leave the solver out")
    return lookup(SOLVERS, name, "solver")(objective, features, targets, penalties, rows)


def check_solvable(network: nn.Module) -> str:
    """Return the name of the linear layer that is all of a network that is left to solve for.

    Raises:
        UsageError: the network is more than that.
    """
    layers = chain_of(network)
    linear = [(name, layer) for name, layer in layers if isinstance(layer, nn.Linear)]
    if len(linear) != 1 or layers[-1][0] != linear[0][0]:
        raise UsageError(
            "a solver solves for a linear output layer, and here more than that trains: freeze everything below it, as "
            "in freeze='!output', or leave the solver out"
        )
    if any(isinstance(layer, DROPPING) and layer.p for _, layer in layers):
        raise UsageError("a solver sees each row once and takes no dropout before the output layer: leave dropout out")
    if linear[0][1].bias is None:
        raise UsageError(f"the output layer {linear[0][0]} has no bias, which solvers solve for: leave the solver out")
    return linear[0][0]


@torch.no_grad()
def features_of(network: nn.Module, source: Rows) -> Tensor:
    """Return what the output layer of a network that `check_solvable` passes sees, `(rows, features)`."""
    before = [layer for _, layer in chain_of(network)[:-1]]
    parts = []
    with eval_mode(network):
        for some in torch.split(torch.arange(len(source), device=source.device), ROWS_AT_ONCE):
            (flow,) = source.gather(some)
            for layer in before:
                flow = layer(flow)
            parts.append(flow)
    return torch.cat(parts)


def _row_weights(objective: Objective, targets: Tensor, rows: Tensor | None) -> Tensor | None:
    weights = objective.class_weights if isinstance(objective, Classification) else None
    if weights is None:
        return rows
    own = torch.tensor(weights, device=targets.device)[targets]
    return own if rows is None else rows.to(own.device) * own
