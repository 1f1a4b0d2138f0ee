"""A run about to be exported: its folder, its model, and what the exported file says of both."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reuse.data.dataset import SPLITS
from reuse.escaping import escaped
from reuse.exporting.serving import ExampleRows, ServedModel, meaning_of_rows
from reuse.nn.recipe import ModelRecipe
from reuse.paths import real_path
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import Manifest
from reuse.runs.models import SavedModel, load_model
from reuse.version import __version__

Predict = Callable[[Sequence[Tensor]], Tensor]
"""From raw rows to what they are predicted to be."""


def called(network: Callable[..., Any]) -> Predict:
    """Return what a network that was read back gives for rows, without gradients."""

    def predict(rows: Sequence[Tensor]) -> Tensor:
        with torch.inference_mode():
            outputs = network(*rows)
        assert isinstance(outputs, Tensor)
        return outputs

    return predict


@dataclass(frozen=True)
class Exportable:
    """A run and its model.

    Attributes:
        folder: of the run.
        manifest: what the run says of itself.
        model: on the CPU, in evaluation mode.
    """

    folder: RunFolder
    manifest: Manifest
    model: SavedModel

    @classmethod
    def of(cls, run: str | Path, trust: bool) -> "Exportable":
        """Return a run.

        Raises:
            RunError: it is damaged, of another version, or predicts nothing.
            UsageError: it names code, and `trust` is not given.
        """
        model, folder = load_model(run, trust=trust), RunFolder.open(run)
        return cls(folder, folder.manifest(), model)

    @property
    def recipe(self) -> ModelRecipe:
        """How the network is built."""
        assert self.manifest.model is not None  # or there would be no saved model
        return self.manifest.model

    @cached_property
    def served(self) -> ServedModel:
        """The graph from raw rows to what is predicted."""
        return ServedModel(self.model)

    @cached_property
    def result(self) -> dict[str, Any]:
        """The sizes, metrics and notes of the training; empty where it was not finished."""
        kept = self.folder.result() or {}
        of_soup = {name: kept[name] for name in SPLITS if name in kept}
        sizes, metrics = kept.get("sizes") or kept.get("rows", {}), kept.get("metrics") or of_soup
        return {"sizes": sizes, "metrics": metrics, "notes": kept.get("notes", ())}

    @property
    def name(self) -> str:
        """The name of the run."""
        return escaped(real_path(self.folder.path).name)

    @property
    def dataset(self) -> str:
        """The name of the data."""
        return escaped(self.manifest.data) or "arrays"

    @property
    def inputs(self) -> tuple[dict[str, Any], ...]:
        """The name of each input of the graph, with the shape of a row and its type."""
        return tuple({"name": t.name, "shape": list(t.shape), "type": t.kind} for t in self.served.inputs)

    @property
    def examples(self) -> ExampleRows:
        """Rows to try it on."""
        return ExampleRows(self.served.inputs, self.model.preprocessing)

    @property
    def about(self) -> dict[str, str]:
        """The facts that go into the file: texts, or JSON."""
        prepared = {n: v for n, v in self.model.preprocessing.to_dict().items() if n != "tokenizer"}
        meaning = meaning_of_rows(self.model.preprocessing)
        facts: dict[str, Any] = {
            "classes": list(self.model.classes),
            "inputs": [{**one, "meaning": meaning} for one in self.inputs],
            "output": self.served.output,
            "preprocessing": prepared,
            "model": self.recipe.to_dict(),
            "target_scale": self.model.target_scale.to_dict() if self.model.target_scale else None,
        }
        told = {name: json.dumps(value, ensure_ascii=False) for name, value in facts.items() if value is not None}
        return {"task": self.model.task, **told, "reuse": __version__}


class Format(NamedTuple):
    """A form in which a run is exported.

    Attributes:
        file: its name in the folder.
        library: what reads it, as model cards name it.
        is_graph: whether it holds the graph from raw rows to predictions, not weights alone.
        write: writes the file and returns what it computes when it is read back.
        usage: the code that loads it, for the card.
    """

    file: str
    library: str
    is_graph: bool
    write: Callable[[Exportable, Path], Predict]
    usage: Callable[[Exportable], str]
