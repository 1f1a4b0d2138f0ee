"""The grid of a sweep whose heads are solved and not trained: solvers and penalties."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import product
from typing import Any

from reuse.errors import UsageError
from reuse.heads.linear import checked_penalties
from reuse.heads.solvers import SOLVERS
from reuse.menus import lookup
from reuse.searching.grid import NO_LAYERS, as_values
from reuse.settings.commands import FinetuneSettings, HeadSettings
from reuse.settings.setting import settings_of

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

    def applied(self, settings: FinetuneSettings) -> FinetuneSettings:
        """Return the settings of a fine-tuning, which has no solvers: as they are."""
        return settings

    @property
    def origin(self) -> str:
        """The way it came about, for a note."""
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


def refuse_steps(given: Collection[str]) -> None:
    """Raise a UsageError where a setting is given that only heads have that are trained by steps."""
    refused = [name for name in settings_of(HeadSettings) if name in given]
    if refused:
        raise UsageError(
            f"a solver goes to the optimum from wherever it begins, and takes no {refused[0]}: leave it out, or leave "
            "the solver out to train heads by steps"
        )
