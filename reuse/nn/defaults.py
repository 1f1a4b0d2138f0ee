"""What settings of a network are where nobody gives them: the default network is a word for four of them."""

from typing import Any

from reuse.nn.specs import LAYER_NAMES

LAYERED: dict[str, Any] = {"activation": "relu", "norm": None, "init": None, "dropout": 0.0}

# ELU brings He's initial weights along. The sum of what was found to work for most problems, for 2017 and since.
FAMILIES: dict[str, dict[str, Any]] = {"default": {"activation": "elu", "norm": "batch", "dropout": 0.2}}


def family_settings(spec: str) -> dict[str, Any]:
    """Return the settings that a spec brings along: those of the default network, of any other none.

    Example:
        >>> family_settings("default:300,100")["norm"]
        'batch'
    """
    return dict(FAMILIES.get(spec.partition(":")[0], {}))


def with_defaults(spec: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return `settings` with those that are None filled in, for a spec of ours."""
    defaults = LAYERED | family_settings(spec) if spec.partition(":")[0] in LAYER_NAMES else {}
    return {name: defaults.get(name) if value is None else value for name, value in settings.items()}
