"""Networks that others learn from, by the folder of their run."""

from functools import partial

from torch import nn

from reuse.data.dataset import Dataset
from reuse.errors import UsageError
from reuse.objectives.objective import Objective
from reuse.runs.models import load_model


def with_teachers(objective: Objective, data: Dataset, *, trust: bool) -> Objective:
    """Return an objective with models in place of the folders that name them.

    Args:
        objective: any.
        data: whose rows the models take.
        trust: whether runs of code of the user's own may import it.

    Raises:
        RunError, UsageError: as `read_teacher`.
    """
    return objective.with_models(partial(read_teacher, data=data, trust=trust))


def read_teacher(run: str, data: Dataset, *, trust: bool) -> nn.Module:
    """Return the network of a run, which gives logits.

    Raises:
        RunError: there is no such run, or it predicts nothing.
        UsageError: it predicts no classes or others than those of the data, or takes rows prepared otherwise.
    """
    saved = load_model(run, trust=trust)
    if saved.task != "classification":
        raise UsageError(f"the teacher {run} predicts {saved.task} and no classes: give a run of a classification")
    if data.task == "classification" and saved.classes != tuple(data.classes):
        raise UsageError(
            f"the teacher {run} tells {', '.join(saved.classes)} apart and the data {', '.join(data.classes)}: give a "
            "teacher of the same classes"
        )
    if saved.preprocessing != data.preprocessing:
        raise UsageError(
            f"the teacher {run} takes rows that are prepared otherwise: train it on {data.name} with the same settings"
        )
    return saved.network
