"""The graph that is exported: from raw rows to what they are predicted to be.

The program that serves a model should not have to know how the run prepared its rows, so all that a graph can do is in
it: pixels are scaled, columns standardised, missing numbers filled in. What it cannot do stays outside: to read and
resize pictures, and to turn categories and words into numbers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reuse.data.preprocessing import Preprocessing
from reuse.layout import Layout, RowTensor, called, empty_rows
from reuse.nn.main_output import main_output
from reuse.runs.models import SavedModel

ROWS = "rows"  # the input, where the network has one that is not called otherwise
OUTPUTS = {"classification": "probabilities", "multilabel": "probabilities", "regression": "numbers"}
COLOURS = {1: "grey", 3: "red, green, blue", 4: "red, green, blue, alpha"}
TOKENS, MASKS = (ROWS, "input_ids"), ("attention_mask", "mask")
NORMALISED = ("vectors", "table", "sequences")  # whose numbers are standardised in float64


class ServedModel(nn.Module):
    """A trained model from raw rows to probabilities of classes or labels, or numbers in the targets' own units.

    Attributes:
        model: the trained model.
        inputs: the tensors of a raw row, each with its name.
    """

    def __init__(self, model: SavedModel) -> None:
        super().__init__()
        self.model = model
        self.inputs = raw_layout(model.layout, model.preprocessing)
        self.eval()

    @property
    def output(self) -> str:
        """The name of the output."""
        return OUTPUTS[self.model.task]

    def forward(self, *rows: Tensor) -> Tensor:
        """Return what is predicted, `(batch, outputs)`, for each of `inputs` a tensor `(batch, *shape)`."""
        prepared = (prepared_rows(rows[0], self.model.preprocessing),) if len(rows) == 1 else rows
        dtype = next((p.dtype for p in self.model.parameters()), torch.float32)
        given = [part.to(dtype) if part.is_floating_point() else part for part in prepared]
        return self.model.meaning(main_output(called(self.model.network, self.model.layout, given)))


def raw_layout(layout: Layout, preprocessing: Preprocessing) -> Layout:
    """Return the tensors of a raw row: columns in float64, which a year or a coordinate needs, pixels in float32.

    Args:
        layout: of a prepared row.
        preprocessing: of the run.
    """
    names = [tensor.name or (ROWS if len(layout) == 1 else f"input{n}") for n, tensor in enumerate(layout, start=1)]
    normalised = preprocessing.kind in NORMALISED and bool(preprocessing.mean)
    return tuple(
        RowTensor(name, tensor.shape, "float64" if normalised else tensor.kind)
        for name, tensor in zip(names, layout, strict=True)
    )


def prepared_rows(rows: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Return raw rows as the run prepared its own; tokens, and what a model takes as it is, stay so."""
    if preprocessing.kind == "table":
        fills = [fill for column in preprocessing.columns for fill in (column.fill,) * column.width]
        rows = torch.where(rows.isnan(), rows.new_tensor(fills), rows)
    return preprocessing.normalise(rows) if preprocessing.kind in (*NORMALISED, "images") else rows


def meaning_of_rows(preprocessing: Preprocessing) -> str:
    """Return in words what the numbers of a raw row are."""
    if preprocessing.kind == "images":
        size, channels = preprocessing.image_size, preprocessing.channels
        shape = f"{size[0]}×{size[1]} pixels, channels first ({COLOURS[channels or 3]})" if size else "pixels"
        values = "taken as they are" if preprocessing.signed else f"from 0 (black) to {preprocessing.divisor:g} (white)"
        return f"{shape}, {values}; pictures are resized ({preprocessing.interpolation}{_cropped(preprocessing)})"
    if preprocessing.kind == "table":
        return "columns, NaN where a number is missing, 0 or 1 for each category: " + ", ".join(
            inputs_of(preprocessing)
        )
    return {
        "vectors": "numbers as they stand in an array",
        "sequences": "steps of numbers as they stand in an array",
        "tokens": "tokens, filled up with 0",
        "text": "numbers of words: 0 fills up, 1 is an unknown word, from 2 on those in `words` of the preprocessing",
    }.get(preprocessing.kind, "as the model takes it")


def _cropped(preprocessing: Preprocessing) -> str:
    if preprocessing.crop_pct is None:
        return ""
    return f", to 1/{preprocessing.crop_pct:g} of that size, of which the {preprocessing.crop_mode} is cut out"


def inputs_of(preprocessing: Preprocessing) -> list[str]:
    """Return the names of a table's inputs: a column of numbers is one, of categories one for each."""
    names: list[str] = []
    for column in preprocessing.columns:
        others = ("others",) if column.others else ()
        names += [column.name] if column.is_numeric else [f"{column.name}={c}" for c in (*column.categories, *others)]
    return names


@dataclass(frozen=True)
class ExampleRows:
    """Raw rows drawn at random such as a run may have seen, to try a graph on.

    Attributes:
        layout: of a raw row.
        preprocessing: of the run, which says where its numbers lie.
    """

    layout: Layout
    preprocessing: Preprocessing

    def drawn(self, count: int, seed: int = 0) -> tuple[Tensor, ...]:
        """Return `count` rows; the global random state is left alone."""
        generator = torch.Generator().manual_seed(seed)
        rows = zip(self.layout, empty_rows(self.layout, count), strict=True)
        return tuple([self._drawn(tensor.name, empty, generator) for tensor, empty in rows])

    def _drawn(self, name: str, rows: Tensor, generator: torch.Generator) -> Tensor:
        fitted = self.preprocessing
        if not rows.is_floating_point():
            # Of numbers that mean something to the model alone 0 and 1 are there; and a mask leaves something over.
            known = fitted.num_tokens if name in TOKENS else None
            drawn = torch.randint(known or 2, rows.shape, generator=generator).to(rows.dtype)
            return torch.ones_like(drawn) if name in MASKS else drawn
        if fitted.kind == "images" and not fitted.signed:
            return torch.rand(rows.shape, generator=generator, dtype=rows.dtype) * fitted.divisor
        noise = torch.randn(rows.shape, generator=generator, dtype=rows.dtype)
        if fitted.kind not in NORMALISED or not fitted.mean:
            return noise
        drawn = noise * rows.new_tensor(fitted.std) + rows.new_tensor(fitted.mean)
        return self._as_table(drawn, noise) if fitted.columns else drawn

    def _as_table(self, drawn: Tensor, noise: Tensor) -> Tensor:
        """Return rows whose categories are 0 or 1, and one of whose numbers is missing."""
        numeric = torch.tensor(
            [column.is_numeric for column in self.preprocessing.columns for _ in range(column.width)]
        )
        drawn = torch.where(numeric, drawn, (noise > 0).to(drawn.dtype))
        drawn[-1, :1] = torch.where(numeric[:1], torch.nan, drawn[-1, :1])
        return drawn


def with_network(model: SavedModel, network: nn.Module) -> ServedModel:
    """Return the graph of the same run around another network, such as one that was read back from a file."""
    prepared, scale = model.preprocessing, model.target_scale
    return ServedModel(SavedModel(network, model.task, model.classes, prepared, scale, model.layout))
