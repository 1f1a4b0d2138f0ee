"""Models of timm: `timm:resnet18`. Names, layers, weights and preprocessing are timm's own."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import timm
import torch
from timm.models import PretrainedCfg
from torch import nn

from reuse.errors import RunError, UnknownNameError, UsageError
from reuse.menus import suggest
from reuse.nn.hub import answers
from reuse.nn.probing import reason
from reuse.nn.timm_names import check_architecture

WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")  # in the order in which timm asks for them


def build_timm(
    name: str,
    input_shape: tuple[int, ...],
    num_outputs: int,
    *,
    pretrained: bool = False,
    dropout: float = 0.0,
    drop_path: float = 0.0,
) -> nn.Module:
    """Return timm's model `name` for images of `input_shape` with `num_outputs` outputs.

    Args:
        name: a name of `timm.list_models()`, with a tag of pretrained weights behind a dot if wanted.
        input_shape: `(channels, height, width)`; models of a fixed image size are made for this one.
        num_outputs: units of the output layer.
        pretrained: load timm's weights; the output layer is fresh, the first convolution adapted to the channels.
        dropout: timm's `drop_rate`: dropout in front of the output layer.
        drop_path: timm's `drop_path_rate`: how often a residual branch is left out, growing towards the output.

    Raises:
        UnknownNameError: timm has no such model.
        UsageError: the model cannot be made for such inputs.
        RunError: the pretrained weights do not exist or cannot be fetched.
    """
    _check_name(name)
    if len(input_shape) != 3:
        raise UsageError(f"timm:{name} takes images (channels, height, width); one input here is {input_shape}")
    if pretrained:
        _check_weights(name)
    settings: dict[str, Any] = {"num_classes": num_outputs, "in_chans": input_shape[0], "pretrained": pretrained}
    settings |= {key: value for key, value in (("drop_rate", dropout), ("drop_path_rate", drop_path)) if value}
    try:
        return _create(name, input_shape[1:], settings)
    except TypeError as error:
        if drop_path and "drop_path_rate" in str(error):
            raise UsageError(f"timm:{name} has no residual branches to leave out: it takes no drop_path") from error
        raise _refused(name, input_shape, error) from error
    except (AssertionError, ValueError, NotImplementedError, ArithmeticError) as error:
        raise _refused(name, input_shape, error) from error
    except (OSError, RuntimeError) as error:
        raise (_not_fetched(name, reason(error)) if pretrained else _refused(name, input_shape, error)) from error


def takes(name: str) -> str:
    """Say which images timm's model `name` is made for."""
    config = timm.get_pretrained_cfg(name)
    size = getattr(config, "input_size", None)
    if size is None:
        return "timm does not say what it takes"
    smallest = f", at least {config.min_input_size}" if getattr(config, "min_input_size", None) else ""
    return f"its own input size is {tuple(size)}{smallest}: resize the images (image size, channels)"


def can_be_had(config: PretrainedCfg) -> bool:
    """Return whether the weights of a timm model are on this machine already, or their server answers."""
    if config.file or config.state_dict:
        return True
    if config.hf_hub_id:
        is_online = not huggingface_hub.is_offline_mode()
        return _is_in_hub_cache(config) or (is_online and answers(huggingface_hub.constants.ENDPOINT))
    return bool(config.url) and (_downloaded(config.url).is_file() or answers(config.url))


def _check_name(name: str) -> None:
    check_architecture(name)
    architecture, _, tag = name.partition(".")
    if tag and name not in timm.list_models(f"{architecture}.*", pretrained=True):
        known = timm.list_models(f"{architecture}.*", pretrained=True)
        raise UnknownNameError(f"timm has no weights {name!r}: {suggest(name, known)}")


def _check_weights(name: str) -> None:
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise RunError(f"timm has no pretrained weights of {name}: use --random-weights or a file of weights")
    if not can_be_had(config):
        raise _not_fetched(name, "their server does not answer")


def _not_fetched(name: str, why: str) -> RunError:
    return RunError(
        f"the pretrained weights of timm:{name} could not be fetched ({why}): "
        "go online, use --random-weights, or give a local file of weights"
    )


def _create(name: str, size: tuple[int, ...], settings: dict[str, Any]) -> nn.Module:
    """Give the image size to those models that take one; the others refuse it before they build anything."""
    try:
        return _module(timm.create_model(name, img_size=size, **settings))
    except TypeError as error:
        if "img_size" not in str(error):
            raise
    return _module(timm.create_model(name, **settings))


def _module(model: Any) -> nn.Module:
    assert isinstance(model, nn.Module)
    return model


def _refused(name: str, input_shape: tuple[int, ...], error: Exception) -> UsageError:
    return UsageError(f"timm:{name} cannot be made for inputs {input_shape}: {reason(error)}; {takes(name)}")


def _is_in_hub_cache(config: PretrainedCfg) -> bool:
    repository, _, revision = config.hf_hub_id.partition("@")
    names = [config.hf_hub_filename] if config.hf_hub_filename else WEIGHTS_FILES
    found = [huggingface_hub.try_to_load_from_cache(repository, name, revision=revision or None) for name in names]
    return any(isinstance(path, str) for path in found)


def _downloaded(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name
