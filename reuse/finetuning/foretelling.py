"""What a fine-tuning takes beside its first phase: later phases, and the trainings that it is compared with."""

from reuse.finetuning.comparing import ways_of
from reuse.planning.plan import Plan
from reuse.setup.finetuning import FinetuneSetup


def seconds_beside(setup: FinetuneSetup, plan: Plan) -> float:
    """Return the seconds that follow the first phase of a fine-tuning, as far as its plan foretells them.

    Left out are the cuts of later phases, which take next to nothing where earlier runs have checked them, and
    activations that the first phase does not store for them.
    """
    later = _later_phases(setup, plan)
    return later + _compared(setup, plan, plan.own + later)


def _later_phases(setup: FinetuneSetup, plan: Plan) -> float:
    several, seconds = iter(plan.later_epochs), 0.0
    for phase in setup.phases[1:]:
        epochs = phase.last - phase.first + 1
        reads_cache = epochs > 1
        seconds += epochs * (next(several, plan.whole_epoch) if reads_cache else plan.whole_epoch)
    return seconds


def _compared(setup: FinetuneSetup, plan: Plan, own: float) -> float:
    """Return the seconds of all trainings that one is compared with, which takes `own` seconds by itself."""
    settings = setup.task.settings
    if not settings.compare:
        return 0.0
    whole = settings.epochs * plan.whole_epoch + plan.whole_measuring
    ways = ways_of(settings, restores=bool(setup.origins.restored))
    others = sum(way.same_as is None for way in ways) - 1
    draws = settings.draws or 1
    return draws * others * whole + (draws - 1) * own
