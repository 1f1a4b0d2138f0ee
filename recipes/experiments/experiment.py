"""An experiment: rows of settings, what is shown of them, and what others have published."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Figures = dict[str, float]
"""The figures of one training: `valid_accuracy`, `seconds`, … by name."""


@dataclass(frozen=True)
class FigureColumn:
    """A figure that the table shows.

    Attributes:
        figure: its name in the results.
        title: what stands above the column, with its unit.
        scale: what the figure is multiplied by, 100 for per cent.
        digits: behind the decimal point.
        reference: the figure's name in the results of the reference, where it is called otherwise there.
        interval: whether ± is half the 95 % interval of the mean, which the title then says; False: its standard error.
    """

    figure: str
    title: str
    scale: float = 1.0
    digits: int = 2
    reference: str | None = None
    interval: bool = False


@dataclass(frozen=True)
class Experiment:
    """Rows of settings to be trained with several seeds.

    Attributes:
        name: of the recipe and of the file of results.
        title: of the table.
        about: the protocol in a few sentences, with how an unclear source was read.
        rows: the settings of each row; plain values, recorded with the results.
        columns: what the table shows.
        published: figures by row, in the unit of the column, as text: a source may give a range.
    """

    name: str
    title: str
    about: str
    rows: Mapping[str, Mapping[str, Any]]
    columns: tuple[FigureColumn, ...]
    published: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)
