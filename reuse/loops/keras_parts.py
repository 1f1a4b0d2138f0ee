"""What a Keras layer computes, as values that are the same whenever and wherever it is built.

Keras numbers its layers and keeps records of them, which differ from one time to the next. What counts are the layers'
classes, settings and weights, the way from one to the next, and the modules of torch that are wrapped in them.
"""

from collections.abc import Iterator
from typing import Any


def parts_of(layer: Any) -> dict[str, object]:
    """Return what a layer of Keras computes, by name.

    Args:
        layer: built, on Keras's torch backend.
    """
    import keras  # which this module's users have

    every = [layer, *layer._flatten_layers(include_self=False)]
    numbers = {id(one): number for number, one in enumerate(every)}
    bare = frozenset(vars(keras.layers.Layer())) | frozenset(vars(keras.Sequential()))
    wrapped = [one.module for one in every if isinstance(one, keras.layers.TorchModuleWrapper)]
    return {
        "classes": [type(one) if _is_users(one) else _name_of(one) for one in every],
        "settings": [_settings(one) for one in every],
        "own": [_own(one, bare) for one in every if _is_users(one)],
        "ways": [list(_ways(one, numbers)) for one in every],
        "weights": [variable.value for variable in layer.weights],
        "modules": wrapped,
        "version": keras.__version__,
    }


def _is_users(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] != "keras"


def _name_of(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _settings(layer: Any) -> object:
    """Return the settings of a layer; those of what holds layers, or a module, are what these have."""
    if hasattr(layer, "layers") or hasattr(layer, "module"):
        return str(layer.dtype_policy.name)
    return {name: _plain(value) for name, value in layer.get_config().items() if name != "name"}


def _plain(value: Any) -> object:
    """Return a value without names that Keras has made up."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items() if name not in ("name", "shared_object_id")}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value


def _own(layer: Any, bare: frozenset[str]) -> dict[str, object]:
    """Return what a class of the user's own keeps beside what every layer does."""
    held = {name: value for name, value in vars(layer).items() if name not in bare}
    return {name: value for name, value in held.items() if _is_users(value)}


def _ways(layer: Any, numbers: dict[int, int]) -> Iterator[object]:
    """Yield what computes each tensor of a model that is a graph, from which, with which other arguments."""
    operations = list(getattr(layer, "operations", ()))
    places = {id(operation): number for number, operation in enumerate(operations)}
    for operation in operations:
        for node in operation._inbound_nodes:
            before = [places.get(id(parent.operation), -1) for parent in node.parent_nodes]
            given = [*node.arguments.args, *node.arguments.kwargs.items()]
            others = [value for value in given if not _holds_tensor(value)]
            what = numbers.get(id(operation), _name_of(operation))
            settings = {} if id(operation) in numbers else _constants(operation)
            yield [what, settings, before, others]


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_tensor, value))
    return hasattr(value, "_keras_history")


def _constants(operation: Any) -> dict[str, object]:
    return {
        name: value
        for name, value in vars(operation).items()
        if not name.startswith("_") and name != "name" and isinstance(value, bool | int | float | str | tuple | None)
    }
