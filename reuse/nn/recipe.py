"""The recipe of a model: enough to build it again."""

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn

from reuse.errors import RunError, UsageError
from reuse.layout import Layout, RowTensor, one_tensor
from reuse.nn.building import BuildArguments, build, check_size
from reuse.nn.hf_specs import FAMILY
from reuse.nn.options import LayerOptions
from reuse.nn.outputs import replace_output
from reuse.nn.sides import stand_beside
from reuse.nn.specs import LAYER_NAMES
from reuse.nn.word_vectors import WordVectors
from reuse.settings.files import OBJECT

OWN_FAMILIES = (*LAYER_NAMES, "timm", FAMILY)


@dataclass(frozen=True)
class ModelRecipe:
    """Recipe of a model: all that it is built from.

    Attributes:
        spec: as `reuse.build` takes it.
        input_shape: of one sample.
        num_outputs: units of the output layer.
        options: of its layers.
        num_tokens: how many tokens there are; None: the inputs are none.
        tensors: of one sample, where there are several.
        config: of a model of transformers, with which it is built again wherever it came from; None for any other.
        side: what trains beside the model, which is frozen then (`reuse.nn.sides`); None: nothing.
        side_layers: patterns of the layers that it takes in; none: the main ones.
        side_repeats: those of the layers that gave the very features when it was put there, for with other weights
            others may; None: they are measured.
        module: that Python gave, a copy of which is taken with a fresh output layer; no run keeps it; None: there is
            none.
    """

    spec: str
    input_shape: tuple[int, ...]
    num_outputs: int
    options: LayerOptions
    num_tokens: int | None = None
    tensors: Layout = ()
    config: Mapping[str, Any] | None = None
    side: str | None = None
    side_layers: tuple[str, ...] = ()
    side_repeats: tuple[str, ...] | None = None
    module: nn.Module | None = field(default=None, compare=False, repr=False)

    @property
    def layout(self) -> Layout:
        """The tensors of one sample, and how the model takes them."""
        return self.tensors or one_tensor(self.input_shape, torch.float32 if self.num_tokens is None else torch.int64)

    @property
    def architecture(self) -> dict[str, Any]:
        """Plain values of all that says what trained weights compute: no initial weights, nothing that training drops.

        Two models of one architecture and the same weights compute the same.
        """
        options = self.options
        computing = {"activation": options.activation, "norm": options.norm, "embedding_size": options.embedding_size}
        return self._described(computing)

    def build(
        self, *, pretrained: bool = False, embeddings: WordVectors | None = None, trust: bool = True
    ) -> nn.Module:
        """Return a fresh model, with what trains beside it.

        Args:
            pretrained: load timm's weights.
            embeddings: what the embedding layer is filled from.
            trust: whether a `package.module:callable` may be imported and called.

        Raises:
            UsageError: the spec names a callable and may not, or a module that is not there.
        """
        if self.module is not None:
            model = copy.deepcopy(self.module)
            replace_output(model, self.num_outputs)
            return self.with_side(model)
        if self.spec.startswith(OBJECT):
            raise UsageError(
                f"the run trained a module that Python had given, a {self.spec.removeprefix(OBJECT)}, and keeps its "
                "weights alone: give it again, as in load_model(run, model=module) or finetune(run, model=module)"
            )
        if not trust and self.spec.partition(":")[0] not in OWN_FAMILIES:
            raise UsageError(
                f"the run names the code {self.spec}, which would be imported and run: allow it by --trust"
            )
        model = build(
            self.spec,
            self.input_shape,
            self.num_outputs,
            **vars(self.options),
            num_tokens=self.num_tokens,
            embeddings=embeddings,
            pretrained=pretrained,
            tensors=self.tensors,
            config=self.config,
        )
        return self.with_side(model)

    @property
    def bare(self) -> "ModelRecipe":
        """The recipe of the model alone, without what trains beside it."""
        return replace(self, side=None, side_layers=(), side_repeats=None)

    def with_side(self, model: nn.Module) -> nn.Module:
        """Return a model with what trains beside it, where there is something."""
        if self.side is None:
            return model
        return stand_beside(model, self.side, self.side_layers, self.layout, self.num_outputs, self.side_repeats)

    def check_size(self) -> None:
        """Raise where a layered model would not fit in memory.

        Raises:
            UsageError: the message says how much it would take.
        """
        if self.spec.partition(":")[0] in LAYER_NAMES:
            options = vars(self.options)
            told = BuildArguments(self.spec, self.input_shape, self.num_outputs, **options, num_tokens=self.num_tokens)
            check_size(told)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for run.json, where `num_tokens` stands among the options if there are tokens."""
        return self._described(asdict(self.options))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelRecipe":
        """Return the recipe that `to_dict` described.

        Raises:
            RunError: an entry is missing, or an option unknown.
        """
        try:
            shape, spec, num_outputs = values["input_shape"], values["spec"], values["num_outputs"]
            if not isinstance(spec, str) or not _are_sizes([*shape, num_outputs]) or not (shape or "tensors" in values):
                raise ValueError(f"spec {spec!r}, shape {shape!r}, {num_outputs!r} outputs")
            options = dict(values["options"])
            num_tokens = options.pop("num_tokens", None)
            config = values.get("config")
            if config is not None and not isinstance(config, Mapping):
                raise TypeError(f"config {config!r}")
            tensors = tuple(RowTensor(**{**t, "shape": tuple(t["shape"])}) for t in values.get("tensors", ()))
            side, layers = values.get("side"), tuple(values.get("side_layers", ()))
            repeats = None if values.get("side_repeats") is None else tuple(values["side_repeats"])
            if not all(isinstance(text, str) for text in (side or "", *layers, *(repeats or ()))):
                raise TypeError(f"side {side!r} of layers {layers!r}, repeated {repeats!r}")
            own = LayerOptions(**options)
            return cls(spec, tuple(shape), num_outputs, own, num_tokens, tensors, config, side, layers, repeats)
        except (KeyError, TypeError, ValueError, UsageError) as error:
            raise RunError(f"the run does not say how its model is built ({error}): it is damaged") from error

    def _described(self, options: dict[str, Any]) -> dict[str, Any]:
        tokens = {} if self.num_tokens is None else {"num_tokens": self.num_tokens}
        return {
            "spec": self.spec,
            "input_shape": list(self.input_shape),
            "num_outputs": self.num_outputs,
            "options": options | tokens,
            **({"tensors": [{**asdict(t), "shape": list(t.shape)} for t in self.tensors]} if self.tensors else {}),
            **({} if self.config is None else {"config": dict(self.config)}),
            **({} if self.side is None else {"side": self.side, "side_layers": list(self.side_layers)}),
            **({} if self.side_repeats is None else {"side_repeats": list(self.side_repeats)}),
        }


def _are_sizes(values: list[Any]) -> bool:
    return all(type(value) is int and value > 0 for value in values)
