"""Warnings at the line that asked for a network, however deep inside the builders the reason was found."""

import inspect
import warnings


def warn_caller(message: str) -> None:
    """Warn at the nearest line of code outside `reuse.nn`."""
    frame, level = inspect.currentframe(), 1
    while frame and frame.f_back and frame.f_globals["__name__"].startswith("reuse.nn."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
