"""Specs of transformers' models: `hf:FOLDER`, `hf:CONFIG.json`, `hf:bert:hidden_size=64`, or a name of the hub.

Nothing here imports transformers, which takes seconds.
"""

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reuse.errors import UsageError
from reuse.menus import parse_named
from reuse.paths import from_home

FAMILY, EXTRA = "hf", "hf"
WEIGHTS = (".safetensors", ".bin")
CONFIG, IMAGES = "config.json", "preprocessor_config.json"
# Pillow's numbers of its filters, as a preprocessor's file has them.
FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
PLAIN_PIXELS = (0.5, 0.5, 0.5)  # mean and deviation where nothing says them: from -1 to 1


@dataclass(frozen=True)
class HfSpec:
    """Where a model of transformers comes from.

    Attributes:
        text: what the user wrote.
        folder: of its configuration, weights and tokenizer; None without one.
        config: the file of its configuration, whose weights are random; None without one.
        kind: of the model, such as `bert`, where its configuration is given in the spec; else empty.
        settings: of that configuration.
        hub: its name on the hub; else empty.
    """

    text: str
    folder: Path | None = None
    config: Path | None = None
    kind: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    hub: str = ""

    @property
    def place(self) -> str:
        """Where transformers finds its files: a folder or a name of the hub; empty where there are none."""
        if self.config is not None:
            return str(self.config.parent)
        return str(self.folder) if self.folder is not None else self.hub


def is_hf(spec: str) -> bool:
    """Return whether a spec is of a model of transformers."""
    return spec.partition(":")[0] == FAMILY


def parse_hf(spec: str) -> HfSpec:
    """Return what a spec such as `hf:models/bert` says.

    Raises:
        UsageError: nothing follows the colon, or there is no such file.

    Example:
        >>> parse_hf("hf:bert:hidden_size=64,num_hidden_layers=2").settings
        {'hidden_size': 64, 'num_hidden_layers': 2}
    """
    name = spec.partition(":")[2]
    path = from_home(name)
    if not name:
        raise UsageError(f"{spec!r} names no model: write hf:FOLDER, hf:CONFIG.json or hf:bert:hidden_size=64")
    if path.is_dir():
        if not (path / CONFIG).is_file():
            raise UsageError(f"{spec}: the folder holds no {CONFIG}: give one that save_pretrained has written")
        return HfSpec(spec, folder=path.absolute())
    if path.suffix == ".json" or path.is_file():
        if not path.is_file():
            raise UsageError(f"{spec}: there is no file {path.absolute()}")
        return HfSpec(spec, config=path.absolute())
    if ":" in name:
        named = parse_named(name.rstrip(":"), "model")
        if named.positions:
            raise UsageError(f"{spec}: {named.positions[0]!r} has no name: write settings as in hf:bert:hidden_size=64")
        return HfSpec(spec, kind=named.name, settings=named.keywords)
    if name.startswith((".", "/", "~")):
        raise UsageError(f"{spec}: there is no folder {path.absolute()}")
    return HfSpec(spec, hub=name)


def has_weights(spec: str) -> bool:
    """Return whether pretrained weights of a model are meant: those of a folder that holds some, or of the hub."""
    parsed = parse_hf(spec)
    return bool(parsed.hub) or (
        parsed.folder is not None and any(file.suffix in WEIGHTS for file in parsed.folder.iterdir())
    )


def check_extra(spec: str) -> None:
    """Raise where transformers is not installed.

    Raises:
        UsageError: the message says how it is.
    """
    if importlib.util.find_spec("transformers") is None:
        raise UsageError(f'{spec} needs the transformers library: pip install "torch-reuse[{EXTRA}]"')


def images_of(spec: str, channels: int | None) -> dict[str, Any] | None:
    """Return how images are prepared for a model of transformers (see `reuse.nn.preprocessing`); None for others.

    Args:
        spec: of the model.
        channels: of the images; None: those that the model takes.
    """
    try:
        parsed = parse_hf(spec)
    except UsageError:  # a run does without the folder that its model came from
        return None
    folder = None if not parsed.place or parsed.hub else Path(parsed.place)
    config = {**parsed.settings, **_read(parsed.config or (None if folder is None else folder / CONFIG))}
    told = _read(None if folder is None else folder / IMAGES)
    size = _size(told.get("crop_size") if told.get("do_center_crop") else told.get("size")) or _size(
        config.get("image_size")
    )
    if size is None:
        return None
    count = channels or config.get("num_channels", 3)
    mean, std = (_for_channels(told.get(f"image_{name}", PLAIN_PIXELS), count) for name in ("mean", "std"))
    if not told.get("do_normalize", True):
        mean, std = (0.0,) * count, (1.0,) * count
    resized = _size(told.get("size")) if told.get("do_center_crop") else None
    return {
        "input_size": (count, *size),
        "mean": mean,
        "std": std,
        "interpolation": FILTERS.get(told.get("resample", 2), "bilinear"),
        "crop_pct": told.get("crop_pct") if resized is None else min(1.0, size[0] / resized[0]),
        "crop_mode": "center",
    }


def _read(path: Path | None) -> dict[str, Any]:
    """Return a JSON file as a dictionary; empty where there is none, or it is damaged: who needs it will say so."""
    try:
        values = {} if path is None else json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _size(value: Any) -> tuple[int, int] | None:
    """Return height and width in pixels, of a number, a pair, or what a preprocessor's file has."""
    if isinstance(value, Mapping):
        edge = value.get("shortest_edge")
        value = (edge, edge) if edge else (value.get("height"), value.get("width"))
    pair = (value, value) if isinstance(value, int) else value
    fits = isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(n, int) and n > 0 for n in pair)  # noqa: PLR2004, RUF100
    return (pair[0], pair[1]) if fits else None


def _for_channels(values: Any, count: int) -> tuple[float, ...]:
    each = [float(value) for value in values]
    return tuple(each) if len(each) == count else (sum(each) / len(each),) * count
