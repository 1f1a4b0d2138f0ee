"""pandas and Arrow, imported when they are first used: images, arrays and texts do without that third of a second."""

from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["pa", "pc", "pd", "pq"]


class _Later:
    """A library that is imported when something of it is first asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._library, attribute)

    @cached_property
    def _library(self) -> ModuleType:
        return import_module(self._name)


if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
else:
    pd, pa, pc, pq = map(_Later, ("pandas", "pyarrow", "pyarrow.compute", "pyarrow.parquet"))
