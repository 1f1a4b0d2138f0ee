"""Settings as the constructor parameters of an estimator, kept as they are given until it is fitted."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from reuse.settings.calling import documented, refuse_unknown
from reuse.settings.group import Settings
from reuse.settings.setting import settings_of

E = TypeVar("E", bound=BaseEstimator)
MOST_SEEDS = 2**31 - 1


def parameters_of(group: type[Settings]) -> Callable[[type[E]], type[E]]:
    """Return a decorator for an estimator, which makes settings the parameters of its constructor.

    Args:
        group: the dataclass of the settings.
    """
    kind: Any = group
    own = inspect.signature(kind).parameters
    listed = sorted((own[name] for name in settings_of(group)), key=lambda parameter: parameter.kind)
    self_parameter = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)

    def decorate(estimator: type[E]) -> type[E]:
        signature = inspect.Signature([self_parameter, *listed])

        def construct(self: Any, *args: Any, **kwargs: Any) -> None:
            refuse_unknown(kind, kwargs)
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            for name in list(bound.arguments)[1:]:
                setattr(self, name, bound.arguments[name])

        construct.__signature__ = signature  # type: ignore[attr-defined]
        construct.__name__ = "__init__"
        estimator.__init__ = construct
        estimator.__doc__ = documented(kind, inspect.cleandoc(estimator.__doc__ or ""), indent="")
        return estimator

    return decorate


def settings_from(estimator: BaseEstimator, group: type[Settings]) -> Any:
    """Return the parameters of an estimator as settings, checked.

    Raises:
        UsageError: one cannot be taken; the message says why.
    """
    return group(**estimator.get_params(deep=False))


def seed_from(random_state: int | np.random.RandomState | None) -> int:
    """Return the seed that a `random_state` means: a number itself, else one that is drawn."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(MOST_SEEDS))
