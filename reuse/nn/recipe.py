"""The recipe of a model: enough to build it again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from reuse.errors import RunError, UsageError
from reuse.nn.building import build
from reuse.nn.specs import LAYER_NAMES
from reuse.nn.word_vectors import WordVectors

OWN_FAMILIES = (*LAYER_NAMES, "timm")


@dataclass(frozen=True)
class ModelRecipe:
    """How a model is built.

    Attributes:
        spec: as `reuse.build` takes it.
        input_shape: of one sample.
        num_outputs: units of the output layer.
        options: the other settings of `reuse.build`.
    """

    spec: str
    input_shape: tuple[int, ...]
    num_outputs: int
    options: dict[str, Any]

    def build(
        self, *, pretrained: bool = False, embeddings: WordVectors | None = None, trust: bool = True
    ) -> nn.Module:
        """Return a fresh model.

        Args:
            pretrained: load timm's weights.
            embeddings: what the embedding layer is filled from.
            trust: whether a `package.module:callable` may be imported and called.

        Raises:
            UsageError: the spec names a callable and may not.
        """
        if not trust and self.spec.partition(":")[0] not in OWN_FAMILIES:
            raise UsageError(
                f"the run names the code {self.spec}, which would be imported and run: allow it by --trust"
            )
        options = {**self.options, "pretrained": pretrained, "embeddings": embeddings}
        return build(self.spec, self.input_shape, self.num_outputs, **options)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for run.json."""
        return {
            "spec": self.spec,
            "input_shape": list(self.input_shape),
            "num_outputs": self.num_outputs,
            "options": self.options,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelRecipe":
        """Return the recipe that `to_dict` described.

        Raises:
            RunError: an entry is missing.
        """
        try:
            shape = tuple(int(size) for size in values["input_shape"])
            return cls(values["spec"], shape, int(values["num_outputs"]), dict(values["options"]))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"the run does not say how its model is built ({error}): it is damaged") from error
