"""What a sweep tries where heads are solved and not trained: solvers and penalties."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from reuse.errors import UsageError
from reuse.heads.linear import checked_penalties
from reuse.heads.solvers import SOLVERS
from reuse.menus import lookup
from reuse.searching.grid import NO_LAYERS, as_values
from reuse.searching.unused_settings import UNUSED_BY_SOLVERS

PENALTIES = "1e-6,1e-5,1e-4,1e-3,1e-2,0.1,1"


@dataclass(frozen=True)
class SolverChoice:
    """One combination of what a solver is given.

    Attributes:
        head: `0`, the model's own output layer.
        solver: a name of `reuse.heads.solvers.SOLVERS`.
        penalty: on half the squared weights, beside the mean loss of a row.
    """

    head: str
    solver: str
    penalty: float

    @property
    def settings(self) -> dict[str, Any]:
        """What `finetune` is told of it: nothing, as it has no solvers."""
        return {}

    @property
    def origin(self) -> str:
        """How it came about, for a note."""
        return f", solved ({self.solver}, penalty {self.penalty:g})"


def read_solver_choices(*, head: Any, solver: Any, penalty: Any) -> list[SolverChoice]:
    """Return every combination of solvers and penalties.

    Raises:
        UsageError: a value that cannot be taken; heads that are not linear.
    """
    heads = as_values("head", head, str)
    if heads != [NO_LAYERS]:
        raise UsageError(f"head is {head!r}, and a solver solves linear heads: leave head out, or the solver")
    solvers = as_values("solver", solver, str)
    for name in solvers:
        lookup(SOLVERS, name, "solver")
    penalties = checked_penalties(as_values("penalty", PENALTIES if penalty is None else penalty, float))
    return [SolverChoice(NO_LAYERS, *values) for values in product(dict.fromkeys(solvers), dict.fromkeys(penalties))]


def refuse_unused(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raise a UsageError where a setting is given that a solver has no use for."""
    refused = [name for name in UNUSED_BY_SOLVERS if name in given and given[name] != defaults[name]]
    if refused:
        raise UsageError(
            f"a solver goes to the optimum from wherever it begins, and takes no {refused[0]}: leave it out, or leave "
            "the solver out to train heads by steps"
        )
