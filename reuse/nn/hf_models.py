"""Models of transformers with a classification head, from a configuration, a folder or the hub.

Names, layers and weights are transformers' own; code that lies beside weights is never run.
"""

import copy
import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import huggingface_hub
import torch
import transformers
from torch import nn
from transformers.models.auto import modeling_auto as auto
from transformers.utils import logging

from reuse.errors import RunError, UsageError
from reuse.layout import Layout
from reuse.nn.hf_specs import CONFIG, HfSpec, parse_hf
from reuse.nn.hub import answers
from reuse.nn.outputs import replace_output
from reuse.nn.probing import reason

FRESH = "fresh_tensors"  # an attribute of a model whose other tensors hold pretrained weights
# What says how a model was trained before, or names kernels and classes that would be fetched and run.
ASIDE = re.compile(
    "_name_or_path|id2label|label2id|num_labels|transformers_version|(torch_)?dtype|"
    "auto_map|.*implementation.*|quantization_config|custom_pipelines"
)
HEAD_DROPOUTS = ("classifier_dropout", "seq_classif_dropout", "classifier_dropout_prob", "cls_dropout", "final_dropout")
IMAGE_DIMENSIONS = 3
TEXTS, PICTURES, SOUNDS = (
    auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING,
)


def read_config(spec: str) -> dict[str, Any]:
    """Return the configuration of a model as plain values, enough to build it again.

    Raises:
        UsageError: it cannot be read, or names code of its own.
        RunError: it is on the hub, and the hub cannot be reached.
    """
    parsed = parse_hf(spec)
    _check_reachable(parsed)
    where = str(parsed.config) if parsed.config is not None else parsed.place
    try:
        with _quietly():
            if parsed.kind:
                config = transformers.AutoConfig.for_model(parsed.kind, **parsed.settings)
            else:
                config = transformers.AutoConfig.from_pretrained(where, local_files_only=not parsed.hub)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refused(spec, error) from error
    return _plain(config.to_dict())


def takes_texts(config: Mapping[str, Any]) -> bool:
    """Return whether a model of a configuration classifies sequences of tokens."""
    return type(_as_config(config)) in TEXTS


