"""What the layers of a model keep, and what their code reads of it.

What is only kept (a count, a clock, the last activations) no code reads into a result. It is the rule by which the key
of a prefix leaves such things out, so that a cut and a key never disagree.
"""

from collections.abc import Iterable

from torch import nn

from reuse.errors import CacheError
from reuse.fingerprinting.fingerprint import described_by_reads, reading_description
from reuse.fingerprinting.modules import describe_module, hook_components, module_components
from reuse.fingerprinting.own_code import OwnCode
from reuse.fingerprinting.values import Description

Place = tuple[str, str]
"""A module's name in its model, and an attribute's or a buffer's in that module."""


class ModelCode:
    """The user's own code that a model reaches: any of its layers may read what another one keeps.

    Args:
        model: the whole model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._own: OwnCode | None = None
        try:
            plain = Description(describe_module)
            self._described(plain)
            if plain.met_own:
                self._own = described_by_reads(self._described, plain)[1]
        except (CacheError, RecursionError):  # what cannot be described may be read by anything
            return

    @property
    def is_own(self) -> bool:
        """Whether there is any."""
        return self._own is not None

    def only_kept(self, places: Iterable[Place]) -> frozenset[Place]:
        """Return those of some places whose values are not read into what the model computes."""
        return frozenset(place for place in places if self._own is not None and not self._counts(place, self._own))

    def reads(self, places: Iterable[Place]) -> frozenset[Place]:
        """Return those of some places that are attributes of the user's own classes, and are read."""
        own = self._own
        return frozenset(p for p in places if own is not None and own.owns(self._kind(p)) and self._counts(p, own))

    def read_state(self) -> dict[Place, str]:
        """Return descriptions of what is read: attributes, buffers, and under `class` what a class's code refers to."""
        if self._own is None:
            return {}
        try:
            components = dict(module_components("", self._model, reading_description(self._own.names)))
        except (CacheError, RecursionError):
            return {}
        return {_place(name): text for name, text in components.items() if name.startswith(("attributes/", "weights/"))}

    def _counts(self, place: Place, own: OwnCode) -> bool:
        value = getattr(self._model.get_submodule(place[0]), place[1], None)
        return own.counts(self._kind(place), place[1], value)

    def _kind(self, place: Place) -> type:
        return type(self._model.get_submodule(place[0]))

    def _described(self, description: Description) -> dict[str, str]:
        components = dict(module_components("", self._model, description)) | dict(hook_components(description))
        return components | description.code() | description.patches()


def _place(component: str) -> Place:
    """Return the place that a component describes: `attributes/layer.0/calls`, `weights/layer.0.mean`."""
    kind, _, rest = component.partition("/")
    path, _, name = rest.rpartition("/" if kind == "attributes" else ".")
    return path, name