def accepted_inputs(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of what a model of a configuration takes."""
    kind = _class_for(_as_config(config), ())
    return tuple(inspect.signature(kind.forward).parameters)[1:]


def longest_sequence(config: Mapping[str, Any]) -> int | None:
    """Return how many tokens a model of a configuration takes at most; None where it does not say."""
    longest = getattr(_as_config(config), "max_position_embeddings", None)
    if not isinstance(longest, int) or longest < 1:
        return None
    # Positions of RoBERTa and its kin are counted on from the padding token's number.
    offset = any(name in str(config.get("model_type")) for name in ("roberta", "camembert", "xmod", "longformer"))
    return longest - (config.get("pad_token_id", 1) + 1 if offset else 0)


def build_hf(
    spec: str,
    config: Mapping[str, Any] | None,
    layout: Layout,
    num_outputs: int,
    *,
    pretrained: bool,
    dropout: float | None = None,
) -> nn.Module:
    """Return a model of transformers with a classification head.

    Args:
        spec: such as `hf:models/bert`.
        config: its configuration; None: it is read.
        layout: of a row of its inputs, by which texts and images are told apart where it could take both.
        num_outputs: units of the head.
        pretrained: load the weights of its folder or of the hub; the output layer is fresh.
        dropout: in front of the output layer; None: the configuration's.

    Raises:
        UsageError: there is no such model, it classifies nothing, or it has no weights.
        RunError: its weights are damaged or cannot be fetched.
    """
    own = _as_config(read_config(spec) if config is None else config)
    own.num_labels = num_outputs
    if dropout is not None:
        _set_dropout(own, dropout)
    own.use_cache = False  # of texts that are written word by word
    if getattr(own, "pad_token_id", None) is None:
        own.pad_token_id = getattr(own, "eos_token_id", None) or 0
    kind = _class_for(own, layout)
    try:
        with _quietly():
            model = _with_plain_body(kind(own))
            return _restored(model, parse_hf(spec)) if pretrained else model
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ZeroDivisionError) as error:
        raise _refused(spec, error) from error


def fresh_tensors(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the tensors of a pretrained model that began at random."""
    names: tuple[str, ...] = getattr(model, FRESH, ())
    return names


def _set_dropout(config: Any, dropout: float) -> None:
    """Set the dropout in front of the output layer.

    Raises:
        UsageError: the configuration has none.
    """
    name = next((name for name in HEAD_DROPOUTS if hasattr(config, name)), None)
    if name is None:
        raise UsageError(f"{config.model_type} models have no dropout in front of their output layer: leave it out")
    setattr(config, name, dropout)


def _with_plain_body(model: Any) -> nn.Module:
    """Return a model whose body holds a configuration that says nothing of the head, of which no frozen layer depends.

    Configurations are attributes of layers, so that the key of what frozen layers compute holds them.
    """
    own = model.config
    plain = copy.deepcopy(own)
    plain.num_labels = type(own)().num_labels
    for layer in [layer for layer in model.modules() if layer is not model and getattr(layer, "config", None) is own]:
        layer.config = plain
    assert isinstance(model, nn.Module)
    return model


def _restored(model: Any, spec: HfSpec) -> nn.Module:
    """Return a model with the weights of a folder or of the hub, but for a fresh output layer.

    They are copied: where they came from would be part of the model that transformers loads them into.
    """
    if not spec.folder and not spec.hub:
        raise UsageError(f"{spec.text} has no pretrained weights: give a folder that holds some, or --random-weights")
    _check_reachable(spec)
    loaded, found = type(model).from_pretrained(
        spec.place,
        config=copy.deepcopy(model.config),
        local_files_only=not spec.hub,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        dtype=torch.float32,
    )
    model.load_state_dict(loaded.state_dict())
    replaced = replace_output(model, model.config.num_labels)
    fresh = {*found["missing_keys"], *(name for name, *_ in map(_as_tuple, found["mismatched_keys"]))}
    fresh |= {name for name, _ in model.named_parameters() if name.startswith(tuple(f"{layer}." for layer in replaced))}
    setattr(model, FRESH, tuple(sorted(fresh)))
    assert isinstance(model, nn.Module)
    return model


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without what says nothing of the model, or leads to code of others."""
    kept = {name: value for name, value in values.items() if value is not None and not ASIDE.fullmatch(str(name))}
    return {name: _plain(value) if isinstance(value, Mapping) else value for name, value in kept.items()}


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _as_config(values: Mapping[str, Any]) -> Any:
    """Return a configuration of transformers.

    Raises:
        UsageError: this version of transformers has no such model.
    """
    kind = str(values.get("model_type"))
    try:
        with _quietly():
            return transformers.CONFIG_MAPPING[kind].from_dict(_plain(values))
    except KeyError as error:
        raise UsageError(
            f"transformers {transformers.__version__} has no model {kind!r}, and code that lies beside weights is not "
            "run: build it yourself, as package.module:callable"
        ) from error


def _class_for(config: Any, layout: Layout) -> Any:
    """Return the class that classifies with such a configuration.

    Raises:
        UsageError: there is none.
    """
    are_images = len(layout) == 1 and len(layout[0].shape) == IMAGE_DIMENSIONS
    for menu in (PICTURES, TEXTS, SOUNDS) if are_images else (TEXTS, PICTURES, SOUNDS):
        if type(config) in menu:
            return menu[type(config)]
    raise UsageError(
        f"transformers has no classifier of {config.model_type} models: build one yourself, as package.module:callable"
    )


def _check_reachable(spec: HfSpec) -> None:
    if not spec.hub or isinstance(huggingface_hub.try_to_load_from_cache(spec.hub, CONFIG), str):
        return
    if huggingface_hub.is_offline_mode() or not answers(huggingface_hub.constants.ENDPOINT):
        raise RunError(
            f"{spec.text} could not be fetched (there is no folder of that name, and the hub does not answer): go "
            "online, or give a folder, hf:FOLDER, that save_pretrained has written"
        )


def _refused(spec: str, error: Exception) -> UsageError:
    if isinstance(error, UsageError):
        return error
    return UsageError(f"{spec} cannot be built: {reason(error)}")


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep transformers from telling what is told here in other words."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
